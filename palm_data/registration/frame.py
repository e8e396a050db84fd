"""One frame's objective: linearised at a pose, and evaluated at another with the same correspondences."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palm_data.hand.model import HandModel
from palm_data.registration import terms
from palm_data.registration.anatomy import pose_limits
from palm_data.registration.outline import OutlineView, outline_loss, outline_views
from palm_data.registration.parameters import POSE
from palm_data.registration.posed import Posed, PosedHandFunction
from palm_data.registration.quadratic import Quadratic
from palm_data.registration.surface import MovingSurface, closest_on_scan, sample_surface
from palm_data.registration.targets import FrameTarget
from palm_data.registration.wrist import WristRim
from schemas.registration import Phase, RegistrationSettings


class HandShapeContext:
    """What all frames share: the model, its surface, limits and rim."""

    def __init__(self, model: HandModel, settings: RegistrationSettings) -> None:
        self.model, self.settings = model, settings
        self.pose = PosedHandFunction(model)
        self.surface = MovingSurface(model.faces)
        self.limits = pose_limits(model)
        self.rim = WristRim(model)


@dataclass(frozen=True)
class _Pairs:
    """Closest-point pairs, fixed during one step. Metres."""

    scan_points: Float[ndarray, "vertices 3"]
    scan_normals: Float[ndarray, "vertices 3"]
    vertex_weights: Float[ndarray, " vertices"]
    sample_corners: Int[ndarray, "samples 3"]
    sample_barycentric: Float[ndarray, "samples 3"]
    sample_normals: Float[ndarray, "samples 3"]
    sample_weights: Float[ndarray, " samples"]


class FrameProblem:
    """The objective of one frame as a function of its pose and the subject's shape."""

    def __init__(self, target: FrameTarget, context: HandShapeContext) -> None:
        self.target, self._context = target, context
        self._scan = closest_on_scan(target.scan)
        self._samples, self._sample_normals = sample_surface(target.scan, context.settings.scan_samples, target.seed)
        self._outlines: list[OutlineView] = []

    def begin(self, frame: Float[ndarray, "51"], betas: Float[ndarray, "10"], phase: Phase) -> None:
        """Prepare a phase: the outlines are those of the hand as it is posed now."""
        if phase.silhouette > 0:
            vertices = self._context.pose(frame, betas).vertices
            wrist = self._context.rim.plane(vertices)
            self._outlines = outline_views(self.target, vertices, wrist, self._context.settings)

    def linearise(
        self, frame: Float[ndarray, "51"], betas: Float[ndarray, "10"], phase: Phase
    ) -> tuple[Quadratic, Callable[[Float[ndarray, "51"], Float[ndarray, "10"]], float]]:
        """The quadratic at this pose, and the same objective (same pairs and weights) as a function of another."""
        posed = self._context.pose(frame, betas, slopes=True)
        surfaces = phase.model_to_scan > 0 or phase.scan_to_model > 0
        pairs = self._pairs(posed, phase) if surfaces else None

        def value(other: Float[ndarray, "51"], shape: Float[ndarray, "10"]) -> float:
            return self._quadratic(other, shape, self._context.pose(other, shape), pairs, phase).value

        return self._quadratic(frame, betas, posed, pairs, phase), value

    def _quadratic(
        self, frame: Float[ndarray, "51"], betas: Float[ndarray, "10"], posed: Posed, pairs: _Pairs | None, phase: Phase
    ) -> Quadratic:
        quadratic = Quadratic()
        terms.add_keypoints_3d(quadratic, self.target, posed, phase, self._context.settings)
        terms.add_keypoints_2d(quadratic, self.target, posed, phase, self._context.settings)
        terms.add_priors(quadratic, self._context.limits, frame[POSE], betas, phase)
        if pairs is not None:
            _add_pairs(quadratic, posed, pairs, self._samples)
        if phase.silhouette > 0 and self._outlines:
            self._add_outline(quadratic, posed, phase.silhouette)
        return quadratic

    def _add_outline(self, quadratic: Quadratic, posed: Posed, weight: float) -> None:
        """Value and gradient of the silhouettes; their curvature is left to the other terms and the damping."""
        sigma, gradient = self._context.settings.silhouette_sigma, posed.vertex_slopes is not None
        loss, slope = outline_loss(
            posed.vertices, self._context.surface.faces, self._outlines, sigma, gradient=gradient
        )
        quadratic.value += weight * loss
        if slope is not None and posed.vertex_slopes is not None:
            # The quadratic's gradient is half the objective's.
            quadratic.gradient += 0.5 * weight * np.einsum("vc,vcp->p", slope, posed.vertex_slopes)

    def _pairs(self, posed: Posed, phase: Phase) -> _Pairs:
        context, settings = self._context, self._context.settings
        margin = settings.rim_margin_mm / terms.MM
        on_scan = self._scan(posed.vertices)
        normals = context.surface.normals(posed.vertices)
        counts = ~context.rim.near(posed.vertices, margin) & ~on_scan.on_border
        gaps = np.linalg.norm(posed.vertices - on_scan.points, axis=1)
        cosines = np.einsum("nc,nc->n", on_scan.normals, normals)
        vertex_weights = terms.pair_weights(gaps, counts, cosines, phase, settings) * phase.model_to_scan
        on_model = context.surface.at(posed.vertices)(self._samples)
        counts = ~context.rim.plane(posed.vertices).beyond(self._samples, margin) & ~on_model.on_border
        gaps = np.linalg.norm(on_model.points - self._samples, axis=1)
        cosines = np.einsum("nc,nc->n", on_model.normals, self._sample_normals)
        sample_weights = terms.pair_weights(gaps, counts, cosines, phase, settings)
        return _Pairs(
            scan_points=on_scan.points,
            scan_normals=on_scan.normals,
            vertex_weights=vertex_weights,
            sample_corners=context.surface.faces[on_model.faces],
            sample_barycentric=on_model.barycentric,
            sample_normals=self._sample_normals,
            sample_weights=sample_weights * phase.scan_to_model,
        )


def _add_pairs(quadratic: Quadratic, posed: Posed, pairs: _Pairs, samples: Float[ndarray, "samples 3"]) -> None:
    """Both directions of the surface distance."""
    used = pairs.vertex_weights > 0
    slopes = None if posed.vertex_slopes is None else posed.vertex_slopes[used]
    offsets = posed.vertices[used] - pairs.scan_points[used]
    terms.add_surface(quadratic, offsets, slopes, pairs.scan_normals[used], pairs.vertex_weights[used])
    used = pairs.sample_weights > 0
    corners, barycentric = pairs.sample_corners[used], pairs.sample_barycentric[used]
    if posed.vertex_slopes is not None:
        slopes = np.einsum("sk,skcp->scp", barycentric, posed.vertex_slopes[corners])
    offsets = np.einsum("sk,skc->sc", barycentric, posed.vertices[corners]) - samples[used]
    terms.add_surface(quadratic, offsets, slopes, pairs.sample_normals[used], pairs.sample_weights[used])
