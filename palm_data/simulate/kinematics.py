"""Bones that carry a surface: forward kinematics, and posing with dual quaternions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.simulate import dualquat


@dataclass(frozen=True, eq=False)
class RestHand:
    """One person's hand at rest."""

    base: Float[ndarray, "base 3"]
    """Vertices of the template's base mesh, metres."""
    joints: Float[ndarray, "17 3"]
    """The 16 joints, then the forearm's, metres."""
    weights: Float[ndarray, "base 17"]
    parents: Int[ndarray, "17"]


def forward_kinematics(
    rotations: Float[ndarray, "joints 3"], joints: Float[ndarray, "joints 3"], parents: Int[ndarray, "joints"]
) -> tuple[Float[ndarray, "joints 3 3"], Float[ndarray, "joints 3"]]:
    """Each joint's transform x → R x + t from rest to pose; parents come before their children.

    Args:
        rotations: each joint's own turn about its rest position, axis-angle.
    """
    own = Rotation.from_rotvec(rotations).as_matrix()
    turned = np.empty((len(joints), 3, 3))
    moved = np.empty((len(joints), 3))
    for joint, parent in enumerate(parents):
        about = joints[joint] - own[joint] @ joints[joint]
        if parent < 0:
            turned[joint], moved[joint] = own[joint], about
        else:
            turned[joint] = turned[parent] @ own[joint]
            moved[joint] = turned[parent] @ about + moved[parent]
    return turned, moved


def skin(
    points: Float[ndarray, "n 3"],
    weights: Float[ndarray, "n joints"],
    turned: Float[ndarray, "joints 3 3"],
    moved: Float[ndarray, "joints 3"],
) -> Float[ndarray, "n 3"]:
    """Rest points carried along by the bones' transforms, blended as dual quaternions."""
    return dualquat.apply(dualquat.blend(weights, dualquat.from_rigid(turned, moved)), points)
