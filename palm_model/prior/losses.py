"""The terms of the loss (eq. 10–14), each a function of tensors; every one is a mean, so that weights know no batch size.

The paper writes sums over rays; a mean differs by a constant factor. Colours are sRGB in [0, 1], lengths metres.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from palm_model.prior.directions import frame
from palm_model.prior.perceptual import PerceptualNetwork
from palm_model.prior.schedule import Schedule, active, weight_at
from schemas.errors import SettingsError
from schemas.prior_losses import LOSS_NAMES, LossName

_LEAST_OPACITY = 1e-3
_LEAST_NORMAL = 1e-3
"""A composited normal shorter than this points nowhere: its ray missed the surface."""


def colour(
    predicted: Float[Tensor, "rays 3"], target: Float[Tensor, "rays 3"], valid: Bool[Tensor, " rays"] | None = None
) -> Float[Tensor, ""]:
    """Mean absolute difference of colours over rays and channels (eq. 10), for either branch.

    Every ray counts: where nothing was hit, the prediction is the background, and it is wrong if the hand is there.

    Args:
        valid: rays whose target is known; the others may hold anything, NaN included. None: all.
    """
    if valid is None:
        return (predicted - target).abs().mean()
    known = torch.where(valid[:, None], predicted - _where_known(target, valid), 0.0)
    return known.abs().sum() / (3 * valid.sum()).clamp(min=1)


def normal(
    predicted: Float[Tensor, "rays 3"], target: Float[Tensor, "rays 3"], counted: Bool[Tensor, " rays"] | None = None
) -> Float[Tensor, ""]:
    """L1 distance of unit normals, summed over their components, mean over rays (eq. 11).

    Both are vectors of one frame with components in [−1, 1]: normals moved into [0, 1] and scaled to unit length again,
    as pictures of normals are, cannot tell (1, 1, 1) from its opposite. The composited prediction is scaled to unit
    length; rays where it, or the scan's normal, is missing (zero or NaN) do not count, nor do those not in `counted`.
    """
    there = torch.isfinite(target).all(dim=-1) & (target.abs().amax(dim=-1) > 0)
    there = there & (torch.linalg.vector_norm(predicted.detach(), dim=-1) > _LEAST_NORMAL)
    if counted is not None:
        there = there & counted
    wanted = functional.normalize(_where_known(target, there), dim=-1)
    found = torch.where(there[:, None], predicted, 1.0)
    found = found / torch.linalg.vector_norm(found, dim=-1, keepdim=True)
    apart = torch.where(there, (found - wanted).abs().sum(dim=-1), 0.0)
    return apart.sum() / there.sum().clamp(min=1)


def segmentation(
    opacity: Float[Tensor, " rays"], mask: Float[Tensor, " rays"] | Bool[Tensor, " rays"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of opacity and the scan's mask, nats, mean over rays (eq. 12).

    Opacity is drawn into [0.001, 0.999] by a linear map: cutting it off there would leave a ray that misses the hand
    altogether without a gradient.
    """
    chance = _LEAST_OPACITY + (1.0 - 2.0 * _LEAST_OPACITY) * _single(opacity)
    hit = mask.to(chance.dtype)
    return -(hit * chance.log() + (1.0 - hit) * torch.log1p(-chance)).mean()


def eikonal(gradients: Float[Tensor, "points 3"]) -> Float[Tensor, ""]:
    """Mean of (|∇s| − 1)²: zero for a true distance."""
    return (torch.linalg.vector_norm(gradients, dim=-1) - 1.0).square().mean()


def latent(codes: Float[Tensor, "subjects size"]) -> Float[Tensor, ""]:
    """Squared norm of the codes, mean over the subjects given."""
    return codes.square().sum(dim=-1).mean()


