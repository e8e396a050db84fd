"""The fused training mask: the scan's silhouette without the forearm, and without holes in the hand's core.

    m = median₇( (scan ∧ dilate²(hand, 11×11)) ∨ erode²(hand, 21×21) )

as the official release's training code fuses its masks, each square applied twice. The sides are given for images of
2448×2048 and scale with the image's longer side, rounded to odd ones; a side that shrinks to 1 does nothing.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from schemas.settings import TrainingMaskSettings

FULL_SIZE_PX = 2448
"""Longer side of the images that the settings' sides are given for."""
_TWICE = 2


@dataclass(frozen=True)
class MaskSides:
    """Sides of the squares at the size of one image, px; odd."""

    reach: int
    core: int
    smooth: int


def mask_sides(settings: TrainingMaskSettings, width: int, height: int) -> MaskSides:
    """The settings' squares at an image's size."""
    scale = max(width, height) / FULL_SIZE_PX
    return MaskSides(*(_scaled(side, scale) for side in (settings.reach_px, settings.core_px, settings.smooth_px)))


def near_hand(hand: Bool[ndarray, "height width"], sides: MaskSides) -> Bool[ndarray, "height width"]:
    """The hand's silhouette and what lies within its reach."""
    return cv2.dilate(hand.astype(np.uint8), _square(sides.reach), iterations=_TWICE) > 0


def fused_mask(
    scan: Bool[ndarray, "height width"], hand: Bool[ndarray, "height width"], sides: MaskSides
) -> Bool[ndarray, "height width"]:
    """The scan's silhouette near the hand, filled in the hand's core, its outline smoothed.

    Beyond the image's border there is no hand to grow from and nothing to shrink the core; the median repeats the
    outermost pixels.
    """
    core = cv2.erode(hand.astype(np.uint8), _square(sides.core), iterations=_TWICE) > 0
    fused = (scan & near_hand(hand, sides)) | core
    return cv2.medianBlur(fused.astype(np.uint8), sides.smooth) > 0


def _scaled(side: int, scale: float) -> int:
    """The odd side whose half is the scaled half, rounded, halves upwards."""
    return 2 * math.floor((side - 1) / 2 * scale + 0.5) + 1


def _square(side: int) -> ndarray:
    return np.ones((side, side), dtype=np.uint8)
