"""The gestures of the protocol, as joint angles within what a hand can do."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.simulate.anatomy import FINGERS, Anatomy
from schemas.capture import Gesture

_FINGER_LIMITS_DEG = np.array([[-30, 95], [-25, 25], [-6, 110], [-6, 80], [-6, 6]], np.float64)
_THUMB_LIMITS_DEG = np.array([[-25, 55], [-20, 65], [-20, 65], [-25, 85], [-35, 65]], np.float64)
# Ranges of motion about the model's rest pose, in the order of ANGLE_NAMES (its fingers are bent by some ten degrees
# there).


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
    touch: tuple[str, str] | None = None
    """What the thumb's pad and another finger do: the finger's name, and its `pad` or `back`."""

    @property
    def name(self) -> str:
        """The gesture's slug."""
        return self.gesture.gesture

    def angles(self, rng: np.random.Generator | None = None) -> Float[ndarray, "5 5"]:
        """Degrees from rest; rows in the order of `FINGERS`, columns as `ANGLE_NAMES`.

        Args:
            rng: if given, every angle varies as it does when a person holds a pose, within its limits.
        """
        thumb = self.thumb
        rows = [[thumb.across, thumb.out, thumb.base, thumb.end, thumb.turn]]
        for finger in (self.index, self.middle, self.ring, self.pinky):
            rows.append([finger.base, finger.spread, finger.middle, finger.end, 0.0])
        angles = np.array(rows)
        if rng is not None:
            angles += _VARIATION_DEG * np.clip(rng.standard_normal((5, 5)), -2.0, 2.0)
        return within_limits(angles)


ANGLE_NAMES: tuple[str, ...] = ("base", "sideways", "middle", "end", "turn")
_VARIATION_DEG = np.array([[2.5, 2.5, 2.5, 2.5, 1.5], *[[3.5, 1.5, 3.5, 2.5, 1.0]] * 4])


def within_limits(angles: Float[ndarray, "5 5"]) -> Float[ndarray, "5 5"]:
    """The nearest angles that a hand can take."""
    low, high = np.moveaxis(np.stack([_THUMB_LIMITS_DEG, *[_FINGER_LIMITS_DEG] * 4]), -1, 0)
    return np.clip(angles, low, high)


def joint_rotations(anatomy: Anatomy, angles: Float[ndarray, "5 5"]) -> Float[ndarray, "15 3"]:
    """Axis-angle turns of the model's joints 1 to 15 from its rest pose, radians."""
    rotations = np.zeros((16, 3))
    for row, name in enumerate(FINGERS):
        bones = anatomy.fingers[name]
        base, sideways, middle, end, turn = np.radians(angles[row])
        along = bones.points[1] - bones.points[0]
        whole = Rotation.from_rotvec(sideways * bones.abduction) * Rotation.from_rotvec(base * bones.flexion)
        whole = whole * Rotation.from_rotvec(turn * along / np.linalg.norm(along))
        rotations[bones.joint_ids[0]] = whole.as_rotvec()
        rotations[bones.joint_ids[1]] = middle * bones.flexion
        rotations[bones.joint_ids[2]] = end * bones.flexion
    return rotations[1:]


def _spec(
    name: str, description: str, thumb: tuple[int, int, int, int, int],
    *fingers: tuple[int, int, int, int], simple: bool = False, touch: tuple[str, str] | None = None,
) -> GestureSpec:  # fmt: skip
    """Thumb (across, out, turn, base, end); fingers index → pinky (base, middle, end, spread)."""
    index, middle, ring, pinky = (FingerAngles(*map(float, angles)) for angles in fingers)
    info = Gesture(gesture=name, description=description, simple=simple)
    return GestureSpec(info, ThumbAngles(*map(float, thumb)), index, middle, ring, pinky, touch)


