"""The gestures of the protocol, as joint angles within what a hand can do."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.hand.model import HandModel
from palm_data.simulate.anatomy import FINGERS, Anatomy
from schemas.capture import Gesture

LIMITS_DEG = MappingProxyType(
    {
        "base_flexion": (-30.0, 92.0), "spread": (-25.0, 25.0), "middle_flexion": (-6.0, 108.0), "end_flexion": (-6.0, 78.0),
        "thumb_across": (-25.0, 50.0), "thumb_out": (-20.0, 60.0), "thumb_turn": (-30.0, 60.0),
        "thumb_base_flexion": (-15.0, 60.0), "thumb_end_flexion": (-25.0, 80.0),
    }
)  # fmt: skip
"""Ranges of motion about the model's rest pose, degrees (its fingers are bent by some ten degrees there)."""


@dataclass(frozen=True)
class FingerAngles:
    """A finger's angles from rest, degrees."""

    base: float = 0.0
    """Flexion of the knuckle."""
    middle: float = 0.0
    end: float = 0.0
    spread: float = 0.0
    """Sideways, positive to the thumb's side."""


@dataclass(frozen=True)
class ThumbAngles:
    """The thumb's angles from rest, degrees."""

    across: float = 0.0
    """Flexion at its root, across the palm."""
    out: float = 0.0
    """Away from the palm's plane, at its root."""
    turn: float = 0.0
    """About its own axis at its root, pad towards the fingers."""
    base: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class GestureSpec:
    """One pose that people are asked to hold."""

    gesture: Gesture
    thumb: ThumbAngles
    index: FingerAngles
    middle: FingerAngles
    ring: FingerAngles
    pinky: FingerAngles
    roll_deg: float = 0.0
    """Turn of the whole hand about the arm's axis in the rig."""
    touching: bool = False
    """Fingers meet: varied less, so that they keep meeting."""

    @property
    def name(self) -> str:
        """The gesture's slug."""
        return self.gesture.gesture

    def hand_pose(
        self, model: HandModel, anatomy: Anatomy, rng: np.random.Generator | None = None
    ) -> Float[ndarray, "45"]:
        """Axis-angle offsets from the model's mean pose (flat_hand_mean=False), radians.

        Args:
            rng: if given, every angle varies as it does when a person holds a pose, within its limits.
        """
        rotations = np.zeros((16, 3))
        for name in FINGERS:
            bones = anatomy.fingers[name]
            angles = _angles(self, name, rng)
            base = Rotation.from_rotvec(np.radians(angles[1]) * bones.abduction)
            base = base * Rotation.from_rotvec(np.radians(angles[0]) * bones.flexion)
            if name == "thumb":
                along = bones.points[1] - bones.points[0]
                base = base * Rotation.from_rotvec(np.radians(angles[4]) * along / np.linalg.norm(along))
            rotations[bones.joint_ids[0]] = base.as_rotvec()
            rotations[bones.joint_ids[1]] = np.radians(angles[2]) * bones.flexion
            rotations[bones.joint_ids[2]] = np.radians(angles[3]) * bones.flexion
        return rotations[1:].ravel() - model.hands_mean


_VARIATION_DEG = 4.0
_TOUCHING_VARIATION_DEG = 1.2


def _angles(spec: GestureSpec, name: str, rng: np.random.Generator | None) -> ndarray:
    """Base flexion, sideways, middle, end, turn: in degrees, varied and held within limits."""
    if name == "thumb":
        thumb = spec.thumb
        angles = np.array([thumb.across, thumb.out, thumb.base, thumb.end, thumb.turn])
        names = ("thumb_across", "thumb_out", "thumb_base_flexion", "thumb_end_flexion", "thumb_turn")
    else:
        finger: FingerAngles = getattr(spec, name)
        angles = np.array([finger.base, finger.spread, finger.middle, finger.end, 0.0])
        names = ("base_flexion", "spread", "middle_flexion", "end_flexion", "spread")
    if rng is not None:
        size = _TOUCHING_VARIATION_DEG if spec.touching else _VARIATION_DEG
        angles = angles + size * np.array([1.0, 0.5, 1.0, 0.7, 0.5]) * np.clip(rng.standard_normal(5), -2.0, 2.0)
    low, high = np.array([LIMITS_DEG[limit] for limit in names]).T
    return np.clip(angles, low, high)


