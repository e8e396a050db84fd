"""Robust triangulation: every camera pair proposes, all views vote, the winner's inliers are refined.

All pairs instead of random ones (21 pairs of 7 views): exact, repeatable, and cheap because a pair's proposal is a
closed-form 3×3 solve. The vote is MSAC (Torr & Zisserman, 2000); the refinement is Gauss–Newton on pixel residuals
under Cauchy's loss, and the covariance is the inverse Hessian at the solution.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from palm_data.triangulation.linear import normal_equations, solve_symmetric, triangulate_dlt
from palm_data.triangulation.reprojection import largest_ray_angle, project, projection_jacobian, to_camera
from schemas.errors import GeometryError

CAUCHY_SCALE = 2.385  # in standard deviations: 95 % efficient on Gaussian noise
_FAR_PX = 1e6  # stands for "behind the camera" and "not finite" in a vote


class TriangulationSettings(BaseModel):
    """Thresholds of the robust triangulation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inlier_px: Annotated[float, Field(gt=0, description="A view agrees if it reprojects within this, px.")] = 6.0
    noise_px: Annotated[float, Field(gt=0, description="Standard deviation of a fully confident detection, px.")] = 1.0
    min_ray_angle_deg: Annotated[float, Field(gt=0, description="Smaller largest ray angle: missing, degrees.")] = 5.0
    min_confidence: Annotated[float, Field(ge=0, le=1, description="Detections below this are not used.")] = 0.05
    iterations: Annotated[int, Field(ge=0, description="Gauss–Newton steps.")] = 8


@dataclass(frozen=True)
class Observations:
    """What the views saw of many items (frame × joint)."""

    points_px: Float[Tensor, "items views 2"]
    """Undistorted detections, pixel corners at integers; any value where the confidence is 0."""
    confidence: Float[Tensor, "items views"]
    """In [0, 1]; 0 = not detected."""
    intrinsics: Float[Tensor, "items views 3 3"]
    world_to_camera: Float[Tensor, "items views 4 4"]

    def trusted(self, min_confidence: float) -> "Observations":
        """The same, with detections below the limit switched off and their pixels made harmless.

        Raises:
            GeometryError: if a detection with confidence is not finite, or a confidence is outside [0, 1].
        """
        if not bool(((self.confidence >= 0) & (self.confidence <= 1)).all()):
            raise GeometryError(
                "triangulation: expected confidences in [0, 1], found others. Normalise the detector's scores."
            )
        if not bool(self.points_px[self.confidence > 0].isfinite().all()):
            raise GeometryError(
                "triangulation: expected finite pixels where confidence > 0, found NaN or infinity. Set their confidence to 0."
            )
        confidence = torch.where(self.confidence >= min_confidence, self.confidence, 0.0)
        return replace(
            self, confidence=confidence, points_px=torch.where(confidence[..., None] > 0, self.points_px, 0.0)
        )


@dataclass(frozen=True)
class Triangulation:
    """Points of many items (frame × joint), with what they rest on."""

    points: Float[Tensor, "items 3"]
    """Metres; NaN = missing."""
    covariance: Float[Tensor, "items 3 3"]
    """Square metres; NaN = missing."""
    inliers: Bool[Tensor, "items views"]
    reprojection_px: Float[Tensor, " items"]
    """Root mean square over the inlier views; NaN = missing."""
    ray_angle: Float[Tensor, " items"]
    """Largest angle between two inlier rays, radians."""


def triangulate(observations: Observations, settings: TriangulationSettings | None = None) -> Triangulation:
    """Triangulate each item from the views that agree on it.

    An item with fewer than two agreeing views, or whose rays are too nearly parallel, is missing: NaN, not a guess.

    Raises:
        GeometryError: if a detection with confidence is not finite, or a confidence is outside [0, 1].
    """
    settings = settings or TriangulationSettings()
    seen = observations.trusted(settings.min_confidence)
    points = _best_pair(seen, settings.inlier_px)
    inliers = _agreeing(points, seen, settings.inlier_px)
    points = triangulate_dlt(seen.points_px, seen.intrinsics, seen.world_to_camera, seen.confidence * inliers)
    for _ in range(settings.iterations):
        points, _ = _gauss_newton(points, seen, inliers, settings.noise_px)
    inliers = _agreeing(points, seen, settings.inlier_px)
    points, hessian = _gauss_newton(points, seen, inliers, settings.noise_px)
    return _judged(points, hessian, inliers, seen, settings)


