"""Heatmaps: where a joint is, as a distribution over the pixels of a crop, and back to a sub-pixel place.

A joint's logits pass through a softmax over all pixels, so that a heatmap is a probability; its target is a Gaussian.
Places are in crop pixels with integers at pixel corners.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_WINDOW_SIGMAS = 3.0


def encode(
    points_px: Float[Tensor, "batch joints 2"], size: int, sigma_px: float
) -> Float[Tensor, "batch joints size size"]:
    """Gaussians about the points, each summing to one over the pixels' centres.

    A point outside the crop gives a distribution at its border; leave it out of the loss.
    """
    centres = torch.arange(size, dtype=points_px.dtype, device=points_px.device) + 0.5
    across, down = (
        torch.softmax(-0.5 * ((centres - points_px[..., axis, None]) / sigma_px) ** 2, dim=-1) for axis in (0, 1)
    )
    return down[..., :, None] * across[..., None, :]


def decode(
    logits: Float[Tensor, "batch joints size size"], sigma_px: float
) -> tuple[Float[Tensor, "batch joints 2"], Float[Tensor, "batch joints"]]:
    """The mean place about each heatmap's peak, and the share of its mass that lies there.

    The window reaches three standard deviations of the training's targets: a heatmap in doubt between two places, or
    spread over many, gives a confidence well below one.
    """
    size = logits.shape[-1]
    probability = torch.softmax(logits.flatten(2), dim=-1)
    peak = probability.argmax(dim=-1)
    mass = probability.unflatten(2, (size, size))
    centres = torch.arange(size, dtype=logits.dtype, device=logits.device) + 0.5
    reach = _WINDOW_SIGMAS * sigma_px
    near_x = ((centres - centres[peak % size][..., None]).abs() <= reach).to(logits.dtype)
    near_y = ((centres - centres[peak // size][..., None]).abs() <= reach).to(logits.dtype)
    columns = torch.einsum("bjyx,bjy->bjx", mass, near_y) * near_x
    rows = torch.einsum("bjyx,bjx->bjy", mass, near_x) * near_y
    total = columns.sum(dim=-1)
    points = torch.stack([(columns * centres).sum(dim=-1), (rows * centres).sum(dim=-1)], dim=-1)
    return points / total[..., None], total.clamp(0.0, 1.0)
