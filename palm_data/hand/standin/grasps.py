"""Synthetic grasps: joint angles drawn from joint limits and the couplings of a healthy hand.

They are **not** captured: the pose space of the stand-in says what a hand can do, not what people do with it.
Angles are relative to the rest pose, in which the fingers are nearly straight and a little spread.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from palm_data.hand.standin.axes import JointAxes

_FINGERS = 4
_EXTENDED_SHARE = 0.3
_WITHIN_LIMITS = 0.15

_KNUCKLE_DEG = (-12.0, 85.0)
_MIDDLE_JOINT_DEG = (0.0, 100.0)
_END_JOINT_SHARE = 0.62
"""The last joint follows the one before it: they share a tendon."""
_SPREAD_DEG = np.array([9.0, 2.0, 12.0, 6.0])
_CLOSING_DEG = np.array([7.0, 0.0, 15.0, 7.0])
"""How far index, middle, pinky and ring close up as they curl."""
_THUMB_LOW_DEG = np.array([-5.0, -12.0, 0.0, -8.0])
_THUMB_HIGH_DEG = np.array([38.0, 22.0, 50.0, 70.0])
"""Root flexion, root spread, second and third joint."""


class Closure(NamedTuple):
    """How far joints have gone through their range: 0 is open, 1 is closed. Fingers are index, middle, pinky, ring."""

    knuckle: Float[np.ndarray, "poses 4"]
    middle: Float[np.ndarray, "poses 4"]
    end: Float[np.ndarray, "poses 4"]
    fan: Float[np.ndarray, "poses 4"]
    """Sideways at the knuckle: 1 is spread."""
    thumb: Float[np.ndarray, "poses 4"]
    """Root flexion, root spread, second and third joint."""


class PoseSpace(NamedTuple):
    """What MANO calls hands_mean, hands_components and hands_coeffs."""

    mean: Float[np.ndarray, "45"]
    components: Float[np.ndarray, "45 45"]
    coefficients: Float[np.ndarray, "poses 45"]


def draw_grasps(axes: JointAxes, count: int, rng: np.random.Generator) -> Float[np.ndarray, "poses 45"]:
    """Hand poses, axis-angle about the rest pose, radians."""
    closed = rng.beta(1.0, 1.8, (count, 1))
    curl = closed + rng.normal(0.0, _WITHIN_LIMITS, (count, _FINGERS))
    # Pointing, counting, pinching: some fingers stay straight while the rest close.
    straight = rng.random((count, 1)) < _EXTENDED_SHARE
    curl = np.where(straight & (rng.random((count, _FINGERS)) < 0.5), 0.1 * curl, curl)
    knuckle = np.clip(curl + rng.normal(0.0, _WITHIN_LIMITS, curl.shape), 0.0, 1.0)
    middle = np.clip(curl + rng.normal(0.0, _WITHIN_LIMITS, curl.shape), 0.0, 1.0)
    end = np.clip(middle + rng.normal(0.0, 0.5 * _WITHIN_LIMITS, curl.shape), 0.0, 1.0)
    fan = rng.uniform(-0.6, 1.0, (count, 1)) + rng.normal(0.0, _WITHIN_LIMITS, curl.shape)
    thumb = np.clip(0.7 * closed + 0.1 + rng.normal(0.0, 0.25, (count, 4)), 0.0, 1.0)
    return grasp_poses(axes, Closure(knuckle, middle, end, fan, thumb))


def grasp_poses(axes: JointAxes, closure: Closure) -> Float[np.ndarray, "poses 45"]:
    """The hand poses of given closures, axis-angle about the rest pose, radians."""
    knuckle, middle, end, fan, thumb = closure
    flexion = np.zeros((len(knuckle), 15))
    spread = np.zeros((len(knuckle), 15))
    low, high = _KNUCKLE_DEG
    flexion[:, 0:12:3] = low + (high - low) * knuckle
    flexion[:, 1:12:3] = _MIDDLE_JOINT_DEG[0] + (_MIDDLE_JOINT_DEG[1] - _MIDDLE_JOINT_DEG[0]) * middle
    flexion[:, 2:12:3] = _END_JOINT_SHARE * _MIDDLE_JOINT_DEG[1] * end
    spread[:, 0:12:3] = _SPREAD_DEG * fan * (1.0 - knuckle) - _CLOSING_DEG * knuckle
    degrees = _THUMB_LOW_DEG + (_THUMB_HIGH_DEG - _THUMB_LOW_DEG) * thumb
    flexion[:, 12], spread[:, 12], flexion[:, 13], flexion[:, 14] = degrees.T
    bend = Rotation.from_rotvec(np.radians(flexion[..., None] * axes.flexion).reshape(-1, 3))
    fan_out = Rotation.from_rotvec(np.radians(spread[..., None] * axes.spread).reshape(-1, 3))
    return (fan_out * bend).as_rotvec().reshape(len(knuckle), 45)


def pose_space(poses: Float[np.ndarray, "poses 45"]) -> PoseSpace:
    """Mean and principal components of the poses, as an orthonormal basis of all 45 numbers.

    Directions in which no pose moves complete the basis in a fixed way, so that the result does not hang on
    rounding.
    """
    mean = poses.mean(axis=0)
    variances, vectors = np.linalg.eigh((poses - mean).T @ (poses - mean) / len(poses))
    order = np.argsort(variances)[::-1]
    basis: list[np.ndarray] = []
    for vector in vectors.T[order[variances[order] > 1e-6 * variances.max()]]:
        basis.append(vector * np.sign(vector[np.abs(vector).argmax()]))
    for unit in np.eye(len(mean)):
        rest = unit - sum(((unit @ vector) * vector for vector in basis), np.zeros_like(unit))
        if (length := np.linalg.norm(rest)) > 0.1 and len(basis) < len(mean):
            basis.append(rest / length)
    components = np.stack(basis)
    return PoseSpace(mean, components, (poses - mean) @ components.T)