def _spec(
    name: str, description: str, thumb: tuple[float, float, float, float, float],
    *fingers: tuple[float, float, float, float], simple: bool = False, roll_deg: float = 0.0, touching: bool = False,
) -> GestureSpec:  # fmt: skip
    """Thumb (across, out, turn, base, end); fingers index → pinky (base, middle, end, spread)."""
    index, middle, ring, pinky = (FingerAngles(*angles) for angles in fingers)
    info = Gesture(gesture=name, description=description, simple=simple)
    return GestureSpec(info, ThumbAngles(*thumb), index, middle, ring, pinky, roll_deg, touching)


GESTURES: tuple[GestureSpec, ...] = (
    _spec("flat", "Open hand, fingers straight and side by side.", (0, 0, 0, 0, 0),
          (-8, 0, 0, -3), (-8, 0, 0, 0), (-8, 0, 0, 3), (-8, 0, 0, 6), simple=True),
    _spec("fist", "Closed fist, thumb over the fingers.", (18, 30, 20, 25, 35),
          (72, 92, 50, 0), (76, 96, 52, 0), (76, 94, 52, 0), (74, 90, 50, 0), touching=True),
    _spec("spread", "Open hand, fingers as far apart as they go.", (-14, 0, 0, -8, -12),
          (-8, -2, -2, 12), (-8, -2, -2, 2), (-8, -2, -2, -9), (-8, -2, -2, -16), simple=True),
    _spec("pinch", "Tip of the thumb on the tip of the index finger.", (8, 35, 25, 12, 22),
          (42, 46, 26, 0), (25, 26, 14, 0), (18, 22, 12, 0), (12, 18, 10, -4), touching=True),
    _spec("point", "Index finger straight, the others bent, thumb on the middle finger.", (14, 30, 20, 22, 34),
          (-2, 2, 2, 0), (74, 92, 48, 0), (76, 92, 50, 0), (74, 88, 48, 0), touching=True),
    _spec("relaxed", "Hand at rest.", (4, 8, 5, 8, 10),
          (14, 20, 10, 2), (17, 22, 12, 0), (20, 24, 12, -1), (22, 24, 12, -4), simple=True),
    _spec("thumbs_up", "Thumb straight up from a fist.", (-18, -8, 0, -10, -14),
          (74, 92, 50, 0), (76, 96, 52, 0), (76, 94, 52, 0), (74, 90, 50, 0)),
    _spec("victory", "Index and middle finger straight and apart.", (24, 34, 25, 28, 38),
          (-4, 0, 0, 12), (-4, 0, 0, -6), (74, 90, 46, 0), (72, 86, 46, 0)),
    _spec("ok", "Ring of thumb and index finger, the others straight.", (8, 35, 25, 14, 24),
          (46, 48, 26, 0), (6, 6, 4, -2), (-2, 4, 2, -6), (-8, 2, 2, -12), touching=True),
    _spec("claw", "Fingers spread and bent at their middle and end joints.", (-8, 20, 10, 5, 34),
          (-4, 62, 40, 9), (-4, 64, 42, 2), (-4, 62, 42, -6), (-4, 58, 40, -12)),
    _spec("grip", "As if round a bottle.", (0, 48, 30, 12, 18),
          (40, 40, 22, 2), (44, 42, 24, 0), (46, 42, 24, -2), (48, 40, 22, -4)),
    _spec("half_fist", "Finger pads on the palm's upper edge, knuckles straight.", (6, 15, 10, 10, 10),
          (8, 92, 60, 0), (8, 96, 62, 0), (8, 94, 62, 0), (8, 90, 58, 0)),
    _spec("pinky_up", "Little finger straight, the others bent.", (22, 34, 24, 26, 38),
          (72, 90, 48, 0), (74, 92, 50, 0), (66, 80, 44, 0), (-4, 0, 0, -10)),
    _spec("three", "Thumb, index and middle finger straight and apart.", (-14, 0, 0, -8, -10),
          (-4, 0, 0, 10), (-4, 0, 0, -2), (74, 88, 46, 0), (72, 86, 46, 0)),
    _spec("horns", "Index and little finger straight, thumb on the bent ones.", (20, 32, 24, 26, 38),
          (-4, 0, 0, 4), (74, 92, 48, 0), (74, 90, 48, 0), (-4, 0, 0, -8)),
    _spec("bend", "Fingers straight, bent at the knuckles only.", (4, 30, 20, 8, 8),
          (62, 4, 2, 0), (66, 4, 2, 0), (66, 4, 2, 0), (62, 4, 2, 0)),
)  # fmt: skip
"""In the order a session takes them: the first five already hold open, closed and touching hands."""
