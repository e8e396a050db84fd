"""Detections and joints of a subject as tables, and as arrays over captures, cameras and joints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.store.tables import read_rows
from palm_data.store.workspace import Workspace
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.errors import StoreError
from schemas.hand import JOINT_NAMES
from schemas.ids import CameraId, SubjectId

KEYPOINTS_2D = "keypoints_2d"
KEYPOINTS_2D_FILE = "keypoints_2d.parquet"
KEYPOINTS_3D = "keypoints_3d"
KEYPOINTS_3D_FILE = "keypoints_3d.parquet"


@dataclass(frozen=True)
class Detections:
    """What was detected, capture by capture and camera by camera."""

    points_px: Float[ndarray, "captures cameras 21 2"]
    """Undistorted, stored orientation, integers at pixel corners; 0 where the confidence is 0."""
    confidence: Float[ndarray, "captures cameras 21"]
    """0 = nothing was looked for or found there."""


def load_keypoints_2d(workspace: Workspace, subject_id: SubjectId) -> list[Keypoint2DRow]:
    """The subject's detections, by frame, camera and joint.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its table is damaged.
    """
    return read_rows(workspace.output(KEYPOINTS_2D, subject_id) / KEYPOINTS_2D_FILE, Keypoint2DRow)


def load_keypoints_3d(workspace: Workspace, subject_id: SubjectId) -> list[Keypoint3DRow]:
    """The subject's triangulated joints, by frame and joint.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its table is damaged.
    """
    return read_rows(workspace.output(KEYPOINTS_3D, subject_id) / KEYPOINTS_3D_FILE, Keypoint3DRow)


def detections(rows: Sequence[Keypoint2DRow], frames: Sequence[int], camera_ids: Sequence[CameraId]) -> Detections:
    """The rows as arrays; rows of cameras that are not asked for are left out.

    Raises:
        StoreError: if a row is of a capture that is not there.
    """
    frame_rows, camera_rows = {f: row for row, f in enumerate(frames)}, {c: row for row, c in enumerate(camera_ids)}
    points = np.zeros((len(frames), len(camera_ids), len(JOINT_NAMES), 2))
    confidence = np.zeros(points.shape[:3])
    for row in rows:
        if row.camera_id not in camera_rows:
            continue
        if row.frame not in frame_rows:
            raise StoreError(
                f"{KEYPOINTS_2D_FILE}: frame: expected one of the index, found {row.frame}. Detect the joints again."
            )
        place = (frame_rows[row.frame], camera_rows[row.camera_id], row.joint)
        points[place], confidence[place] = (row.x_px, row.y_px), row.confidence
    return Detections(points_px=points, confidence=confidence)


def joints(
    rows: Sequence[Keypoint3DRow], frames: Sequence[int]
) -> tuple[Float[ndarray, "captures 21 3"], Float[ndarray, "captures 21 3 3"]]:
    """Positions (metres) and covariances (m²) of the rows' joints; NaN = missing."""
    places = {frame: row for row, frame in enumerate(frames)}
    points = np.full((len(frames), len(JOINT_NAMES), 3), np.nan)
    covariance = np.full((len(frames), len(JOINT_NAMES), 3, 3), np.nan)
    for row in rows:
        if row.x is None or row.frame not in places:
            continue
        place = (places[row.frame], row.joint)
        points[place] = (row.x, row.y, row.z)
        covariance[place] = (
            (row.cov_xx, row.cov_xy, row.cov_xz),
            (row.cov_xy, row.cov_yy, row.cov_yz),
            (row.cov_xz, row.cov_yz, row.cov_zz),
        )
    return points, covariance
