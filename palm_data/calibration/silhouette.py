"""The hand's outline as the image shows it, and how well a projected scan agrees with it.

Nothing here knows the truth: the projected mask only says where to look and seeds two colour models, one of the hand
and one of its surroundings. The models are then learnt again from their own answer, so that a projection that is off
by a finger's width still ends at the outline the image has, and the disagreement shows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray
from scipy.ndimage import gaussian_filter

from palm_data.calibration.contour import ContourFit, fit_contour
from palm_data.calibration.morphology import grown, shrunk

REACH_SHARE = 0.10
"""How far around the projected mask to look, as a share of its larger side."""
_WORKING_PX = 512
_MIN_MASK_PX = 64
_MIN_JUDGED_SHARE = 0.3
_LEARNING_ROUNDS = 3
_BINS = 24


@dataclass(frozen=True)
class Agreement:
    """How well a projected mask agrees with an image; None where it could not be measured."""

    iou: float | None
    """Intersection over union with the segmented silhouette, over the region looked at."""
    contour: ContourFit | None
    """The projected contour against the image's edges."""
    segmented: Bool[ndarray, "height width"]
    """The silhouette found in the image; empty outside the region looked at."""


class Segmentation(NamedTuple):
    """What the colour models say of an image."""

    silhouette: Bool[ndarray, "height width"]
    """Pixels of the region that are hand, without specks."""
    hand_probability: Float32[ndarray, "height width"]
    """Of each pixel on its own, region or not."""


def measure_agreement(
    image: UInt8[ndarray, "height width *channels"],
    projected: Bool[ndarray, "height width"],
    excluded: Bool[ndarray, "height width"],
    *,
    edge_reach_px: float,
) -> Agreement:
    """Compare the projected mask with what the image shows. Deterministic.

    Args:
        projected: where the scan projects to.
        excluded: where the scan says nothing about the image (beyond its cut, holes).
        edge_reach_px: how far from the contour to look for the image's edge.
    """
    segmented = np.zeros(projected.shape, dtype=bool)
    crop = _crop(projected)
    judged_px = np.count_nonzero(projected & ~excluded)
    if crop is None or judged_px < max(_MIN_MASK_PX, _MIN_JUDGED_SHARE * np.count_nonzero(projected)):
        return Agreement(None, None, segmented)
    region = look_region(projected[crop]) & ~excluded[crop]
    found_in = segment_silhouette(image[crop], projected[crop], region)
    segmented[crop] = found_in.silhouette
    found, expected = segmented[crop] & region, projected[crop] & region
    union = np.count_nonzero(found | expected)
    iou = np.count_nonzero(found & expected) / union if union else None
    contour = fit_contour(image[crop], found_in.hand_probability, projected[crop], excluded[crop], edge_reach_px)
    return Agreement(iou, contour, segmented)


def look_region(projected: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"]:
    """The projected mask and its surroundings."""
    return grown(projected, _reach_px(projected))


def segment_silhouette(
    image: UInt8[ndarray, "height width *channels"],
    projected: Bool[ndarray, "height width"],
    region: Bool[ndarray, "height width"],
) -> Segmentation:
    """The pixels of the region that look like the hand rather than like its surroundings.

    Bayes' rule on colour histograms with equal priors. The first histograms are of the projected mask without its
    edge and of the surroundings without theirs; the next ones of what the last ones found.
    """
    height, width = projected.shape
    scale = min(1.0, _WORKING_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    expected, judged = _resized(projected, size), _resized(region, size)
    bins = _colour_bins(cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else image)
    edge = max(1.0, 0.15 * _reach_px(expected))
    hand, surroundings = shrunk(expected, edge) & judged, judged & ~grown(expected, edge)
    silhouette, evidence = expected & judged, np.zeros(bins.shape, dtype=np.float32)
    for _ in range(_LEARNING_ROUNDS):
        if not hand.any() or not surroundings.any():
            break
        log_ratio = _log_density(bins, hand)[bins] - _log_density(bins, surroundings)[bins]
        evidence = cv2.GaussianBlur(log_ratio.astype(np.float32), (0, 0), 0.8)
        silhouette = _tidied(evidence > 0, judged, expected)
        hand, surroundings = shrunk(silhouette, 1.0) & judged, judged & ~grown(silhouette, 1.0)
    probability = (1.0 / (1.0 + np.exp(-np.clip(evidence, -20.0, 20.0)))).astype(np.float32)
    return Segmentation(
        silhouette=_resized(silhouette, (width, height)) & region,
        hand_probability=cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR),
    )


def _reach_px(projected: ndarray) -> float:
    rows, columns = np.flatnonzero(projected.any(axis=1)), np.flatnonzero(projected.any(axis=0))
    if len(rows) == 0:
        return 0.0
    return max(3.0, REACH_SHARE * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))


def _crop(projected: ndarray) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(projected.any(axis=1)), np.flatnonzero(projected.any(axis=0))
    if len(rows) == 0:
        return None
    margin = int(np.ceil(_reach_px(projected))) + 4
    return (
        slice(max(rows[0] - margin, 0), min(rows[-1] + margin + 1, projected.shape[0])),
        slice(max(columns[0] - margin, 0), min(columns[-1] + margin + 1, projected.shape[1])),
    )


def _resized(mask: ndarray, size: tuple[int, int]) -> ndarray:
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5


def _colour_bins(image: ndarray) -> ndarray:
    """The histogram cell of each pixel: of CIELAB for colour, of the grey level otherwise."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.7)
    if image.ndim == 2 or image.shape[2] == 1:
        return smooth.reshape(image.shape[:2]).astype(np.int64) * _BINS // 256
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.int64)
    # Colours of hands and rooms crowd around grey: chroma is spread over the cells of ±48 units.
    lightness = lab[..., 0] * _BINS // 256
    chroma = np.clip((lab[..., 1:] - 80) * _BINS // 96, 0, _BINS - 1)
    return (lightness * _BINS + chroma[..., 0]) * _BINS + chroma[..., 1]


def _log_density(bins: ndarray, where: ndarray) -> ndarray:
    """Log of the smoothed histogram of the cells at the pixels given."""
    axes = 1 if bins.max(initial=0) < _BINS else 3
    counts = np.bincount(bins[where], minlength=_BINS**axes).reshape((_BINS,) * axes).astype(np.float64)
    smooth = gaussian_filter(counts, 1.0, mode="nearest").ravel() + 1e-3
    return np.log(smooth / smooth.sum())


def _tidied(silhouette: ndarray, judged: ndarray, expected: ndarray) -> ndarray:
    """Without specks: pieces and holes smaller than a hundredth of the expected mask are noise."""
    smallest = max(4, int(np.count_nonzero(expected)) // 100)
    filled = ~_without_specks(~(silhouette & judged), smallest)
    return _without_specks(filled & judged, smallest)


def _without_specks(mask: ndarray, smallest_px: int) -> ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] >= smallest_px
    keep[0] = False
    return keep[labels]
