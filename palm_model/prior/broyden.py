"""Eq. 3 solved in torch, on any device: all starts of all points step together. The reference of the compiled search.

Chen et al., "SNARF" (ICCV 2021): the canonical points x with Σ w_i(x) B_i x = x_d are found by Broyden's method from
each bone's rigid inverse; those that converge inside the cube are roots, and roots on top of each other are one.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from palm_model.prior.skinning import skin, skin_with_jacobian, surface_distance
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.prior_skinning import SkinningSettings

SINGULAR = 1e-6
_AT_ONCE = 1 << 17
"""Starts that step together: bounds the memory."""


def search(
    points: Float[Tensor, "n 3"],
    pose: Int[Tensor, "n"],
    bones: Float[Tensor, "p 16 4 4"],
    grids: SkinningGrids,
    settings: SkinningSettings,
) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k"]]:
    """The canonical points that skinning takes to each world point, and how far the canonical surface is from them.

    The nearest to the surface come first; where a point has fewer than k, the distance is infinite. `settings` says
    when a start is left out, when it has converged, and how many roots k are kept.
    """
    chunk = max(_AT_ONCE // bones.shape[1], 1)
    parts = [
        _search(some, row, bones, grids, settings)
        for some, row in zip(points.split(chunk), pose.split(chunk), strict=True)
    ]
    return torch.cat([roots for roots, _ in parts]), torch.cat([away for _, away in parts])


def _search(
    points: Float[Tensor, "n 3"],
    pose: Int[Tensor, "n"],
    bones: Float[Tensor, "p 16 4 4"],
    grids: SkinningGrids,
    settings: SkinningSettings,
) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k"]]:
    starts = _bone_starts(points, bones[pose])
    reach = torch.inf if settings.reach_m is None else settings.reach_m
    of_start = pose.repeat_interleave(starts.shape[1])
    used = surface_distance(grids, starts.flatten(0, 1), of_start) <= reach
    roots = starts.flatten(0, 1).clone()
    found = torch.zeros_like(used)
    which = used.nonzero()[:, 0]
    targets = points[which // starts.shape[1]]
    roots[which], found[which] = _descend(roots[which], targets, of_start[which], bones, grids=grids, settings=settings)
    away = surface_distance(grids, roots, of_start)
    found &= grids.box.contains(roots) & (away <= reach)
    away = torch.where(found, away, torch.inf).unflatten(0, starts.shape[:2])
    return _distinct(roots.unflatten(0, starts.shape[:2]), away, settings)


def _bone_starts(points: Float[Tensor, "n 3"], bones: Float[Tensor, "n b 4 4"]) -> Float[Tensor, "n b 3"]:
    """Where each point would be in canonical space if one bone alone carried it: Rᵀ (x − t)."""
    return torch.einsum("nbij,nbi->nbj", bones[..., :3, :3], points[:, None] - bones[..., :3, 3])


def _descend(
    starts: Float[Tensor, "m 3"],
    targets: Float[Tensor, "m 3"],
    pose: Int[Tensor, "m"],
    bones: Float[Tensor, "p 16 4 4"],
    *,
    grids: SkinningGrids,
    settings: SkinningSettings,
) -> tuple[Float[Tensor, "m 3"], Bool[Tensor, "m"]]:
    """Broyden's steps (1965, his first update) from each start: where they end, and whether at a root.

    The first Jacobian is exact; after it only the residuals are evaluated.
    """
    ends = starts.clone()
    first = skin_with_jacobian(grids, bones, starts, pose)
    residual = first.points - targets
    found = residual.norm(dim=1) < settings.converged_m
    regular = torch.linalg.det(first.jacobian).abs() > SINGULAR
    going = (~found & regular).nonzero()[:, 0]
    residual, inverse = residual[going], torch.linalg.inv(first.jacobian[going])
    for _ in range(settings.iterations):
        step = -torch.einsum("mij,mj->mi", inverse, residual)
        ends[going] += step
        after = skin(grids, bones, ends[going], pose[going]) - targets[going]
        size = after.norm(dim=1)
        found[going] = size < settings.converged_m
        row = torch.einsum("mi,mij->mj", step, inverse)
        change = after - residual
        scale = (row * change).sum(dim=1)
        on = (size >= settings.converged_m) & (size < settings.diverged_m) & (scale != 0)
        gain = (step - torch.einsum("mij,mj->mi", inverse, change))[on] / scale[on, None]
        inverse = inverse[on] + gain[:, :, None] * row[on][:, None, :]
        residual, going = after[on], going[on]
    return ends, found


def _distinct(
    roots: Float[Tensor, "n b 3"], away: Float[Tensor, "n b"], settings: SkinningSettings
) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k"]]:
    """Each root once, that of the first bone that found it; the nearest to the surface first, `max_roots` of them."""
    for bone in range(1, roots.shape[1]):
        apart = (roots[:, :bone] - roots[:, bone, None]).norm(dim=-1)
        known = ((apart < settings.merged_m) & away[:, :bone].isfinite()).any(dim=1)
        away[known, bone] = torch.inf
    nearest = away.argsort(dim=1, stable=True)[:, : settings.max_roots]
    away = away.gather(1, nearest)
    roots = roots.gather(1, nearest[..., None].expand(-1, -1, 3))
    return torch.where(away[..., None].isfinite(), roots, 0.0), away