def perceptual(
    network: PerceptualNetwork,
    predicted: Float[Tensor, "patches height width 3"],
    target: Float[Tensor, "patches height width 3"],
    scale: int = 2,
) -> Float[Tensor, ""]:
    """Perceptual distance of the patches, enlarged bilinearly, mean over all of them."""
    found, wanted = predicted.movedim(-1, 1), target.movedim(-1, 1)
    if scale > 1:
        found, wanted = (
            functional.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
            for image in (found, wanted)
        )
    return network(found, wanted).mean()


def tangent_neighbours(
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    uniform: Float[Tensor, " points"],
    step_m: float,
) -> Float[Tensor, "points 3"]:
    """Points a step along the surface, in a direction drawn evenly from the tangent plane.

    Args:
        normals: unit vectors.
        uniform: numbers from [0, 1).
    """
    first, second = frame(normals.detach())
    angle = 2.0 * math.pi * uniform[:, None]
    return points + step_m * (angle.cos() * first + angle.sin() * second)


def tangent_curvature(normals: Float[Tensor, "points 3"], neighbours: Float[Tensor, "points 3"]) -> Float[Tensor, ""]:
    """Angle between unit normals at points and a step along the surface, as a share of π, mean.

    PermutoSDF's curvature, which the authors' code calls the Laplacian loss. On a sphere of radius R it is about
    step / (πR). The angle comes from its sine and cosine: single precision has no arc cosine of so small angles.
    """
    sine = torch.linalg.vector_norm(torch.linalg.cross(normals, neighbours), dim=-1)
    return torch.atan2(sine, (normals * neighbours).sum(dim=-1)).mean() / math.pi


def sdf_laplacian(laplacian: Float[Tensor, " points"], step_m: float) -> Float[Tensor, ""]:
    """Mean of |∇²s| × step / 2π.

    The factor gives it `tangent_curvature`'s value on a sphere, where ∇²s = 2/R: one weight serves both. Unlike that
    one it lets saddles go, where the principal curvatures cancel.
    """
    return laplacian.abs().mean() * (step_m / (2.0 * math.pi))


def relative_smoothness(
    values: Float[Tensor, "points channels"], nearby: Float[Tensor, "points channels"]
) -> Float[Tensor, ""]:
    """Mean of |a − b| / max(a, b) of non-negative material values at points and near them."""
    return ((values - nearby).abs() / torch.maximum(values, nearby).clamp(min=1e-6)).mean()


def total(
    terms: Mapping[LossName, Float[Tensor, ""]], schedules: Mapping[LossName, Schedule], step: int
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """The loss (eq. 13–14) at a step, and each term unweighted, with their sum as `total`, as plain numbers.

    A term without weight at this step is reported if given, and cannot spoil the sum, even when it is not a number.
    On a GPU this waits once.

    Raises:
        SettingsError: if a term that weighs something is missing, a name is unknown, or nothing weighs anything.
    """
    weighed = active(schedules, step)
    if unknown := sorted({*terms, *schedules} - set(LOSS_NAMES)):
        raise SettingsError(f"losses: expected names among {', '.join(LOSS_NAMES)}, found {', '.join(unknown)}.")
    if missing := sorted(weighed - set(terms)):
        raise SettingsError(
            f"losses: step {step}: expected {', '.join(missing)}, found only {', '.join(sorted(terms)) or 'nothing'}. "
            "Compute them, or switch them off by name."
        )
    if not weighed:
        raise SettingsError(f"losses: step {step}: expected a term that weighs something, found none.")
    parts = [weight_at(schedules[name], step) * _single(terms[name]) for name in LOSS_NAMES if name in weighed]
    loss = torch.stack(parts).sum()
    values = torch.stack([loss.detach(), *(_single(term.detach()) for term in terms.values())]).tolist()
    return loss, dict(zip(["total", *terms], values, strict=True))


def _where_known(target: Tensor, known: Bool[Tensor, " rays"]) -> Tensor:
    """Targets with a finite constant where they are not known: NaN times zero is NaN, in gradients too."""
    return torch.where(known[:, None], target, 1.0)


def _single(values: Tensor) -> Tensor:
    """At least single precision: mixed precision hands us halves."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
