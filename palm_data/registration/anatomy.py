"""How far a finger can turn: twist about the bone, spread within the palm's plane, bend out of it.

The axes come from the model's own rest joints, so that any hand model in MANO's parameterisation has them. MANO adds
its mean pose to `hand_pose` as rotation vectors, so the limits are linear in the parameters. The ranges are those of
manotorch's anatomical limits (Yang et al., CPF, ICCV 2021) in degrees, widened a little where a passive hand goes
further.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.hand.model import HandModel

_FIRST, _MIDDLE, _LAST = "first", "middle", "last"
_FINGER_LIMITS_DEG = {
    _FIRST: ((-10, 10), (-25, 25), (-30, 95)),
    _MIDDLE: ((-6, 6), (-6, 6), (-5, 115)),
    _LAST: ((-6, 6), (-6, 6), (-10, 90)),
}
_THUMB_LIMITS_DEG = {
    _FIRST: ((-45, 45), (-45, 45), (-45, 50)),
    _MIDDLE: ((-15, 15), (-25, 25), (-25, 90)),
    _LAST: ((-10, 10), (-15, 15), (-25, 95)),
}
_THUMB = 13


@dataclass(frozen=True)
class PoseLimits:
    """Limits on the 45 anatomical angles `axes @ (hand_pose + mean)`, radians."""

    axes: Float[ndarray, "45 45"]
    mean: Float[ndarray, "45"]
    low: Float[ndarray, "45"]
    high: Float[ndarray, "45"]

    def angles(self, hand_pose: Float[ndarray, "45"]) -> Float[ndarray, "45"]:
        """Twist, spread and bend of each joint, radians; bend is positive towards the palm."""
        return self.axes @ (hand_pose + self.mean)

    def excess(self, hand_pose: Float[ndarray, "45"]) -> Float[ndarray, "45"]:
        """How far each angle lies outside its range, radians; 0 inside."""
        angles = self.angles(hand_pose)
        return np.maximum(angles - self.high, 0.0) + np.minimum(angles - self.low, 0.0)


def pose_limits(model: HandModel) -> PoseLimits:
    """The limits of a hand model, in its own rest frame."""
    joints = model.joint_regressor.astype(np.float64) @ model.v_template
    tips = model.v_template[list(model.tip_vertex_ids)].astype(np.float64)
    palm = _palm_normal(joints, model.side)
    axes, low, high = np.zeros((45, 45)), np.zeros(45), np.zeros(45)
    for joint in range(1, 16):
        row = slice(3 * (joint - 1), 3 * joint)
        child = tips[_tip_of(joint)] if joint % 3 == 0 else joints[joint + 1]
        bone = (child - joints[joint]) / np.linalg.norm(child - joints[joint])
        thumb = joint >= _THUMB
        bend = _unit(np.cross(bone, _thumb_pad(joints, tips, palm) if thumb else palm))
        axes[row, row] = np.stack([bone, np.cross(bone, bend), bend])
        limits = (_THUMB_LIMITS_DEG if thumb else _FINGER_LIMITS_DEG)[(_LAST, _FIRST, _MIDDLE)[joint % 3]]
        low[row], high[row] = np.radians(np.array(limits, dtype=np.float64)).T
    return PoseLimits(axes, model.hands_mean.astype(np.float64), low, high)


def _tip_of(joint: int) -> int:
    """Row of `tip_vertex_ids` (thumb, index, middle, ring, pinky) of a finger's last joint (index, middle, pinky, ring, thumb)."""
    return (1, 2, 4, 3, 0)[joint // 3 - 1]


def _unit(vector: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    return vector / np.linalg.norm(vector)


def _palm_normal(joints: Float[ndarray, "16 3"], side: str) -> Float[ndarray, "3"]:
    """Out of the palm, so that turning about bone × normal bends a finger towards it."""
    index, pinky = joints[1] - joints[0], joints[7] - joints[0]
    normal = _unit(np.cross(index, pinky))
    return normal if side == "right" else -normal


def _thumb_pad(
    joints: Float[ndarray, "16 3"], tips: Float[ndarray, "5 3"], palm: Float[ndarray, "3"]
) -> Float[ndarray, "3"]:
    """Out of the thumb's pad, which faces the fingers, and a little forwards out of the palm."""
    along = _unit(tips[0] - joints[_THUMB])
    across = joints[7] - joints[_THUMB]
    across, forward = (_unit(vector - along * (vector @ along)) for vector in (across, palm))
    return _unit(across + 0.2 * forward)
