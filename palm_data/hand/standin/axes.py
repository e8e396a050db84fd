"""Which way a right hand's joints bend, read off its rest joints."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_WRIST, _INDEX1, _PINKY1 = 0, 1, 7
_THUMB = slice(12, 15)
_OPPOSITION_DEPTH = 0.03
_SPREAD_SIGNS = np.repeat([-1.0, -1.0, 1.0, 1.0, 1.0], 3)


class JointAxes(NamedTuple):
    """Unit axes of joints 1…15 in the rest pose; a positive angle turns the bone as the name says."""

    flexion: Float[np.ndarray, "15 3"]
    """Towards the palm; the thumb's towards the root of the little finger."""
    spread: Float[np.ndarray, "15 3"]
    """Away from the ring finger for index and middle, away from the middle for the others; the thumb's out of the palm."""


def palm_direction(joints: Float[np.ndarray, "joints 3"]) -> Float[np.ndarray, "3"]:
    """The way the palm of a right hand faces: a unit vector across the plane of wrist, index and little knuckle."""
    across = np.cross(joints[_INDEX1] - joints[_WRIST], joints[_PINKY1] - joints[_WRIST])
    return across / np.linalg.norm(across)


def joint_axes(joints: Float[np.ndarray, "16 3"], bone_ends: Float[np.ndarray, "15 3"]) -> JointAxes:
    """The axes in which a right hand's joints bend.

    Args:
        joints: the rest joints in MANO's order.
        bone_ends: where the bone that starts at each joint 1…15 ends.
    """
    palm = palm_direction(joints)
    bones = bone_ends - joints[1:]
    flexion = np.cross(bones, palm)
    spread = palm * _SPREAD_SIGNS[:, None]
    opposite = joints[_PINKY1] + _OPPOSITION_DEPTH * palm
    spread[_THUMB] = flexion[_THUMB]
    flexion[_THUMB] = np.cross(bones[_THUMB], opposite - joints[1:][_THUMB])
    return JointAxes(_unit(flexion), _unit(spread))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
