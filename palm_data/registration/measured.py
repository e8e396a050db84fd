"""A subject's captures as what hands are fitted to: read from the workspace and the raw scans."""

from collections.abc import Sequence

import numpy as np

from palm_data.calibration.cameras import cameras_digest, load_cameras
from palm_data.camera.pinhole import undistorted
from palm_data.maps.captured import read_surface
from palm_data.registration.targets import FrameTarget
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import detections, joints, load_keypoints_2d, load_keypoints_3d
from schemas.camera import Camera
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.ids import is_colour_camera
from schemas.settings import Settings

_LABELS = ("keypoints_2d", "keypoints_3d")


def registration_inputs(index: CaptureIndex, workspace: Workspace, *stages: str) -> dict[str, str]:
    """Digests of what a fit depends on; of the calibration only the cameras, not how they were verified.

    Raises:
        StoreError: if one of them has not finished.
    """
    subject_id = index.subject.subject_id
    inputs = {stage: workspace.require(stage, subject_id).digest for stage in ("capture_index", *_LABELS, *stages)}
    return {**inputs, "cameras": cameras_digest(workspace, index.session.calibration_id)}


def view_cameras(index: CaptureIndex, workspace: Workspace) -> list[Camera]:
    """The colour cameras as their released images have them: undistorted, sorted by id."""
    cameras = load_cameras(workspace, index.session.calibration_id)
    return [
        undistorted(camera)
        for camera in sorted(cameras, key=lambda camera: camera.camera_id)
        if is_colour_camera(camera.camera_id)
    ]


def frame_targets(
    index: CaptureIndex, captures: Sequence[CaptureRecord], workspace: Workspace, settings: Settings
) -> list[FrameTarget]:
    """The captures' scans, joints and detections.

    Raises:
        BadInputError: if a scan is not the one that was ingested.
        StoreError: if an earlier stage has not finished.
    """
    subject_id, cameras = index.subject.subject_id, view_cameras(index, workspace)
    frames = [capture.frame for capture in index.captures]
    seen = detections(load_keypoints_2d(workspace, subject_id), frames, [camera.camera_id for camera in cameras])
    points, covariance = joints(load_keypoints_3d(workspace, subject_id), frames)
    intrinsics = np.stack([camera.intrinsics() for camera in cameras])
    poses = np.stack([camera.world_to_camera() for camera in cameras])
    targets = []
    for capture in captures:
        row = frames.index(capture.frame)
        # A joint that triangulation called missing has no detections that agree either.
        found = np.isfinite(points[row]).all(axis=1)
        targets.append(
            FrameTarget(
                scan=read_surface(capture, settings),
                keypoints=points[row],
                keypoint_covariance=covariance[row],
                detections_px=seen.points_px[row],
                confidence=seen.confidence[row] * found,
                intrinsics=intrinsics,
                world_to_camera=poses,
                seed=capture.frame,
            )
        )
    return targets
