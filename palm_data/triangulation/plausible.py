"""Joints that cannot be where they were found: a bone would be longer than any hand's.

Views can agree on the wrong thing: a fingertip that is hidden in the fist is "seen" by all of them at another finger's
tip. Nothing in the reprojection tells; the hand does.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from schemas.hand import JOINT_NAMES

_FINGERS = ("index", "middle", "ring", "pinky")
_LIMITS_MM = {
    **{("wrist", f"{finger}1"): 130.0 for finger in _FINGERS},
    **{(f"{finger}1", f"{finger}2"): 70.0 for finger in _FINGERS},
    **{(f"{finger}2", f"{finger}3"): 50.0 for finger in _FINGERS},
    **{(f"{finger}3", f"{finger}_tip"): 45.0 for finger in _FINGERS},
    ("wrist", "thumb1"): 75.0,
    ("thumb1", "thumb2"): 70.0,
    ("thumb2", "thumb3"): 55.0,
    ("thumb3", "thumb_tip"): 45.0,
}
"""Well beyond the largest hands (segment lengths: Buryanov and Kotiuk, Int. J. Morphol. 28, 2010)."""

BONES = np.array([[JOINT_NAMES.index(joint) for joint in bone] for bone in _LIMITS_MM])
"""(20, 2) rows of joints, the one nearer to the wrist first."""
_LIMITS = np.array(list(_LIMITS_MM.values())) / 1000.0


def implausible(points: Float[ndarray, "21 3"]) -> Bool[ndarray, "21"]:
    """Which joints have to go so that no bone is too long; as few as a greedy choice finds.

    A joint of two bones that are too long goes before one of a single one; of the two ends of a bone that are otherwise
    equal, the one farther from the wrist goes, since fewer joints hang on it.

    Args:
        points: metres; NaN = missing, which no bone can be too long to.
    """
    out = np.zeros(len(points), dtype=bool)
    while True:
        left = np.where(out[:, None], np.nan, points)
        long = np.linalg.norm(left[BONES[:, 0]] - left[BONES[:, 1]], axis=1) > _LIMITS
        if not long.any():
            return out
        count = np.bincount(BONES[long].ravel(), minlength=len(points))
        candidates = BONES[long][:, ::-1].ravel()
        out[candidates[np.argmax(count[candidates])]] = True
