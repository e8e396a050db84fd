"""How good a pre-trained SDF is, on shapes that it never saw."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_model.prior.canonical_sdf import CanonicalSdf, Told
from palm_model.prior.closed_surface import closed_hands
from palm_model.prior.sdf_samples import random_shapes, sample_hands
from schemas.prior_pretraining import PretrainingSettings

SURFACE_POINTS = 2048
"""Looked at of each shape."""
_MM = 1000.0


class _Seen(NamedTuple):
    """Unseen hands' surfaces, p of them with m points each."""

    betas: Float[Tensor, "p 10"]
    points: Float[Tensor, "p m 3"]
    normals: Float[Tensor, "p m 3"]


@torch.no_grad()
def figures(learned: CanonicalSdf, model: HandModel, settings: PretrainingSettings) -> dict[str, float | int]:
    """Errors on shapes drawn like those learned from, told random poses.

    `surface_mm_mean`, `surface_mm_p95`: |s| at points of the true surface; `worst_shape_mm`: the mean of the shape that
    is worst; `cube_mm_mean`: |s − d| at points all over the cube; `normal_deg_mean`: angle between ∇s and the true
    surface's normal there; `slope_mean`, `slope_std`: |∇s| there; `pose_mm_mean`: how far s moves there when another
    pose is told.
    """
    seed = settings.seed + 1
    random = torch.Generator().manual_seed(seed)
    surfaces = _surfaces(model, random_shapes(settings.unseen_shapes, settings.shape_reach_std, random), seed)
    mean_pose = torch.tensor(model.hands_mean, dtype=torch.float32)

    def told(betas: Float[Tensor, "p 10"], each: int) -> Told:
        repeated = betas.repeat_interleave(each, dim=0).to(learned.device)
        return learned.told(repeated, mean_pose, settings.pose_std_rad, random)

    points = surfaces.points.flatten(0, 1).to(learned.device)
    first, other = (told(surfaces.betas, SURFACE_POINTS) for _ in range(2))
    sdf = learned(points, first).cpu()
    off = _MM * sdf.abs()
    slopes = learned.gradient(points, first, settings.tetrahedron_m).cpu()
    slope = torch.linalg.vector_norm(slopes, dim=-1)
    straight = (slopes * surfaces.normals.flatten(0, 1)).sum(dim=-1) / slope.clamp(min=1e-9)
    everywhere = settings.model_copy(update={"near_share": 0.0, "points": SURFACE_POINTS})
    cube = sample_hands(model, surfaces.betas, learned.box, everywhere, seed=seed)
    far = learned(cube.points.flatten(0, 1).to(learned.device), told(surfaces.betas, SURFACE_POINTS)).cpu()
    return {
        "steps": settings.steps,
        "shapes": settings.shapes,
        "unseen_shapes": settings.unseen_shapes,
        "open_levels": learned.open_levels or len(learned.geometry.encoding.levels),
        "surface_mm_mean": _rounded(off.mean()),
        "surface_mm_p95": _rounded(torch.quantile(off, 0.95)),
        "worst_shape_mm": _rounded(off.view(settings.unseen_shapes, -1).mean(dim=1).max()),
        "cube_mm_mean": _rounded(_MM * (far - cube.sdf.flatten()).abs().mean()),
        "normal_deg_mean": _rounded(torch.rad2deg(straight.clamp(-1.0, 1.0).arccos()).mean()),
        "slope_mean": _rounded(slope.mean()),
        "slope_std": _rounded(slope.std()),
        "pose_mm_mean": _rounded(_MM * (learned(points, other).cpu() - sdf).abs().mean()),
    }


def _surfaces(model: HandModel, betas: Float[Tensor, "p 10"], seed: int) -> _Seen:
    drawn = [
        surface.points(SURFACE_POINTS, np.random.default_rng([seed, row]))
        for row, surface in enumerate(closed_hands(model, betas))
    ]
    points, normals = (np.stack(part).astype(np.float32) for part in zip(*drawn, strict=True))
    return _Seen(betas, torch.from_numpy(points), torch.from_numpy(normals))


def _rounded(value: Tensor) -> float:
    return round(float(value), 4)