GESTURES: tuple[GestureSpec, ...] = (
    _spec("flat", "Open hand, fingers straight and side by side.", (0, 0, 0, 0, 0),
          (-8, 0, 0, -3), (-8, 0, 0, 0), (-8, 0, 0, 3), (-8, 0, 0, 6), simple=True),
    _spec("fist", "Closed fist, thumb over the fingers.", (18, 30, 20, 25, 35),
          (72, 92, 50, 0), (76, 96, 52, 0), (76, 94, 52, 0), (74, 90, 50, 0), touch=("index", "back")),
    _spec("spread", "Open hand, fingers as far apart as they go.", (-14, 0, 0, -8, -12),
          (-8, -2, -2, 12), (-8, -2, -2, 2), (-8, -2, -2, -9), (-8, -2, -2, -16), simple=True),
    _spec("pinch", "Tip of the thumb on the tip of the index finger.", (8, 35, 25, 12, 22),
          (42, 46, 26, 0), (25, 26, 14, 0), (18, 22, 12, 0), (12, 18, 10, -4), touch=("index", "pad")),
    _spec("point", "Index finger straight, the others bent, thumb on the middle finger.", (14, 30, 20, 22, 34),
          (-2, 2, 2, 0), (74, 92, 48, 0), (76, 92, 50, 0), (74, 88, 48, 0), touch=("middle", "back")),
    _spec("relaxed", "Hand at rest.", (4, 8, 5, 8, 10),
          (14, 20, 10, 2), (17, 22, 12, 0), (20, 24, 12, -1), (22, 24, 12, -4), simple=True),
    _spec("thumbs_up", "Thumb straight up from a fist.", (-18, -8, 0, -10, -14),
          (74, 92, 50, 0), (76, 96, 52, 0), (76, 94, 52, 0), (74, 90, 50, 0)),
    _spec("victory", "Index and middle finger straight and apart.", (24, 34, 25, 28, 38),
          (-4, 0, 0, 12), (-4, 0, 0, -6), (74, 90, 46, 0), (72, 86, 46, 0), touch=("ring", "back")),
    _spec("ok", "Ring of thumb and index finger, the others straight.", (8, 35, 25, 14, 24),
          (46, 48, 26, 0), (6, 6, 4, -2), (-2, 4, 2, -6), (-8, 2, 2, -12), touch=("index", "pad")),
    _spec("claw", "Fingers spread and bent at their middle and end joints.", (-8, 20, 10, 5, 34),
          (-4, 62, 40, 9), (-4, 64, 42, 2), (-4, 62, 42, -6), (-4, 58, 40, -12)),
    _spec("grip", "As if round a bottle.", (0, 48, 30, 12, 18),
          (40, 40, 22, 2), (44, 42, 24, 0), (46, 42, 24, -2), (48, 40, 22, -4)),
    _spec("half_fist", "Finger pads on the palm's upper edge, knuckles straight.", (6, 15, 10, 10, 10),
          (8, 92, 60, 0), (8, 96, 62, 0), (8, 94, 62, 0), (8, 90, 58, 0)),
    _spec("pinky_up", "Little finger straight, the others bent.", (22, 34, 24, 26, 38),
          (72, 90, 48, 0), (74, 92, 50, 0), (66, 80, 44, 0), (-4, 0, 0, -10), touch=("index", "back")),
    _spec("three", "Thumb, index and middle finger straight and apart.", (-14, 0, 0, -8, -10),
          (-4, 0, 0, 10), (-4, 0, 0, -2), (74, 88, 46, 0), (72, 86, 46, 0)),
    _spec("horns", "Index and little finger straight, thumb on the bent ones.", (20, 32, 24, 26, 38),
          (-4, 0, 0, 4), (74, 92, 48, 0), (74, 90, 48, 0), (-4, 0, 0, -8), touch=("middle", "back")),
    _spec("bend", "Fingers straight, bent at the knuckles only.", (4, 30, 20, 8, 8),
          (62, 4, 2, 0), (66, 4, 2, 0), (66, 4, 2, 0), (62, 4, 2, 0)),
)  # fmt: skip
"""In the order a session takes them: the first five already hold open, closed and touching hands."""
