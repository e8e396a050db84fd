"""Fields of which everything is known, in the places of the networks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from palm_model.prior.canonical import CanonicalBox
from palm_model.prior.inverse_skinning import Roots
from palm_model.prior.parts import Codes
from palm_model.prior.poses import Poses
from palm_model.prior.skinning import Skinned
from tests.palm_model.prior.surfaces import laplace_density

BOX = CanonicalBox(torch.zeros(3), 0.1)


class Geometry(NamedTuple):
    sdf: Tensor
    feature: Tensor


class Material(NamedTuple):
    albedo: Tensor
    alpha: Tensor
    metallic: Tensor


@dataclass
class KnownGeometry:
    """A known SDF of canonical metres; its one feature is how it is lifted by the first shape code."""

    sdf: Callable[[Tensor], Tensor]
    asked: list[int] = field(default_factory=list)

    def __call__(
        self,
        unit: Tensor,
        pose_code: Tensor,
        shape_code: Tensor,
        betas: Tensor | None,
        _: float | None,
        row: Tensor | None = None,
    ) -> Geometry:
        assert betas is not None
        assert len(pose_code) == len(shape_code) == len(betas)
        shape_code = shape_code if row is None else shape_code[row]
        assert len(unit) == len(shape_code)
        self.asked.append(len(unit))
        return Geometry(self.sdf(BOX.from_unit(unit)) - shape_code[:, 0], shape_code[:, :1])


class ShownNormals:
    """A colour of everything that it is given: the reflected direction, from 0 to 1."""

    def grid(self, unit: Tensor, _: float | None) -> Tensor:
        return unit

    def __call__(self, grid: Tensor, feature: Tensor, reflected: Tensor, normal: Tensor, *codes: object) -> Tensor:
        assert len(grid) == len(feature) == len(normal)
        assert len(codes) == 4
        return 0.5 + 0.5 * reflected


def known_material(grid: Tensor, feature: Tensor, *codes: object) -> Material:
    assert len(codes) == 2
    return Material(grid, feature[:, 0] + 0.25, torch.full_like(grid[:, 0], 0.5))


@dataclass
class Laplace:
    beta: float = 0.0007

    def __call__(self, sdf: Tensor) -> Tensor:
        return laplace_density(sdf, self.beta)


@dataclass
class RowCodes:
    """Each hand's shape code is a number of its own."""

    shape: Tensor

    def __call__(self, poses: Poses) -> Codes:
        none = torch.zeros(len(poses), 2)
        return Codes(none, self.shape[poses.subject], none)


class RigidSkinning:
    """Every point hangs on bone 0 and is also found a second time where no hand is; those far off are not found."""

    def find(self, points: Tensor, pose: Tensor, poses: Poses) -> Roots:
        turns, places = poses.bones[pose, 0, :3, :3], poses.bones[pose, 0, :3, 3]
        found = torch.einsum("nji,nj->ni", turns, points - places).detach()
        both = torch.stack([found + 0.5 * BOX.half_side, found], dim=1)
        valid = torch.stack([found[:, 0] > 0, (found.abs() < BOX.half_side).all(-1)], dim=1) & BOX.contains(both)
        return Roots(both * valid[..., None], valid, torch.zeros(valid.shape).masked_fill(~valid, torch.inf))

    def attach(self, roots: Roots, points: Tensor, pose: Tensor, poses: Poses) -> Roots:
        turns, places = poses.bones[pose, 0, :3, :3], poses.bones[pose, 0, :3, 3]
        moving = torch.einsum("nji,nkj->nki", turns, (points - places)[:, None])
        return roots._replace(points=moving + (roots.points - moving).detach())

    def skinned(self, canonical: Tensor, pose: Tensor, poses: Poses) -> Skinned:
        bones = poses.bones[pose, 0]
        weights = torch.zeros(len(canonical), 16)
        weights[:, 0] = 1.0
        points = torch.einsum("nij,nj->ni", bones[:, :3, :3], canonical) + bones[:, :3, 3]
        return Skinned(points, bones[:, :3, :3], weights)


class LearnedSphere(nn.Module):
    """An SDF of a sphere, whose radius is learned."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(radius))

    def forward(
        self,
        unit: Tensor,
        pose_code: Tensor,
        shape_code: Tensor,
        betas: Tensor | None,
        _: float | None,
        row: Tensor | None = None,
    ) -> Geometry:
        away = torch.linalg.vector_norm(BOX.from_unit(unit), dim=-1)
        return Geometry(away - self.radius, (pose_code if row is None else pose_code[row])[:, :1])
