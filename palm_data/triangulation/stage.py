"""The stage `keypoints_3d`: a subject's joints in space, from what was detected in their images."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from palm_data.calibration.cameras import cameras_digest, load_cameras
from palm_data.capture.index import granted_index
from palm_data.report.pictures import write_png
from palm_data.store.atomic import write_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from palm_data.triangulation.keypoints import (
    KEYPOINTS_2D,
    KEYPOINTS_3D,
    KEYPOINTS_3D_FILE,
    Detections,
    detections,
    load_keypoints_2d,
)
from palm_data.triangulation.picture import Reprojected, reprojection_picture
from palm_data.triangulation.plausible import implausible
from palm_data.triangulation.robust import Observations, Triangulation, TriangulationSettings, triangulate
from schemas.annotation import Keypoint3DRow
from schemas.camera import Camera
from schemas.capture import CaptureIndex
from schemas.hand import JOINT_NAMES
from schemas.ids import SubjectId, is_colour_camera
from schemas.settings import Keypoints3DSettings, Settings

CODE_VERSION = "2"
REFERENCE_DIAGONAL_PX = math.hypot(2448, 2048)
"""Thresholds in settings are for images of this diagonal."""


def triangulate_subject(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Triangulate the subject's joints in every capture, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        StoreError: if an earlier stage has not finished.
    """
    index = granted_index(workspace, subject_id)
    return workspace.run_stage(
        KEYPOINTS_3D,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.keypoints_3d.model_dump(mode="json"),
        inputs={
            "capture_index": workspace.require("capture_index", subject_id).digest,
            "cameras": cameras_digest(workspace, index.session.calibration_id),
            "keypoints_2d": workspace.require(KEYPOINTS_2D, subject_id).digest,
        },
        work=lambda folder: _triangulate(folder, index, workspace, settings),
    )


def _triangulate(folder: Path, index: CaptureIndex, workspace: Workspace, settings: Settings) -> None:
    subject_id = index.subject.subject_id
    cameras = used_cameras(load_cameras(workspace, index.session.calibration_id), settings.keypoints_3d)
    frames = [capture.frame for capture in index.captures]
    seen = detections(load_keypoints_2d(workspace, subject_id), frames, [camera.camera_id for camera in cameras])
    found, refused = without_implausible(triangulate_detections(seen, cameras, settings.keypoints_3d))
    write_rows(folder / KEYPOINTS_3D_FILE, Keypoint3DRow, _rows(subject_id, frames, found))
    figures = {**_figures(found, seen, len(frames)), "joints_implausible": refused}
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    points = found.points.numpy().reshape(len(frames), len(JOINT_NAMES), 3)
    error = found.reprojection_px.numpy().reshape(len(frames), len(JOINT_NAMES))
    write_png(folder / "picture.png", reprojection_picture(index, cameras, Reprojected(seen, points, error), settings))


def used_cameras(cameras: Sequence[Camera], settings: Keypoints3DSettings) -> tuple[Camera, ...]:
    """The cameras whose detections count, sorted by id."""
    wanted = [camera for camera in cameras if settings.mono or is_colour_camera(camera.camera_id)]
    return tuple(sorted(wanted, key=lambda camera: camera.camera_id))


def triangulate_detections(seen: Detections, cameras: Sequence[Camera], settings: Keypoints3DSettings) -> Triangulation:
    """Triangulate each joint of each capture, captures first; thresholds scaled to the cameras' image size.

    Raises:
        GeometryError: if a detection with confidence is not finite, or a confidence is outside [0, 1].
    """
    captures = len(seen.confidence)
    scale = float(np.median([math.hypot(c.width, c.height) for c in cameras])) / REFERENCE_DIAGONAL_PX
    items = captures * len(JOINT_NAMES)

    def by_item(values: ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, 1, 2))).flatten(0, 1)

    observations = Observations(
        points_px=by_item(seen.points_px),
        confidence=by_item(seen.confidence),
        intrinsics=_repeated([camera.intrinsics() for camera in cameras], items),
        world_to_camera=_repeated([camera.world_to_camera() for camera in cameras], items),
    )
    return triangulate(
        observations,
        TriangulationSettings(
            inlier_px=settings.inlier_px * scale,
            noise_px=settings.noise_px * scale,
            min_ray_angle_deg=settings.min_ray_angle_deg,
            min_confidence=settings.min_confidence,
        ),
    )


def without_implausible(found: Triangulation) -> tuple[Triangulation, int]:
    """The same, but joints that no hand could have there are missing; and how many those are."""
    points = found.points.numpy().reshape(-1, len(JOINT_NAMES), 3)
    out = torch.from_numpy(np.array([implausible(hand) for hand in points], dtype=bool).reshape(-1))
    nothing = torch.nan
    return replace(
        found,
        points=torch.where(out[:, None], nothing, found.points),
        covariance=torch.where(out[:, None, None], nothing, found.covariance),
        reprojection_px=torch.where(out, nothing, found.reprojection_px),
        inliers=found.inliers & ~out[:, None],
    ), int(out.sum())


def _repeated(matrices: Sequence[Float[ndarray, "r c"]], items: int) -> Float[Tensor, "items views r c"]:
    return torch.from_numpy(np.stack(matrices)).expand(items, -1, -1, -1)


def _rows(subject_id: SubjectId, frames: Sequence[int], found: Triangulation) -> list[Keypoint3DRow]:
    rows = []
    for item, place in enumerate(found.points.tolist()):
        frame, joint = divmod(item, len(JOINT_NAMES))
        there = math.isfinite(place[0])
        covariance = found.covariance[item].tolist()
        upper = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
        xx, xy, xz, yy, yz, zz = (covariance[a][b] if there else None for a, b in upper)
        x, y, z = place if there else (None, None, None)
        rows.append(
            Keypoint3DRow(
                subject_id=subject_id, frame=frames[frame], joint=joint, x=x, y=y, z=z,
                cov_xx=xx, cov_xy=xy, cov_xz=xz, cov_yy=yy, cov_yz=yz, cov_zz=zz,
                reprojection_px=float(found.reprojection_px[item]) if there else None,
                views=int(found.inliers[item].sum()),
                ray_angle_deg=math.degrees(float(found.ray_angle[item])),
            )
        )  # fmt: skip
    return rows


def _figures(found: Triangulation, seen: Detections, captures: int) -> dict[str, float | int]:
    there = torch.isfinite(found.points[:, 0]).numpy()
    figures: dict[str, float | int] = {
        "captures": captures,
        "cameras": seen.confidence.shape[1],
        "joints": len(there),
        "joints_missing": int((~there).sum()),
        "coverage": round(float(there.mean()), 4) if len(there) else 0.0,
    }
    if there.any():
        error = found.reprojection_px.numpy()[there]
        spread = found.covariance.diagonal(dim1=1, dim2=2).sum(dim=1).sqrt().numpy()[there]
        detected = (np.moveaxis(seen.confidence, 1, 2).reshape(len(there), -1) > 0).sum(axis=1)[there]
        figures |= {
            "views_mean": round(float(found.inliers.numpy()[there].sum(axis=1).mean()), 3),
            "views_share": round(float(found.inliers.numpy()[there].sum() / max(int(detected.sum()), 1)), 4),
            "reprojection_px_median": round(float(np.median(error)), 3),
            "reprojection_px_p95": round(float(np.percentile(error, 95)), 3),
            "deviation_mm_median": round(float(np.median(spread)) * 1000.0, 3),
        }
    return figures
