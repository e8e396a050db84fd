"""The 21 joints in other people's orders: one table, from which every conversion is derived.

Only the order is converted. What a joint *is* differs a little between sources (a regressed joint centre, an
annotated spot on the skin); that is a matter of millimetres which no permutation mends.
"""

from enum import StrEnum
from types import MappingProxyType

import numpy as np
from jaxtyping import Shaped

from schemas.errors import GeometryError
from schemas.hand import JOINT_NAMES

_FINGERS_FROM_THUMB = ("thumb", "index", "middle", "ring", "pinky")


class JointOrder(StrEnum):
    """Whose order the joints are in."""

    PALM = "palm"
    """Ours: MANO's sixteen, then the tips from thumb to pinky."""
    INTERHAND = "interhand"
    """InterHand2.6M, one hand: each finger from tip to root, thumb to pinky, the wrist last."""
    OPENPOSE = "openpose"
    """The wrist first, each finger from root to tip, thumb to pinky."""
    MEDIAPIPE = "mediapipe"
    """As OpenPose."""


def _finger(name: str) -> tuple[str, ...]:
    return (f"{name}1", f"{name}2", f"{name}3", f"{name}_tip")


_ROOT_TO_TIP = ("wrist", *(joint for finger in _FINGERS_FROM_THUMB for joint in _finger(finger)))
_TIP_TO_ROOT = (*(joint for finger in _FINGERS_FROM_THUMB for joint in reversed(_finger(finger))), "wrist")

JOINT_ORDERS = MappingProxyType(
    {
        JointOrder.PALM: JOINT_NAMES,
        JointOrder.INTERHAND: _TIP_TO_ROOT,
        JointOrder.OPENPOSE: _ROOT_TO_TIP,
        JointOrder.MEDIAPIPE: _ROOT_TO_TIP,
    }
)
"""Order → our names of its joints, first to last."""


def rows_in_order(order: JointOrder) -> tuple[int, ...]:
    """For each joint of the order, its row in ours: `ours[rows]` is theirs."""
    return tuple(JOINT_NAMES.index(name) for name in JOINT_ORDERS[order])


def to_order(
    joints: Shaped[np.ndarray, "*batch 21 values"], order: JointOrder
) -> Shaped[np.ndarray, "*batch 21 values"]:
    """Joints in our order, rearranged into another.

    Raises:
        GeometryError: if the last axis but one does not hold 21 joints.
    """
    _check(joints)
    return joints[..., list(rows_in_order(order)), :]


def from_order(
    joints: Shaped[np.ndarray, "*batch 21 values"], order: JointOrder
) -> Shaped[np.ndarray, "*batch 21 values"]:
    """Joints in another order, rearranged into ours.

    Raises:
        GeometryError: if the last axis but one does not hold 21 joints.
    """
    _check(joints)
    return joints[..., np.argsort(rows_in_order(order)), :]


def _check(joints: np.ndarray) -> None:
    if joints.ndim < 2 or joints.shape[-2] != len(JOINT_NAMES):
        raise GeometryError(
            f"joints: expected an array (…, {len(JOINT_NAMES)}, values), found shape {joints.shape}. "
            "Pass one hand at a time."
        )
