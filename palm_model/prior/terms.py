"""The terms of a training step's loss, from what the network made of its batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from palm_model.prior import losses
from palm_model.prior.batches import Batch
from palm_model.prior.colour import srgb
from palm_model.prior.network import PalmNet, Progress
from palm_model.prior.normals import tetrahedral_laplacian, tetrahedron
from palm_model.prior.parts import Skinning
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.perceptual import PerceptualNetwork
from palm_model.prior.poses import Poses
from palm_model.prior.rendered import Rendered
from schemas.errors import SettingsError
from schemas.prior_losses import LossName, LossSettings

_LEAST_NORMAL = 1e-3
EXTRA_NUMBERS = 3
"""Random numbers that the terms take of each ray, the last of the batch's."""
_NEARBY_M = 0.002
"""How far off the material is compared with."""


class Term(NamedTuple):
    """A mean, and of how many values: parts of a batch are joined by it."""

    value: Float[Tensor, ""]
    of: int


@dataclass(frozen=True, eq=False)
class Step:
    """All that the terms are made of."""

    network: PalmNet
    perceptual: PerceptualNetwork | None
    batch: Batch
    poses: Poses
    skinning: Skinning
    rendered: Rendered
    progress: Progress
    settings: LossSettings


def loss_terms(step: Step, wanted: frozenset[LossName]) -> Mapping[LossName, Term]:
    """The terms of these names, each a mean over this part of the batch."""
    makers = {
        "colour": _colour,
        "pbr_colour": _pbr_colour,
        "segmentation": _segmentation,
        "normal": _normal,
        "eikonal": _eikonal,
        "perceptual": _perceptual,
        "laplacian": _laplacian,
        "latent_shape": _latent_shape,
        "latent_appearance": _latent_appearance,
        "material_smoothness": _material_smoothness,
    }
    return {name: makers[name](step) for name in sorted(wanted) if name in makers}


def _colour(step: Step) -> Term:
    return Term(losses.colour(srgb(step.rendered.colour), step.batch.colour), len(step.batch.rays))


def _pbr_colour(step: Step) -> Term:
    """Of the rays that were shaded, those that meet nothing among them."""
    branch, batch = branch_of(step.network), step.batch
    if branch is None:
        raise SettingsError("pbr_colour: expected a network with a light, found none. Give settings of `pbr`.")
    shaded = branch.shade(
        step.network,
        step.rendered,
        batch.rays,
        step.poses,
        skinning=step.skinning,
        random=_random(batch),
        progress=step.progress,
    )
    return Term(losses.colour(srgb(shaded.colour), batch.colour, shaded.valid), int(shaded.valid.sum()))


def _random(batch: Batch) -> torch.Generator:
    """Random numbers that follow from the batch's own."""
    seed = int(batch.uniform[:, -1].sum(dtype=torch.float64) * 2.0**20)
    return torch.Generator(batch.uniform.device).manual_seed(seed)


def _segmentation(step: Step) -> Term:
    return Term(losses.segmentation(step.rendered.opacity, step.batch.mask), len(step.batch.rays))


def _normal(step: Step) -> Term:
    batch, found = step.batch, step.rendered.normal
    there = torch.isfinite(batch.normal).all(dim=-1) & (batch.normal.abs().amax(dim=-1) > 0) & batch.mask
    there = there & (torch.linalg.vector_norm(found.detach(), dim=-1) > _LEAST_NORMAL)
    return Term(losses.normal(found, batch.normal, there), int(there.sum()))


def _eikonal(step: Step) -> Term:
    gradient = step.rendered.sdf_gradient
    if not len(gradient):
        return Term(gradient.sum(), 0)
    return Term(losses.eikonal(gradient), len(gradient))


def _perceptual(step: Step) -> Term:
    network, batch = step.perceptual, step.batch
    if network is None or not batch.patches:
        return Term(batch.colour.new_zeros(()), 0)
    found, wanted = batch.images(srgb(step.rendered.colour)), batch.images(batch.colour)
    with step.network.colour_precision(found.device):
        return Term(losses.perceptual(network, found, wanted, step.settings.perceptual_scale), batch.patches)


def _laplacian(step: Step) -> Term:
    """At each ray's sample nearest to the surface."""
    settings, (nearest, pose, points) = step.settings, _nearest(step)
    if not len(nearest):
        return Term(step.rendered.opacity.new_zeros(()), 0)
    if settings.laplacian_variant == "sdf_laplacian":
        found = losses.sdf_laplacian(_sdf_laplacian(step, points, pose), settings.laplacian_step_m)
        return Term(found, len(nearest))
    normal = functional.normalize(step.rendered.sdf_gradient[nearest], dim=-1)
    uniform = step.batch.uniform[step.rendered.ray[nearest], -1]
    nearby = losses.tangent_neighbours(points, normal, uniform, settings.laplacian_step_m)
    there = step.network.signed_distance(nearby, pose, step.poses, gradient=True, progress=step.progress).gradient
    return Term(losses.tangent_curvature(normal, functional.normalize(there, dim=-1)), len(nearest))


def _nearest(step: Step) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"], Float[Tensor, "k 3"]]:
    """Of each ray that has samples the one nearest to the surface, with its pose and canonical point."""
    rendered = step.rendered
    away = rendered.sdf.detach().abs()
    least = away.new_full((len(rendered.opacity),), torch.inf).scatter_reduce(0, rendered.ray, away, "amin")
    nearest = (away == least[rendered.ray]).nonzero()[:, 0]
    return nearest, step.batch.rays.pose[rendered.ray[nearest]], rendered.canonical[nearest].detach()


def _sdf_laplacian(step: Step, points: Float[Tensor, "n 3"], pose: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """1/m, at canonical points."""
    reach = step.network.settings.tetrahedron_m
    corners = tetrahedron(points, reach)
    at, of = torch.cat([points[None], corners]).flatten(0, 1), pose.repeat(5)
    values = step.network.signed_distance(at, of, step.poses, progress=step.progress).sdf.view(5, -1)
    return tetrahedral_laplacian(values[0], values[1:], reach)


def _latent_shape(step: Step) -> Term:
    return Term(losses.latent(step.network.conditioning(step.poses).shape), len(step.poses))


def _latent_appearance(step: Step) -> Term:
    return Term(losses.latent(step.network.conditioning(step.poses).appearance), len(step.poses))


def _material_smoothness(step: Step) -> Term:
    """Of albedo and roughness at each ray's sample nearest to the surface, and a little off."""
    nearest, pose, points = _nearest(step)
    if not len(nearest):
        return Term(step.rendered.opacity.new_zeros(()), 0)
    uniform = step.batch.uniform[step.rendered.ray[nearest], -EXTRA_NUMBERS:]
    moved = points + _NEARBY_M * (2.0 * uniform - 1.0)
    here, there = (
        torch.cat([found.albedo, found.alpha[:, None]], dim=-1)
        for found in (step.network.materials(at, pose, step.poses, progress=step.progress) for at in (points, moved))
    )
    return Term(losses.relative_smoothness(here, there), len(nearest))
