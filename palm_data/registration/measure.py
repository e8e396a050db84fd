"""How well a fit meets its capture: both surface directions, joints, silhouettes. Independent of the fit's own terms."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.maps.zbuffer import rasterize
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.outline import outline_views
from palm_data.registration.posed import Posed
from palm_data.registration.surface import closest_on_scan, sample_surface
from palm_data.registration.targets import FrameTarget

_MM = 1000.0
_SAMPLES = 5000
_OUTLINE_PX = 384


@dataclass(frozen=True)
class Spread:
    """Mean, median and 95th percentile of distances, mm; None where there were none."""

    mean: float | None
    median: float | None
    p95: float | None


@dataclass(frozen=True)
class FitMeasures:
    """What a fit is judged by."""

    model_to_scan: Spread
    border_share: float
    scan_to_model: Spread
    joint_error_mm: float | None
    silhouette_iou: tuple[float, ...]
    """One for each view that sees the hand."""
    vertex_error_mm: Float[ndarray, " vertices"]
    """Distance of each vertex to the scan; NaN near the wrist and at borders."""


def measure(context: HandShapeContext, target: FrameTarget, posed: Posed) -> FitMeasures:
    """Measure a posed hand against its capture."""
    margin = context.settings.rim_margin_mm / _MM
    on_scan = closest_on_scan(target.scan)(posed.vertices)
    counts = ~context.rim.near(posed.vertices, margin)
    error = np.linalg.norm(posed.vertices - on_scan.points, axis=1) * _MM
    compared = counts & ~on_scan.on_border
    wrist = context.rim.plane(posed.vertices)
    samples, _ = sample_surface(target.scan, _SAMPLES, target.seed)
    on_model = context.surface.at(posed.vertices)(samples)
    up_to_wrist = ~wrist.beyond(samples, margin)
    back = np.linalg.norm(on_model.points - samples, axis=1)[up_to_wrist] * _MM
    joints = np.linalg.norm(posed.joints - target.keypoints, axis=1) * _MM
    return FitMeasures(
        model_to_scan=_spread(error[compared]),
        border_share=float((counts & on_scan.on_border).sum() / max(counts.sum(), 1)),
        scan_to_model=_spread(back),
        joint_error_mm=None if np.isnan(joints).all() else float(np.nanmean(joints)),
        silhouette_iou=_silhouettes(context, target, posed),
        vertex_error_mm=np.where(compared, error, np.nan),
    )


def _spread(distances: Float[ndarray, " points"]) -> Spread:
    if not len(distances):
        return Spread(None, None, None)
    return Spread(float(distances.mean()), float(np.median(distances)), float(np.percentile(distances, 95)))


def _silhouettes(context: HandShapeContext, target: FrameTarget, posed: Posed) -> tuple[float, ...]:
    """Intersection over union with the scan's silhouette up to the wrist, per view."""
    settings = context.settings.model_copy(update={"silhouette_px": _OUTLINE_PX})
    overlaps = []
    for view in outline_views(target, posed.vertices, context.rim.plane(posed.vertices), settings):
        height, width = view.mask.shape
        in_camera = posed.vertices @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
        hand = rasterize(in_camera, context.surface.faces, view.intrinsics, width, height).face_id >= 0
        scan, compared = view.mask > 0, view.compared > 0
        overlaps.append(float((hand & scan & compared).sum() / max(((hand | scan) & compared).sum(), 1)))
    return tuple(overlaps)
