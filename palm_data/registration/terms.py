"""The terms of a frame's objective. Each is in mm², divided by how many measurements it has, so that weights compare.

Distances use reweighting at the current point: the weights are constants of one Levenberg–Marquardt step.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.registration.anatomy import PoseLimits
from palm_data.registration.parameters import POSE, SHAPE, TOTAL_SIZE
from palm_data.registration.posed import Posed
from palm_data.registration.quadratic import Quadratic, geman_mcclure, geman_mcclure_weight
from palm_data.registration.targets import FrameTarget
from schemas.registration import Phase, RegistrationSettings

MM = 1000.0
_POINT_SHARE = 0.1  # of the distance along the surface, beside the distance to its plane
ROBUST_DEVIATIONS = 3.0  # beyond these a keypoint loses its say
_POSE_SPREAD = 0.6  # radians
_LIMIT_SPREAD = np.radians(5.0)


def add_keypoints_3d(
    quadratic: Quadratic, target: FrameTarget, posed: Posed, phase: Phase, settings: RegistrationSettings
) -> None:
    """Joints against triangulated keypoints, whitened by their covariance plus the joints' own vagueness."""
    found = np.isfinite(target.keypoints).all(axis=1)
    if not found.any() or phase.keypoints_3d == 0:
        return
    floor = settings.keypoint_floor_mm / MM
    covariance = target.keypoint_covariance[found] + np.eye(3) * floor**2
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)) * settings.keypoint_floor_mm
    residuals = np.einsum("jkc,jc->jk", whitening, posed.joints[found] - target.keypoints[found])
    scale = ROBUST_DEVIATIONS * settings.keypoint_floor_mm
    squared, weight = (residuals**2).sum(axis=1), phase.keypoints_3d / found.sum()
    weights, value = geman_mcclure_weight(squared, scale) * weight, float(geman_mcclure(squared, scale).sum() * weight)
    slopes = None if posed.joint_slopes is None else np.einsum("jkc,jcp->jkp", whitening, posed.joint_slopes[found])
    quadratic.add(residuals.ravel(), _rows(slopes), np.repeat(weights, 3), value)


def add_keypoints_2d(
    quadratic: Quadratic, target: FrameTarget, posed: Posed, phase: Phase, settings: RegistrationSettings
) -> None:
    """Reprojected joints against detections, in millimetres at the joint's depth."""
    views, joints = np.nonzero(target.confidence > 0)
    if not len(views) or phase.keypoints_2d == 0:
        return
    rotation, translation = target.world_to_camera[views, :3, :3], target.world_to_camera[views, :3, 3]
    focal = np.stack([target.intrinsics[views, 0, 0], target.intrinsics[views, 1, 1]], axis=1)
    in_camera = np.einsum("nij,nj->ni", rotation, posed.joints[joints]) + translation
    depth = in_camera[:, 2]
    projected = focal * in_camera[:, :2] / depth[:, None] + target.intrinsics[views, :2, 2]
    pixel_mm = MM * depth / focal.mean(axis=1)
    off_px = projected - target.detections_px[views, joints]
    scale = ROBUST_DEVIATIONS * settings.keypoint_floor_mm
    residuals = off_px * pixel_mm[:, None]
    squared = (residuals**2).sum(axis=1)
    weight = target.confidence[views, joints] * phase.keypoints_2d / target.confidence.sum()
    slopes = None
    if posed.joint_slopes is not None:
        to_pixel = np.zeros((len(views), 2, 3))
        to_pixel[:, 0, 0], to_pixel[:, 1, 1] = focal[:, 0] / depth, focal[:, 1] / depth
        to_pixel[:, :, 2] = -focal * in_camera[:, :2] / depth[:, None] ** 2
        # A pixel grows with depth, so the residual does too.
        to_mm = pixel_mm[:, None, None] * to_pixel
        to_mm[:, :, 2] += off_px * (MM / focal.mean(axis=1))[:, None]
        slopes = np.einsum("nic,ncp->nip", to_mm @ rotation, posed.joint_slopes[joints])
    value = float(geman_mcclure(squared, scale) @ weight)
    quadratic.add(residuals.ravel(), _rows(slopes), np.repeat(geman_mcclure_weight(squared, scale) * weight, 2), value)


def _rows(slopes: Float[ndarray, "points axes 61"] | None) -> Float[ndarray, "rows 61"] | None:
    return None if slopes is None else slopes.reshape(-1, TOTAL_SIZE)


def add_surface(
    quadratic: Quadratic,
    offsets: Float[ndarray, "points 3"],
    slopes: Float[ndarray, "points 3 61"] | None,
    normals: Float[ndarray, "points 3"],
    weights: Float[ndarray, " points"],
) -> None:
    """Σ weight · (distance to the tangent plane² + a share of the distance²); offsets and their slopes in metres."""
    # |offset|² splits into the plane's part and the rest, so each row carries its direction's share of the weight.
    share = np.sqrt(_POINT_SHARE)
    metric = MM * (share * np.eye(3) + (1.0 - share) * normals[:, :, None] * normals[:, None, :])
    residuals = np.einsum("nij,nj->ni", metric, offsets)
    quadratic.add(residuals.ravel(), None if slopes is None else _rows(metric @ slopes), np.repeat(weights, 3))


def pair_weights(
    gaps: Float[ndarray, " points"],
    counts: Bool[ndarray, " points"],
    cosines: Float[ndarray, " points"],
    phase: Phase,
    settings: RegistrationSettings,
) -> Float[ndarray, " points"]:
    """Weights of closest-point pairs: 0 where the surfaces face different ways, less when far.

    Args:
        gaps: distances, metres.
        counts: pairs that may count: not at a border, not near the wrist.
        cosines: between the two surfaces' normals.
    """
    facing = cosines > np.cos(np.radians(settings.normal_gate_deg))
    return geman_mcclure_weight((gaps * MM) ** 2, phase.gate_mm) * (counts & facing) / max(int(counts.sum()), 1)


def add_priors(
    quadratic: Quadratic, limits: PoseLimits, hand_pose: Float[ndarray, "45"], betas: Float[ndarray, "10"], phase: Phase
) -> None:
    """The pose near the mean pose and inside the anatomical limits; the shape near the mean shape."""
    identity = np.eye(TOTAL_SIZE)
    quadratic.add(
        hand_pose / _POSE_SPREAD,
        identity[POSE] / _POSE_SPREAD,
        np.full(len(hand_pose), phase.pose_prior / len(hand_pose)),
    )
    excess = limits.excess(hand_pose) / _LIMIT_SPREAD
    slopes = np.zeros((len(hand_pose), TOTAL_SIZE))
    slopes[:, POSE] = limits.axes / _LIMIT_SPREAD
    quadratic.add(excess, slopes, np.where(excess != 0, phase.limits / len(hand_pose), 0.0))
    quadratic.add(betas, identity[SHAPE], np.full(len(betas), phase.shape_prior / len(betas)))
