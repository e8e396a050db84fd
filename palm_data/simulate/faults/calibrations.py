"""Faults of a calibration, planted in a copy of it that one faulty person's session names."""

from pathlib import Path
from typing import cast

import numpy as np

from palm_data.capture.images import read_image
from palm_data.capture.tka import format_tka, read_tka
from palm_data.simulate.faults.record import Outcome, Reason
from palm_data.simulate.faults.scene import Fault, Planted, Scene, cut_short, write_image
from schemas.camera import Matrix3, TsaiCamera

MOVED_DEG = 1.5
_MAX_PIXELS = 1 << 26
_LETTERS = "ABC"


def _pod_on_its_side(scene: Scene) -> Planted:
    """The pod's cameras bolted on a quarter further: they deliver portrait images, and their files say so."""
    pod = scene.camera[:2]
    changed: list[Path] = []
    for letter in _LETTERS:
        path = scene.calibration / f"{pod}_{letter}.tka"
        if path.exists():
            path.write_bytes(format_tka(_quarter(read_tka(path))).encode("ascii"))
            changed.append(path)
    for folder in (scene.raw / scene.subject_id, scene.calibration):
        for path in sorted(folder.rglob(f"*{pod}_[{_LETTERS}].*")):
            if path.suffix.lower() != ".tka":
                write_image(path, np.ascontiguousarray(np.rot90(read_image(path, max_pixels=_MAX_PIXELS), k=-1)))
                changed.append(path)
    return Planted(tuple(map(scene.name, changed)))


def _quarter(camera: TsaiCamera) -> TsaiCamera:
    """The camera whose image is turned clockwise by 90°: (x, y) goes to (height − y, x)."""
    first, second, third = camera.rotation
    (pitch_x, pitch_y), (a, b), (width, height) = (
        camera.pixel_size_mm, camera.principal_point_px, camera.image_size_px,
    )  # fmt: skip
    down = cast("tuple[float, float, float]", tuple(-value for value in second))
    return camera.model_copy(
        update={
            "rotation": (down, first, third),
            "pixel_size_mm": (pitch_y, pitch_x),
            "principal_point_px": (height - b, a),
            "image_size_px": (height, width),
        }
    )


def _camera_moved(scene: Scene) -> Planted:
    path = scene.calibration / f"{scene.camera}.tka"
    path.write_bytes(format_tka(_turned(read_tka(path), MOVED_DEG)).encode("ascii"))
    return Planted((scene.name(path),), Reason(source=scene.name(path), field="", expected="", found=""))


def _turned(camera: TsaiCamera, degrees: float) -> TsaiCamera:
    """The camera turned about its own vertical axis: its images shift sideways."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    turn = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    rows = tuple(tuple(float(value) for value in row) for row in turn @ np.asarray(camera.rotation))
    return camera.model_copy(update={"rotation": cast("Matrix3", rows)})


def _file_missing(scene: Scene) -> Planted:
    path = scene.calibration / f"{scene.camera}.tka"
    path.unlink()
    reason = Reason(source=scene.name(path), field="file", expected="a .tka file", found="nothing")
    return Planted((scene.name(path),), reason)


def _file_truncated(scene: Scene) -> Planted:
    path = scene.calibration / f"{scene.camera}.tka"
    cut_short(path)
    return Planted((scene.name(path),), Reason(source=scene.name(path), field="line ", expected="", found=""))


POD_ON_ITS_SIDE = Fault(
    "pod_on_its_side", "A pod was mounted on its side: portrait images.", Outcome.HANDLED, _pod_on_its_side,
    has_camera=True, of_session=True,
)  # fmt: skip
CAMERA_MOVED = Fault(
    "camera_moved", "A camera was touched after it was calibrated.", Outcome.CAMERA_FLAGGED, _camera_moved,
    has_camera=True, of_session=True,
)  # fmt: skip
CAMERA_FILE_MISSING = Fault(
    "camera_file_missing", "A camera has no calibration file.", Outcome.CAMERA_MISSING, _file_missing,
    has_camera=True, of_session=True,
)  # fmt: skip
CAMERA_FILE_TRUNCATED = Fault(
    "camera_file_truncated", "A camera's calibration file was cut short.", Outcome.CAMERA_MISSING, _file_truncated,
    has_camera=True, of_session=True,
)  # fmt: skip
