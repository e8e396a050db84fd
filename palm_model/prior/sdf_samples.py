"""Points whose signed distance to canonical hands of many shapes is known: what the SDF is pre-trained on."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from palm_data.hand.model import SHAPE_COMPONENTS, HandModel
from palm_model.prior.canonical import CanonicalBox
from palm_model.prior.closed_surface import ClosedSurface, closed_hands
from schemas.prior_pretraining import PretrainingSettings


@dataclass(frozen=True, eq=False)
class SdfSamples:
    """m points about each of p hands."""

    betas: Float[Tensor, "p 10"]
    points: Float[Tensor, "p m 3"]
    """Canonical, metres."""
    sdf: Float[Tensor, "p m"]
    """Metres, negative inside."""

    def to(self, device: torch.device) -> "SdfSamples":
        """The same on a device."""
        return SdfSamples(self.betas.to(device), self.points.to(device), self.sdf.to(device))


def random_shapes(count: int, reach_std: float, generator: torch.Generator) -> Float[Tensor, "p 10"]:
    """Shapes as people have them, normally distributed; those beyond the reach are drawn in to it."""
    betas = torch.randn(count, SHAPE_COMPONENTS, generator=generator)
    return betas * (reach_std / torch.linalg.vector_norm(betas, dim=1, keepdim=True)).clamp(max=1.0)


def sample_hands(
    model: HandModel, betas: Float[Tensor, "p 10"], box: CanonicalBox, settings: PretrainingSettings, *, seed: int
) -> SdfSamples:
    """Points near these hands' closed surfaces and in the whole cube; those of a shape follow from seed and row."""
    drawn = []
    for row, surface in enumerate(closed_hands(model, betas)):
        points = _points(surface, box, settings, np.random.default_rng([seed, row]))
        drawn.append((points, surface.signed_distance(points)))
    return SdfSamples(
        betas=betas,
        points=torch.from_numpy(np.stack([points for points, _ in drawn])),
        sdf=torch.from_numpy(np.stack([sdf for _, sdf in drawn])),
    )


def _points(
    surface: ClosedSurface, box: CanonicalBox, settings: PretrainingSettings, random: np.random.Generator
) -> Float[np.ndarray, "m 3"]:
    near = round(settings.near_share * settings.points)
    about, _ = surface.points(near, random)
    about += random.normal(0.0, settings.near_std_m, about.shape)
    anywhere = random.uniform(-box.half_side, box.half_side, (settings.points - near, 3))
    return np.concatenate([about, anywhere + box.centre.double().cpu().numpy()]).astype(np.float32)
