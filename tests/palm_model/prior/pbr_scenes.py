"""Surfaces of known material in known light, as the physically based branch is given them."""

from typing import Any

import torch
from torch import Tensor, nn

from palm_model.prior.light import SphericalGaussians
from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import PbrBranch
from palm_model.prior.rendered import Rendered
from palm_model.prior.shadow_mesh import ShadowMesh
from palm_model.prior.volume import Rays, Samples
from schemas.prior_pbr import ShadingSettings
from schemas.prior_pbr_training import PbrTrainingSettings
from schemas.prior_volume import VolumeSettings
from tests.palm_model.prior.small_fields import BOX, KnownGeometry, Laplace, Material, RowCodes
from tests.palm_model.prior.surfaces import rays_at
from tests.palm_model.prior.test_network import SPHERE, sphere

BALL = ShadowMesh(*SPHERE)
FEW = ShadingSettings(strategy="mis", rows=2, columns=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class PlainRadiance:
    """The same light from everywhere on the hand."""

    def __init__(self, value: float) -> None:
        self.value = value

    def grid(self, unit: Tensor, _: float | None) -> Tensor:
        return unit

    def __call__(self, grid: Tensor, *other: object) -> Tensor:
        return torch.full_like(grid, self.value)


class PlainMaterial(nn.Module):
    """One material for the whole hand; its albedo is learned."""

    def __init__(self, albedo: tuple[float, float, float], alpha: float = 0.5, metallic: float = 0.0) -> None:
        super().__init__()
        self.albedo = nn.Parameter(torch.tensor(albedo))
        self.alpha, self.metallic = alpha, metallic

    def forward(self, grid: Tensor, *other: object) -> Material:
        one = torch.ones_like(grid[:, 0])
        return Material(self.albedo.expand_as(grid), self.alpha * one, self.metallic * one)


SKIN = (0.6, 0.4, 0.3)


def ball_net(material: nn.Module | None = None, *, radiance: float = 0.0, people: int = 1, **settings: Any) -> PalmNet:
    """A ball of radius 30 mm about the origin, the same for everybody."""
    codes = RowCodes(torch.zeros(people, 1))
    own = PlainMaterial(SKIN) if material is None else material
    volume = VolumeSettings(**settings)
    return PalmNet(
        KnownGeometry(sphere), PlainRadiance(radiance), own, Laplace(0.0003), codes, box=BOX, settings=volume
    )


def branch(mesh: ShadowMesh = BALL, people: int = 1, **settings: Any) -> PbrBranch:
    chosen = {"shading": FEW, "view_shading": FEW, "visibility": "none", "view_visibility": "none", "indirect": False}
    return PbrBranch(PbrTrainingSettings(**{**chosen, **settings}), people, mesh, generator=seeded())


def lit_by(branch: PbrBranch, lobes: Tensor, subject: int = 0) -> PbrBranch:
    """The same branch with a light put into it."""
    branch.lights[subject] = SphericalGaussians(lobes)
    return branch


UNIFORM = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]])
"""A light of radiance one from everywhere."""


def surface_rays(places: Tensor, normals: Tensor, pose: Tensor | None = None, from_m: float = 0.1) -> Rays:
    """Rays that look straight at places on a surface."""
    return rays_at(places, -normals, pose=pose, from_m=from_m)


def surface_seen(
    normals: Tensor, *, albedo: float = 0.5, alpha: float = 0.6, opacity: float = 1.0, from_m: float = 0.1
) -> Rendered:
    """What a network would make of such rays: one sample on each, all of its values open to gradients."""
    count, one = len(normals), torch.ones(len(normals))

    def leaf(value: Tensor) -> Tensor:
        return (opacity * value).clone().requires_grad_()

    return Rendered(
        colour=torch.zeros(count, 3),
        opacity=leaf(one),
        normal=leaf(normals),
        depth=(from_m * one).requires_grad_(),
        albedo=leaf(albedo * torch.ones(count, 3)),
        alpha=leaf(alpha * one),
        metallic=leaf(0.0 * one),
        weights=opacity * one[:, None],
        samples=Samples(from_m * one[:, None], one[:, None], torch.ones(count, 1, dtype=torch.bool)),
        ray=torch.arange(count),
        canonical=torch.zeros(count, 3),
        sdf=torch.zeros(count),
        sdf_gradient=normals,
    )
