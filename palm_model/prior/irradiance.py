"""How much light falls on a surface by the way it faces: the measure by which environments are compared."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from palm_model.prior.lat_long import LatLong
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.map_layout import RIG, pixel_directions

_ROWS = 64
"""Of the grid on which a light that is no picture is summed: enough for lobes of a sharpness of some hundreds."""
_PAIRS = 2**23
"""Normals times directions at once."""


@torch.no_grad()
def irradiance(light: EnvironmentLight, normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """E(n) = ∫ L(ω) cos⁺(n, ω) dω, linear RGB, with nothing in the light's way.

    Args:
        normals: unit vectors of the rig's world.
    """
    height = light.image.shape[0] if isinstance(light, LatLong) else _ROWS
    width = light.image.shape[1] if isinstance(light, LatLong) else 2 * _ROWS
    directions = pixel_directions(RIG, height, width, normals).flatten(0, 1)
    border = torch.cos(torch.arange(height + 1, dtype=torch.float64, device=normals.device) * (math.pi / height))
    solid = ((border[:-1] - border[1:]) * (2.0 * math.pi / width)).to(normals.dtype).repeat_interleave(width)
    arriving = light.radiance(directions) * solid[:, None]
    parts = [
        (part @ directions.T).clamp(min=0.0) @ arriving for part in normals.split(max(_PAIRS // len(directions), 1))
    ]
    return torch.cat(parts) if parts else torch.zeros_like(normals)
