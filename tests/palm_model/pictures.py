"""Pictures in closed form, so that another program can draw the same ones."""

import torch
from torch import Tensor


def waves(height: int, width: int, phase: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Waves across a picture (height, width, 3), from 0.1 to 0.9."""
    down, across = torch.meshgrid(torch.arange(height, dtype=dtype), torch.arange(width, dtype=dtype), indexing="ij")
    channels = [0.5 + 0.4 * torch.sin(0.31 * across + 0.17 * down + phase * (1 + c) + c) for c in range(3)]
    return torch.stack(channels, dim=-1)


def ellipse(height: int, width: int) -> Tensor:
    """A mask (height, width) in the middle, clear of the border."""
    down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return ((down - height / 2) / (0.38 * height)) ** 2 + ((across - width / 2) / (0.31 * width)) ** 2 < 1.0
