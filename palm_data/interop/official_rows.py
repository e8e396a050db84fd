"""An imported subject's rows of the released tables: what the files say, and what only an export of ours can add."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from palm_data.interop.official_pictures_in import Read
from palm_data.interop.official_scans import ScanFile
from palm_data.interop.official_sidecar import Sidecar, updated
from schemas.camera import Camera
from schemas.hand import HandRow
from schemas.ids import SubjectId
from schemas.release import CameraRow, CaptureRow, ImageRow

GESTURE = "unknown"


class Numbered(NamedTuple):
    """A capture: the file number there, and the frame here."""

    number: int
    frame: int


def image_row(
    subject_id: SubjectId, frame: int, camera: Camera, view: int, found: Mapping[str, Read], *, sidecar: Sidecar
) -> ImageRow:  # fmt: skip
    """The row of a view, whose file is named relative to the official version."""
    image, mask = found.get("rgb"), found.get("mask")
    known = sidecar.rows("images", ImageRow, subject_id, frame=frame, camera_id=camera.camera_id)
    return ImageRow(
        subject_id=subject_id,
        frame=frame,
        camera_id=camera.camera_id,
        view_index=view,
        present=image is not None,
        raw_file=None if image is None else f"{subject_id}/{image.path}",
        raw_sha256=None if image is None else image.sha256,
        turn_deg=known[0].turn_deg if known else camera.turn_deg,
        mask_px=0 if mask is None else int((mask.pixels > 0).sum()),
        silhouette_iou=known[0].silhouette_iou if known else None,
    )


def hand_row(hand: HandRow, sidecar: Sidecar) -> HandRow:
    """The numbers of the file, with the figures of fit that only the sidecar has."""
    known = sidecar.rows("hands", HandRow, hand.subject_id, frame=hand.frame)
    numbers = {name: getattr(hand, name) for name in ("global_orient", "hand_pose", "betas", "transl")}
    return updated(known[0], numbers) if known else hand


def camera_row(subject_id: SubjectId, camera: Camera, sidecar: Sidecar) -> CameraRow:
    """The camera of the file; the raw calibration is the sidecar's, or else the same without distortion."""
    k, pose = tuple(camera.intrinsics().ravel().tolist()), tuple(camera.world_to_camera().ravel().tolist())
    known = sidecar.rows("cameras", CameraRow, subject_id, camera_id=camera.camera_id)
    if known and (known[0].width, known[0].height) == (camera.width, camera.height):
        return updated(known[0], {"intrinsics": k, "world_to_camera": pose})
    return CameraRow(
        subject_id=subject_id,
        camera_id=camera.camera_id,
        calibration_id=camera.calibration_id,
        width=camera.width,
        height=camera.height,
        intrinsics=k,
        world_to_camera=pose,
        raw_intrinsics=k,
        raw_distortion=(0.0,) * 5,
        turn_deg=camera.turn_deg,
    )


def capture_rows(
    subject_id: SubjectId,
    captures: Sequence[Numbered],
    calibration_id: str,
    scans: Mapping[int, ScanFile],
    sidecar: Sidecar,
) -> list[CaptureRow]:
    """One row a capture, in the order of the arrays; a file's number is its `raw_frame`, if nothing knows better."""
    rows = []
    for position, (number, frame) in enumerate(captures):
        known = sidecar.rows("captures", CaptureRow, subject_id, frame=frame)
        scan = scans.get(number)
        found = {
            "array_index": position,
            "scan_file": None if scan is None else f"meshes/{subject_id}/{scan.path}",
            "scan_sha256": None if scan is None else scan.sha256,
            "scan_vertices": 0 if scan is None else scan.vertices,
            "scan_faces": 0 if scan is None else scan.faces,
        }
        plain = {
            "subject_id": subject_id, "frame": frame, "gesture": GESTURE, "raw_frame": number,
            "calibration_id": calibration_id, "silhouette_iou_mean": None,
        }  # fmt: skip
        rows.append(CaptureRow.model_validate({**(known[0].model_dump() if known else plain), **found}))
    return rows
