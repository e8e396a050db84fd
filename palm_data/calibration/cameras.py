"""The cameras of a calibration: read from the rig's files, or loaded from the stage that verified them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from palm_data.camera.tsai import camera_from_tsai
from palm_data.camera.turn import common_turns, turn_camera
from palm_data.capture.tka import read_tka
from palm_data.store.workspace import Workspace
from schemas.camera import Camera
from schemas.errors import BadInputError, GeometryError, IntegrityError
from schemas.ids import CalibrationId, Sha256, camera_id_from_raw, is_colour_camera
from schemas.settings import Settings

CAMERAS_FILE = "cameras.json"
MIN_COLOUR_CAMERAS = 2

_CAMERAS = TypeAdapter(tuple[Camera, ...])


class CameraProblem(BaseModel):
    """A camera that a calibration lacks, and why; the other cameras went on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, Field(description="File concerned, relative to the raw root.")]
    field: str
    expected: str
    found: str


def calibration_folder(raw: Path, calibration_id: CalibrationId) -> Path:
    """Where the rig puts a calibration's files."""
    return raw / "calibrations" / calibration_id


def read_calibration(
    raw: Path, calibration_id: CalibrationId, settings: Settings
) -> tuple[tuple[Camera, ...], tuple[CameraProblem, ...]]:
    """Every usable camera of a calibration, turned to the rig's common orientation, sorted by id; and what is missing.

    The cameras carry OpenCV distortion: they describe the turned, still distorted images. Needs no finished stage.

    Raises:
        BadInputError: if the folder is missing or holds fewer than two usable colour cameras.
    """
    folder = calibration_folder(raw, calibration_id)
    source = folder.relative_to(raw).as_posix()
    if not folder.is_dir():
        raise BadInputError(
            source, field="folder", expected="a folder of .tka files", found="nothing",
            hint="Copy the calibration that session.json names from the rig.",
        )  # fmt: skip
    cameras: list[Camera] = []
    problems: list[CameraProblem] = []
    for path in sorted(folder.glob("*.tka")):
        try:
            cameras.append(_read_camera(path, calibration_id, settings))
        except (BadInputError, GeometryError) as error:
            problems.append(_problem(path.relative_to(raw).as_posix(), error))
    present = {path.stem for path in folder.glob("*.tka")}
    problems.extend(_missing(source, name) for name in _expected_names(present) if name not in present)
    colour = sum(is_colour_camera(camera.camera_id) for camera in cameras)
    if colour < MIN_COLOUR_CAMERAS:
        raise BadInputError(
            source, field="NN_C.tka", expected=f"at least {MIN_COLOUR_CAMERAS} usable colour cameras", found=colour,
            hint="; ".join(f"{item.source}: {item.field}: {item.found}" for item in problems),
        )  # fmt: skip
    turns = common_turns(cameras)
    turned = [turn_camera(camera, turns[camera.camera_id]) for camera in cameras]
    return tuple(sorted(turned, key=lambda camera: camera.camera_id)), tuple(problems)


def load_cameras(workspace: Workspace, calibration_id: CalibrationId) -> tuple[Camera, ...]:
    """The cameras that the calibration stage imported, sorted by id.

    Raises:
        StoreError: if the stage has not finished for this calibration.
        IntegrityError: if its output is not readable.
    """
    path = workspace.output("calibration", calibration_id) / CAMERAS_FILE
    try:
        return _CAMERAS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a list of cameras, found {error}. Run the stage again.") from error


def cameras_digest(workspace: Workspace, calibration_id: CalibrationId) -> Sha256:
    """Digest of the cameras alone: what depends on them does not depend on how they were verified.

    Raises:
        StoreError: if the stage has not finished for this calibration.
    """
    return workspace.require("calibration", calibration_id).digest_of(CAMERAS_FILE)


def cameras_json(cameras: Sequence[Camera]) -> bytes:
    """The content of `cameras.json`."""
    return _CAMERAS.dump_json(tuple(cameras), indent=1) + b"\n"


def colour_cameras(cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """The colour cameras, sorted by id: the views of every array of a subject."""
    return tuple(sorted((c for c in cameras if is_colour_camera(c.camera_id)), key=lambda camera: camera.camera_id))


def mono_cameras(cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """The mono cameras, sorted by id: the views of a subject's mono arrays."""
    return tuple(sorted((c for c in cameras if not is_colour_camera(c.camera_id)), key=lambda camera: camera.camera_id))


def _read_camera(path: Path, calibration_id: CalibrationId, settings: Settings) -> Camera:
    tsai = read_tka(path)
    if tsai.raw_name != path.stem:
        raise BadInputError(path, field="Camera type", expected=path.stem, found=tsai.raw_name)
    return camera_from_tsai(
        tsai,
        camera_id=camera_id_from_raw(path.stem),
        calibration_id=calibration_id,
        origin=settings.ingest.tka_pixel_origin,
    )


def _problem(source: str, error: BadInputError | GeometryError) -> CameraProblem:
    if isinstance(error, BadInputError):
        return CameraProblem(source=source, field=error.field, expected=error.expected, found=error.found)
    return CameraProblem(source=source, field="model", expected="an invertible camera model", found=str(error))


def _expected_names(present: set[str]) -> list[str]:
    """Each pod that delivered a camera has three: two mono, one colour."""
    pods = sorted({name.split("_")[0] for name in present if "_" in name and name.split("_")[0].isdigit()})
    return [f"{pod}_{letter}" for pod in pods for letter in "ABC"]


def _missing(source: str, name: str) -> CameraProblem:
    return CameraProblem(source=f"{source}/{name}.tka", field="file", expected="a .tka file", found="nothing")
