"""The score of one capture: what it is made of, and how.

Each part becomes a number from 0 to 1 that is 1 where nothing is wrong and ½ exactly at its limit: 1 / (1 + (e / l)²),
where e is the error and l its limit; of a share, the error is what it lacks of 1. The score is the geometric mean of
the parts, so it never falls when a part gets better, and one part that is beyond all bounds pulls it to 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from palm_data.triangulation.stage import REFERENCE_DIAGONAL_PX
from schemas.camera import Camera
from schemas.settings import FrameLimits


@dataclass(frozen=True)
class Parts:
    """What is known of a capture's labels; None = not measured."""

    coverage: float
    reprojection_px: float | None
    fit_mm: float | None
    model_to_scan_mm: float | None
    scan_to_model_mm: float | None
    silhouette_iou: float | None
    capture_iou: float | None


PART_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Parts))
_MAY_BE_UNKNOWN = frozenset({"capture_iou"})
"""Without images there is nothing to compare the scan with; that says nothing of the labels."""


@dataclass(frozen=True)
class _Limit:
    value: float
    is_share: bool

    def score(self, found: float) -> float:
        error, limit = (1.0 - found, 1.0 - self.value) if self.is_share else (found, self.value)
        if limit <= 0.0:
            return 1.0 if error <= 0.0 else 0.0
        return 1.0 / (1.0 + (max(error, 0.0) / limit) ** 2)

    def holds(self, found: float) -> bool:
        return found >= self.value if self.is_share else found <= self.value

    def broken_by(self, found: float) -> str:
        return f"{found:.3g} {'<' if self.is_share else '>'} {self.value:.3g}"


def image_scale(cameras: Sequence[Camera]) -> float:
    """Diagonal of the cameras' images over that of 2448×2048."""
    return float(np.median([math.hypot(camera.width, camera.height) for camera in cameras])) / REFERENCE_DIAGONAL_PX


def part_scores(parts: Parts, limits: FrameLimits, *, scale: float) -> dict[str, float]:
    """The score of each part that counts, from 0 to 1; one that is missing and should not be has 0.

    Args:
        scale: of the images, see `image_scale`.
    """
    scores = {}
    for name, limit in _limits(limits, scale).items():
        found = getattr(parts, name)
        if found is not None:
            scores[name] = limit.score(found)
        elif name not in _MAY_BE_UNKNOWN:
            scores[name] = 0.0
    return scores


def score(parts: Parts, limits: FrameLimits, *, scale: float) -> float:
    """The capture's score: the geometric mean of its parts' scores."""
    scores = part_scores(parts, limits, scale=scale).values()
    return math.prod(scores) ** (1.0 / len(scores))


def reasons(parts: Parts, limits: FrameLimits, *, scale: float) -> tuple[str, ...]:
    """The parts beyond their limits, each with what was found and the limit; empty if all keep to them."""
    broken = []
    for name, limit in _limits(limits, scale).items():
        found = getattr(parts, name)
        if found is None and name not in _MAY_BE_UNKNOWN:
            broken.append(f"{name} not measured")
        elif found is not None and not limit.holds(found):
            broken.append(f"{name} {limit.broken_by(found)}")
    return tuple(broken)


def _limits(limits: FrameLimits, scale: float) -> dict[str, _Limit]:
    """The limit of each part, by its name."""
    return {
        "coverage": _Limit(limits.min_coverage, is_share=True),
        "reprojection_px": _Limit(limits.max_reprojection_px * scale, is_share=False),
        "fit_mm": _Limit(limits.max_fit_mm, is_share=False),
        "model_to_scan_mm": _Limit(limits.max_model_to_scan_mm, is_share=False),
        "scan_to_model_mm": _Limit(limits.max_scan_to_model_mm, is_share=False),
        "silhouette_iou": _Limit(limits.min_fit_silhouette_iou, is_share=True),
        "capture_iou": _Limit(limits.min_capture_iou, is_share=True),
    }