def _errors_px(points: Float[Tensor, "items points 3"], seen: Observations) -> Float[Tensor, "items points views"]:
    """Reprojection distance; far where the point lies behind the camera or is not finite."""
    in_camera = to_camera(points, seen.world_to_camera)
    distance = (project(in_camera, seen.intrinsics) - seen.points_px[:, None]).norm(dim=-1)
    return torch.where((in_camera[..., 2] > 0) & distance.isfinite(), distance, _FAR_PX)


def _best_pair(seen: Observations, inlier_px: float) -> Float[Tensor, "items 3"]:
    """The proposal of the camera pair that the views agree with most (least MSAC cost)."""
    views = seen.points_px.shape[1]
    first, second = torch.triu_indices(views, views, offset=1, device=seen.points_px.device)
    matrices, rights = normal_equations(seen.points_px, seen.intrinsics, seen.world_to_camera)
    proposals = solve_symmetric(matrices[:, first] + matrices[:, second], rights[:, first] + rights[:, second])
    errors = _errors_px(proposals, seen).clamp(max=inlier_px)
    cost = (seen.confidence[:, None] * errors**2).sum(dim=-1)
    both = (seen.confidence[:, first] > 0) & (seen.confidence[:, second] > 0)
    best = torch.where(both & proposals.isfinite().all(dim=-1), cost, torch.inf).argmin(dim=1)
    return proposals[torch.arange(len(best), device=best.device), best]


def _agreeing(points: Float[Tensor, "items 3"], seen: Observations, inlier_px: float) -> Bool[Tensor, "items views"]:
    return (_errors_px(points[:, None], seen)[:, 0] <= inlier_px) & (seen.confidence > 0)


def _gauss_newton(
    points: Float[Tensor, "items 3"], seen: Observations, inliers: Bool[Tensor, "items views"], noise_px: float
) -> tuple[Float[Tensor, "items 3"], Float[Tensor, "items 3 3"]]:
    """One reweighted step under Cauchy's loss; returns the new points and the Hessian at the old ones, m⁻²."""
    in_camera = to_camera(points[:, None], seen.world_to_camera)
    residual = (seen.points_px - project(in_camera, seen.intrinsics)[:, 0]) / noise_px
    jacobian = projection_jacobian(in_camera[:, 0], seen.intrinsics, seen.world_to_camera) / noise_px
    used = inliers & residual.isfinite().all(dim=-1)
    residual, jacobian = torch.where(used[..., None], residual, 0.0), torch.where(used[..., None, None], jacobian, 0.0)
    weight = seen.confidence * used / (1.0 + (residual**2).sum(dim=-1) / CAUCHY_SCALE**2)
    hessian = torch.einsum("nv,nvri,nvrj->nij", weight, jacobian, jacobian)
    step = solve_symmetric(hessian, torch.einsum("nv,nvri,nvr->ni", weight, jacobian, residual))
    return torch.where(step.isfinite().all(dim=-1, keepdim=True), points + step, points), hessian


def _judged(
    points: Float[Tensor, "items 3"],
    hessian: Float[Tensor, "items 3 3"],
    inliers: Bool[Tensor, "items views"],
    seen: Observations,
    settings: TriangulationSettings,
) -> Triangulation:
    """Call missing what too few or too nearly parallel rays support."""
    angle = largest_ray_angle(points, seen.world_to_camera, inliers.to(points.dtype))
    found = (inliers.sum(dim=1) >= 2) & (angle.rad2deg() >= settings.min_ray_angle_deg) & points.isfinite().all(dim=1)
    mean_square = (_errors_px(points[:, None], seen)[:, 0] ** 2 * inliers).sum(dim=1) / inliers.sum(dim=1).clamp(min=1)
    identity = torch.eye(3, dtype=points.dtype, device=points.device).expand_as(hessian)
    columns = [solve_symmetric(hessian, identity[..., column]) for column in range(3)]
    return Triangulation(
        points=torch.where(found[:, None], points, torch.nan),
        covariance=torch.where(found[:, None, None], torch.stack(columns, dim=-1), torch.nan),
        inliers=inliers & found[:, None],
        reprojection_px=torch.where(found, mean_square.sqrt(), torch.nan),
        ray_angle=torch.where(found, angle, 0.0),
    )
