"""From the networks' linear light to stored colours: the torch twin of `palm_data.colour`."""

import torch
from jaxtyping import Float
from torch import Tensor

_LINEAR_BELOW = 0.0031308


def srgb(linear: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The sRGB curve (IEC 61966-2-1) of linear light, with finite gradients everywhere; clipped to [0, 1]."""
    clipped = linear.clamp(0.0, 1.0)
    bent = 1.055 * clipped.clamp(min=_LINEAR_BELOW) ** (1.0 / 2.4) - 0.055
    return torch.where(clipped <= _LINEAR_BELOW, 12.92 * clipped, bent)


def over_background(
    colour: Float[Tensor, "*n 3"], opacity: Float[Tensor, "*n"], background: Float[Tensor, "*#n 3"]
) -> Float[Tensor, "*n 3"]:
    """Composited linear light over a background of linear light, by the sRGB curve."""
    return srgb(colour + (1.0 - opacity)[..., None] * background)
