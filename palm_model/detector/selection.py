"""What to annotate next: the images in which the detector and the other views contradict each other most.

A joint that the other views place well, but that was detected elsewhere, is a detector's error found without any
label; so is a joint that cannot be triangulated at all. Consistent errors stay unseen.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import granted_index
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import Detections, detections, joints, load_keypoints_2d, load_keypoints_3d
from schemas.camera import Camera
from schemas.ids import CameraId, SubjectId

_LIMIT = 0.25
"""Disagreement is counted up to this share of the hand's size in the image; a missing joint counts as that much."""


class ImageToAnnotate(BaseModel):
    """An image worth annotating, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    path: Annotated[str, Field(description="Relative to the raw root, forward slashes.")]
    disagreement: Annotated[float, Field(ge=0, description="Mean over joints, as a share of the hand's size.")]
    joints_missing: Annotated[int, Field(ge=0, description="Joints of the capture without a place in space.")]


def images_to_annotate(
    workspace: Workspace, subject_ids: Sequence[SubjectId], count: int, annotated: frozenset[str] = frozenset()
) -> tuple[ImageToAnnotate, ...]:
    """The images that would teach most, worst first, at most one a capture.

    Args:
        annotated: paths (relative to the raw root) of images that have annotations already.

    Raises:
        ConsentError: if a subject has not granted consent.
        StoreError: if a subject's joints have not been detected and triangulated.
    """
    found = [
        item for subject_id in subject_ids for item in _ranked(workspace, subject_id) if item.path not in annotated
    ]
    found.sort(key=lambda item: (-item.disagreement, item.subject_id, item.frame, item.camera_id))
    chosen: dict[tuple[SubjectId, int], ImageToAnnotate] = {}
    for item in found:
        chosen.setdefault((item.subject_id, item.frame), item)
    return tuple(list(chosen.values())[:count])


def _ranked(workspace: Workspace, subject_id: SubjectId) -> list[ImageToAnnotate]:
    index = granted_index(workspace, subject_id)
    cameras = load_cameras(workspace, index.session.calibration_id)
    frames = [capture.frame for capture in index.captures]
    seen = detections(load_keypoints_2d(workspace, subject_id), frames, [camera.camera_id for camera in cameras])
    points, _ = joints(load_keypoints_3d(workspace, subject_id), frames)
    items = []
    for row, capture in enumerate(index.captures):
        missing = int(np.isnan(points[row, :, 0]).sum())
        for column, camera in enumerate(cameras):
            record = capture.image(camera.camera_id)
            if record is not None and seen.confidence[row, column].any():
                items.append(
                    ImageToAnnotate(
                        subject_id=subject_id,
                        frame=capture.frame,
                        camera_id=camera.camera_id,
                        path=record.raw.path,
                        disagreement=round(disagreement(seen, points[row], camera, row, column), 5),
                        joints_missing=missing,
                    )
                )
    return items


def disagreement(seen: Detections, points: Float[ndarray, "21 3"], camera: Camera, capture: int, column: int) -> float:
    """Mean distance between detections and reprojected joints, each as a share of the hand's size, up to a limit."""
    back, _ = project(undistorted(camera), points)
    there = np.isfinite(back).all(axis=1)
    if not there.any():
        return _LIMIT
    detected = seen.points_px[capture, column]
    size = max(float(np.ptp(back[there], axis=0).max()), 1.0)
    share = np.minimum(np.linalg.norm(detected - back, axis=1) / size, _LIMIT)
    return float(np.where(there, share, _LIMIT).mean())
