"""`cameras.npy` and `poses.npy` of somebody's official release, read with tolerance and checked before use."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from palm_data.interop.official_layout import CAMERAS_FILE, POSE_WIDTHS, POSES_FILE
from palm_data.interop.pickled import parse_object_npy
from palm_data.store.files import Files
from schemas.camera import Camera, Matrix3, Row3
from schemas.errors import BadInputError
from schemas.hand import HandRow
from schemas.ids import CameraId, SubjectId, is_colour_camera

_MAX_BYTES = 64 << 20
_ORTHONORMAL = 1e-3
_SKEW_PX = 1e-3
_MAX_SIDE = 1 << 16
_MAX_LIST = 1024
_FIGURES = [name for name in HandRow.model_fields if name.endswith(("_mean", "_median", "_p95", "_min"))]


@dataclass(frozen=True)
class Poses:
    """Of a subject: row r belongs to file number r + 1."""

    betas: np.ndarray
    hand_pose: np.ndarray
    global_orient: np.ndarray
    transl: np.ndarray

    def hand(self, number: int, subject_id: SubjectId, frame: int) -> HandRow | None:
        """The hand of a file number, without figures of fit; None if there is no row, or one with a hole."""
        if not 1 <= number <= len(self.hand_pose):
            return None
        values = {name: getattr(self, name)[number - 1] for name in ("hand_pose", "global_orient", "transl")}
        if not all(np.isfinite(value).all() for value in values.values()):
            return None
        numbers = {name: tuple(value.tolist()) for name, value in {**values, "betas": self.betas}.items()}
        return HandRow(
            subject_id=subject_id, frame=frame, border_share=0.0, **numbers, **dict.fromkeys(_FIGURES)
        )  # fmt: skip


def read_cameras(files: Files, calibration_id: str, met: list[str]) -> tuple[Camera, ...]:
    """The colour cameras, sorted by name.

    Args:
        met: what is noted on the way goes here.

    Raises:
        BadInputError: if the file is not such a dict, or a camera is not a pinhole of a plausible size.
    """
    source = Path(f"{files.name}/{CAMERAS_FILE}")
    entries = _dict(files, CAMERAS_FILE).get("cameras")
    if not isinstance(entries, Mapping) or not entries:
        raise BadInputError(source, field="cameras", expected="a dict of cameras", found=type(entries).__name__)
    cameras = []
    for name in sorted(map(str, entries)):
        if not _is_camera(name):
            met.append(f"{CAMERAS_FILE}: camera {name!r} is not one of ours; it was left out")
            continue
        cameras.append(_camera(name, entries[name], calibration_id, source))
    sizes = sorted({(camera.width, camera.height) for camera in cameras})
    if len(sizes) != 1:
        raise BadInputError(source, field="height, width", expected="one size for all cameras", found=sizes or "none")
    return tuple(cameras)


def read_poses(files: Files, met: list[str]) -> Poses:
    """The hands.

    Raises:
        BadInputError: if the file is not such a dict, or an array has another shape.
    """
    source, found = Path(f"{files.name}/{POSES_FILE}"), _dict(files, POSES_FILE)
    extra = sorted(set(map(str, found)) - set(POSE_WIDTHS))
    if extra:
        met.append(f"{POSES_FILE}: {', '.join(extra)}: not known, not read")
    arrays = {name: _numbers(found.get(name), source, name) for name in POSE_WIDTHS}
    rows = len(arrays["hand_pose"])
    for name, width in POSE_WIDTHS.items():
        shape, least = arrays[name].shape, 1 if name == "betas" else rows
        if len(shape) != 2 or shape[1] != width or (shape[0] < 1 if name == "betas" else shape[0] != rows):
            raise BadInputError(source, field=name, expected=f"shape ({least}, {width})", found=shape)
    betas = arrays.pop("betas")
    if not np.isfinite(betas[0]).all():
        raise BadInputError(source, field="betas", expected="finite numbers", found=betas[0])
    if not (betas == betas[0]).all():
        met.append(f"{POSES_FILE}: betas: several rows that differ; the first one was taken, as the official code does")
    return Poses(betas=betas[0], **arrays)


def _dict(files: Files, file: str) -> dict[object, object]:
    source, size = Path(f"{files.name}/{file}"), files.size(file)
    if size is None or size > _MAX_BYTES:
        expected = f"a file of at most {_MAX_BYTES} bytes"
        raise BadInputError(source, field="file", expected=expected, found="none" if size is None else f"{size} bytes")
    found = parse_object_npy(files.read(file), source)
    if not isinstance(found, dict):
        raise BadInputError(source, field="pickle", expected="a dict", found=type(found).__name__)
    return found


def _camera(name: CameraId, entry: object, calibration_id: str, source: Path) -> Camera:
    if not isinstance(entry, Mapping):
        raise BadInputError(source, field=name, expected="a dict of K, Rt, height, width", found=type(entry).__name__)
    k, pose = (_numbers(entry.get(part), source, f"{name}.{part}") for part in ("K", "Rt"))
    if k.shape != (3, 3) or pose.shape not in ((4, 4), (3, 4)):
        raise BadInputError(source, field=f"{name}.K, Rt", expected="3×3 and 4×4", found=f"{k.shape} and {pose.shape}")
    rotation = pose[:3, :3]
    rigid = np.abs(rotation @ rotation.T - np.eye(3)).max() < _ORTHONORMAL and np.linalg.det(rotation) > 0
    pinhole = np.isfinite(k).all() and (np.abs(k[2] - (0, 0, 1)) < 1e-9).all() and abs(k[1, 0]) <= _SKEW_PX
    if not pinhole or abs(k[0, 1]) > _SKEW_PX or min(k[0, 0], k[1, 1]) <= 0:
        raise BadInputError(source, field=f"{name}.K", expected="a pinhole without skew, px", found=k.tolist())
    if not np.isfinite(pose).all() or not rigid:
        raise BadInputError(source, field=f"{name}.Rt", expected="[R|t] with a rotation, metres", found=pose.tolist())
    sides = [entry.get(side) for side in ("width", "height")]
    if not all(isinstance(side, int | float) and 1 <= side <= _MAX_SIDE and side == int(side) for side in sides):
        raise BadInputError(source, field=f"{name}.width, height", expected="whole numbers, px", found="others")
    width, height = (int(cast("float", side)) for side in sides)
    return Camera(
        camera_id=name, calibration_id=calibration_id, width=width, height=height, fx=k[0, 0], fy=k[1, 1],
        cx=k[0, 2], cy=k[1, 2], rotation=cast("Matrix3", rotation.tolist()), translation=cast("Row3", pose[:3, 3].tolist()),
    )  # fmt: skip


def _numbers(value: object, source: Path, name: str) -> np.ndarray:
    """An array, or a short list of numbers or of short lists of them, as float64."""
    array = np.zeros(0, dtype=object)
    if isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, list) and len(value) <= _MAX_LIST:  # a short pickle can stand for an endless nest of lists
        rows = [row if isinstance(row, list) else [row] for row in value]
        widths = {len(row) for row in rows}
        if (
            len(widths) == 1
            and max(widths) <= _MAX_LIST
            and all(isinstance(one, int | float) for row in rows for one in row)
        ):
            array = np.array(rows, dtype=np.float64)
    if array.dtype.kind not in "fiu":
        raise BadInputError(source, field=name, expected="an array of numbers", found=type(value).__name__)
    return array.astype(np.float64)


def _is_camera(name: str) -> bool:
    try:
        return is_colour_camera(TypeAdapter(CameraId).validate_python(name))
    except ValidationError:
        return False
