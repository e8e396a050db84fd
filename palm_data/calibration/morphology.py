"""Masks grown and shrunk by true distance."""

import cv2
import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def grown(mask: Bool[ndarray, "height width"], radius_px: float) -> Bool[ndarray, "height width"]:
    """The mask and every pixel whose centre is within a distance of one of its own."""
    if not mask.any():
        return mask.copy()
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius_px


def shrunk(mask: Bool[ndarray, "height width"], radius_px: float) -> Bool[ndarray, "height width"]:
    """The pixels of the mask that are farther than a distance from everything else."""
    if mask.all():
        return mask.copy()
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius_px
