"""What PalmNet makes of rays."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_model.prior.volume import Samples


@dataclass(frozen=True, eq=False)
class Rendered:
    """What n rays see. Values are composited, Σ w v: a ray that only half meets the hand has half of them."""

    colour: Float[Tensor, "n 3"]
    """Linear light, without background."""
    opacity: Float[Tensor, "n"]
    """Σ w, 0 to 1."""
    normal: Float[Tensor, "n 3"]
    """World; of unit length where one surface is met fully."""
    depth: Float[Tensor, "n"]
    """Mean distance of what is met from the origin, metres, not scaled by opacity; 0 where nothing is."""
    albedo: Float[Tensor, "n 3"] | None
    alpha: Float[Tensor, "n"] | None
    """GGX α."""
    metallic: Float[Tensor, "n"] | None
    weights: Float[Tensor, "n m"]
    samples: Samples
    ray: Int[Tensor, "s"]
    """Of all samples with a canonical point: their ray,"""
    canonical: Float[Tensor, "s 3"]
    """that point, metres,"""
    sdf: Float[Tensor, "s"]
    """the signed distance there, metres,"""
    sdf_gradient: Float[Tensor, "s 3"]
    """and its gradient in canonical space."""


def joined(parts: list[Rendered], step: int) -> Rendered:
    """Parts of `step` rays each as one table."""
    values: dict[str, Any] = {}
    for one in fields(Rendered):
        own = [getattr(part, one.name) for part in parts]
        if one.name == "samples":
            values[one.name] = Samples(*(torch.cat([getattr(part, of.name) for part in own]) for of in fields(Samples)))
        elif one.name == "ray":
            values[one.name] = torch.cat([rays + step * number for number, rays in enumerate(own)])
        else:
            values[one.name] = None if own[0] is None else torch.cat(own)
    return Rendered(**values)
