"""Hands as stick figures over images, one colour a finger, so that a swapped finger shows."""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.report.pictures import Colour, as_rgb
from schemas.hand import JOINT_NAMES

FINGER_COLOURS: dict[str, Colour] = {
    "thumb": (250, 90, 80),
    "index": (250, 200, 60),
    "middle": (90, 210, 110),
    "ring": (80, 170, 250),
    "pinky": (200, 120, 250),
}
_WRIST: Colour = (240, 240, 240)
_FINE = 4  # bits of sub-pixel drawing


def bones() -> tuple[tuple[int, int, str], ...]:
    """Each bone as the rows of its two joints and its finger, from the wrist outwards."""
    found = []
    for finger in FINGER_COLOURS:
        chain = ["wrist", *(f"{finger}{number}" for number in (1, 2, 3)), f"{finger}_tip"]
        rows = [JOINT_NAMES.index(name) for name in chain]
        found += [(one, other, finger) for one, other in pairwise(rows)]
    return tuple(found)


def draw_skeleton(
    image: UInt8[ndarray, "height width *channels"],
    points_px: Float[ndarray, "21 2"],
    confidence: Float[ndarray, "21"] | None = None,
    *,
    thin: bool = False,
) -> UInt8[ndarray, "height width 3"]:
    """The image with the hand's bones and joints drawn; joints that are NaN are left out, doubtful ones are pale.

    Args:
        points_px: integers at pixel corners.
        confidence: in [0, 1]; all are sure by default.
        thin: one-pixel lines without dots, to compare with another figure below.
    """
    picture = as_rgb(image)
    sure = np.ones(len(points_px)) if confidence is None else confidence
    places = np.where(np.isfinite(points_px), points_px - 0.5, 0.0) * 2**_FINE
    fixed = np.rint(np.clip(places, -(2**20), 2**20)).astype(int)
    shown = np.isfinite(points_px).all(axis=1)
    scale = max(picture.shape[:2]) / 320.0
    for one, other, finger in bones():
        if shown[one] and shown[other]:
            colour = _paled(FINGER_COLOURS[finger], min(sure[one], sure[other]))
            width = 1 if thin else max(1, round(1.4 * scale))
            cv2.line(picture, fixed[one].tolist(), fixed[other].tolist(), colour, width, cv2.LINE_AA, _FINE)
    if not thin:
        radius = max(1, round(2.2 * scale * 2**_FINE))
        for row in np.flatnonzero(shown):
            colour = _paled(_colour(int(row)), sure[row])
            cv2.circle(picture, fixed[row].tolist(), radius, colour, -1, cv2.LINE_AA, _FINE)
    return picture


def _colour(row: int) -> Colour:
    return next((colour for name, colour in FINGER_COLOURS.items() if JOINT_NAMES[row].startswith(name)), _WRIST)


def _paled(colour: Colour, sure: float) -> Colour:
    share = 0.25 + 0.75 * float(np.clip(sure, 0.0, 1.0))
    red, green, blue = (round(value * share) for value in colour)
    return red, green, blue
