"""Linear blend skinning of any canonical point: Σ w_i(x) B_i x, its derivative, and its blended rotation.

Plain torch on any device and in any precision: what the compiled loops for CPU are held to.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_model.prior.skinning_grid import SkinningGrids


class Skinned(NamedTuple):
    """Canonical points carried to the world, with the derivative of that."""

    points: Float[Tensor, "m 3"]
    """World, metres."""
    jacobian: Float[Tensor, "m 3 3"]
    """∂ world / ∂ canonical."""
    weights: Float[Tensor, "m 16"]
    """Skinning weights at the canonical points."""


class _Corners(NamedTuple):
    """The eight nodes about each point."""

    rows: Int[Tensor, "m 2 2 2"]
    """Of the grids' nodes in one long list."""
    between: Float[Tensor, "m 3"]
    """How far beyond the lowest one, in cells."""
    cells_per_metre: Float[Tensor, "m 3"]
    """Zero along axes where the point lies outside the cube: the border goes on."""


def skin(
    grids: SkinningGrids, bones: Float[Tensor, "p 16 4 4"], canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"]
) -> Float[Tensor, "m 3"]:
    """Where canonical points are in the world, metres; differentiable in the points and the bones.

    Args:
        pose: each point's row of `bones`, and of the grids' poses.
    """
    corners = _corners(grids, canonical, pose)
    weights = _interpolated(grids.cells.flatten(0, 3), corners)
    return _carried(bones, canonical, pose)[0].mul(weights[..., None]).sum(dim=1)


def skin_with_jacobian(
    grids: SkinningGrids, bones: Float[Tensor, "p 16 4 4"], canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"]
) -> Skinned:
    """The same with the derivative Σ w_i R_i + (B_i x) ∇w_iᵀ, exact within a cell."""
    corners = _corners(grids, canonical, pose)
    nodes = grids.cells.flatten(0, 3)
    weights, slopes = _interpolated(nodes, corners), _slopes(nodes, corners)
    carried, turns = _carried(bones, canonical, pose)
    jacobian = torch.einsum("mb,mbij->mij", weights, turns) + torch.einsum("mbi,mjb->mij", carried, slopes)
    return Skinned((weights[..., None] * carried).sum(dim=1), jacobian, weights)


def surface_distance(
    grids: SkinningGrids, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"]
) -> Float[Tensor, "m"]:
    """From canonical points to the nearest vertex of their own person's canonical surface, metres."""
    return _interpolated(grids.distance.reshape(-1, 1), _corners(grids, canonical, pose))[:, 0]


def blended_rotation(turns: Float[Tensor, "m 3 3"]) -> Float[Tensor, "m 3 3"]:
    """The rotation nearest to each matrix, by its singular values.

    Of Σ w_i R_i it is the turn that the bones agree on: what the official network turns normals with, where the
    inverse transposed Jacobian is exact.
    """
    left, _, right = torch.linalg.svd(turns)
    sign = torch.ones_like(turns[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right)
    return (left * sign[..., None, :]) @ right


def _corners(grids: SkinningGrids, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"]) -> _Corners:
    last = grids.resolution - 1
    scale = last / (2.0 * grids.box.half_side)
    places = (canonical - (grids.box.centre.to(canonical) - grids.box.half_side)) * scale
    inside = (places >= 0) & (places <= last)
    places = places.clamp(0, last)
    below = places.detach().nan_to_num(0.0).long().clamp(max=last - 1)
    size = grids.resolution
    rows = ((grids.row[pose] * size + below[:, 0]) * size + below[:, 1]) * size + below[:, 2]
    steps = torch.tensor([[[0, 1], [size, size + 1]]], device=rows.device)
    steps = torch.stack([steps[0], steps[0] + size * size])
    return _Corners(rows[:, None, None, None] + steps, places - below, inside.to(canonical) * scale)


def _interpolated(nodes: Float[Tensor, "all c"], corners: _Corners) -> Float[Tensor, "m c"]:
    x, y, z = (torch.stack([1.0 - share, share], dim=1) for share in corners.between.unbind(dim=1))
    shares = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    return torch.einsum("mxyz,mxyzc->mc", shares.to(nodes), nodes[corners.rows])


def _slopes(nodes: Float[Tensor, "all c"], corners: _Corners) -> Float[Tensor, "m 3 c"]:
    shares = [torch.stack([1.0 - share, share], dim=1) for share in corners.between.unbind(dim=1)]
    values = nodes[corners.rows]
    slopes = []
    for axis in range(3):
        first, second = (shares[other] for other in range(3) if other != axis)
        steps = values.select(1 + axis, 1) - values.select(1 + axis, 0)
        slopes.append(torch.einsum("ma,mb,mabc->mc", first, second, steps) * corners.cells_per_metre[:, axis, None])
    return torch.stack(slopes, dim=1)


def _carried(
    bones: Float[Tensor, "p 16 4 4"], canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"]
) -> tuple[Float[Tensor, "m 16 3"], Float[Tensor, "m 16 3 3"]]:
    """Where each bone alone would take the points, and the bones' rotations."""
    own = bones[pose]
    turns = own[..., :3, :3]
    return torch.einsum("mbij,mj->mbi", turns, canonical) + own[..., :3, 3], turns
