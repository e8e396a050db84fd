"""A subject's rows of the released tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from palm_data.camera.pinhole import undistorted
from palm_data.store.scans import ScanSize
from palm_data.store.sources import ShardSources
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.release import CameraRow, CaptureRow, ImageRow, MonoImageRow


def capture_rows(sources: ShardSources, scans: Sequence[ScanSize]) -> list[CaptureRow]:
    """One row a capture, in the order of the arrays."""
    return [
        CaptureRow(
            subject_id=capture.subject_id,
            frame=capture.frame,
            array_index=row,
            gesture=capture.gesture,
            raw_frame=capture.raw_frame,
            calibration_id=capture.calibration_id,
            scan_file=capture.scan.mesh.path,
            scan_sha256=capture.scan.mesh.sha256,
            scan_vertices=scan.vertices,
            scan_faces=scan.faces,
            silhouette_iou_mean=_mean_iou(sources, capture.frame),
        )
        for row, (capture, scan) in enumerate(zip(sources.index.captures, scans, strict=True))
    ]


def image_rows(sources: ShardSources) -> list[ImageRow]:
    """One row for each capture and view, missing images included, in the order of the arrays."""
    measured = {(view.frame, view.camera_id): view for view in sources.views}
    rows = []
    for capture in sources.index.captures:
        for position, camera in enumerate(sources.cameras):
            view = measured[capture.frame, camera.camera_id]
            rows.append(
                ImageRow(
                    **_source_of(capture, position, camera),
                    mask_px=view.mask_px,
                    silhouette_iou=view.silhouette_iou,
                )
            )
    return rows


def camera_rows(sources: ShardSources) -> list[CameraRow]:
    """One row a view, in the order of the arrays."""
    return [_camera_row(sources.index.subject.subject_id, camera) for camera in sources.cameras]


def mono_image_rows(sources: ShardSources) -> list[MonoImageRow]:
    """One row for each capture and mono camera, missing images included, in the order of the arrays."""
    return [
        MonoImageRow(**_source_of(capture, position, camera))
        for capture in sources.index.captures
        for position, camera in enumerate(sources.mono)
    ]


def mono_camera_rows(sources: ShardSources) -> list[CameraRow]:
    """One row a mono camera, in the order of the arrays."""
    return [_camera_row(sources.index.subject.subject_id, camera) for camera in sources.mono]


def _source_of(capture: CaptureRecord, position: int, camera: Camera) -> dict[str, Any]:
    """The columns that say which image a row is about, and which raw file it comes from."""
    image = capture.image(camera.camera_id)
    return {
        "subject_id": capture.subject_id,
        "frame": capture.frame,
        "camera_id": camera.camera_id,
        "view_index": position,
        "present": image is not None,
        "raw_file": image.raw.path if image else None,
        "raw_sha256": image.raw.sha256 if image else None,
        "turn_deg": camera.turn_deg,
    }


def _camera_row(subject_id: str, camera: Camera) -> CameraRow:
    released = undistorted(camera)
    return CameraRow(
        subject_id=subject_id,
        camera_id=camera.camera_id,
        calibration_id=camera.calibration_id,
        width=camera.width,
        height=camera.height,
        intrinsics=tuple(released.intrinsics().ravel().tolist()),
        world_to_camera=tuple(released.world_to_camera().ravel().tolist()),
        raw_intrinsics=tuple(camera.intrinsics().ravel().tolist()),
        raw_distortion=tuple(camera.distortion.opencv().tolist()),
        turn_deg=camera.turn_deg,
    )


def _mean_iou(sources: ShardSources, frame: int) -> float | None:
    values = [v.silhouette_iou for v in sources.views if v.frame == frame and v.silhouette_iou is not None]
    return float(np.mean(values)) if values else None
