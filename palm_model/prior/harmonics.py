"""Directions as real spherical harmonics of degree 4: sixteen numbers in four bands that open one by one."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

BANDS = 4
DIRECTION_WIDTH = BANDS * BANDS


def spherical_harmonics(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 16"]:
    """Orthonormal real harmonics of unit directions, bands 0 to 3, in a band from m = −l to l, no Condon–Shortley sign."""
    x, y, z = directions.unbind(dim=-1)
    xx, yy, zz = x * x, y * y, z * z
    pi = math.pi
    first = math.sqrt(3 / (4 * pi))
    second = math.sqrt(15 / (4 * pi))
    columns = [
        torch.full_like(x, math.sqrt(1 / (4 * pi))),
        first * y,
        first * z,
        first * x,
        second * x * y,
        second * y * z,
        math.sqrt(5 / (16 * pi)) * (3 * zz - 1),
        second * x * z,
        0.5 * second * (xx - yy),
        math.sqrt(35 / (32 * pi)) * y * (3 * xx - yy),
        math.sqrt(105 / (4 * pi)) * x * y * z,
        math.sqrt(21 / (32 * pi)) * y * (5 * zz - 1),
        math.sqrt(7 / (16 * pi)) * z * (5 * zz - 3),
        math.sqrt(21 / (32 * pi)) * x * (5 * zz - 1),
        math.sqrt(105 / (16 * pi)) * z * (xx - yy),
        math.sqrt(35 / (32 * pi)) * x * (xx - 3 * yy),
    ]
    return torch.stack(columns, dim=-1)


def band_openings(open_bands: float | None) -> list[float]:
    """How far each of the sixteen is open, 0 to 1: a band fades in by a cosine; None: all open."""
    reached = BANDS if open_bands is None else open_bands
    fades = [0.5 - 0.5 * math.cos(math.pi * min(max(reached - band, 0.0), 1.0)) for band in range(BANDS)]
    return [fade for band, fade in enumerate(fades) for _ in range(2 * band + 1)]


def encode_directions(directions: Float[Tensor, "n 3"], open_bands: float | None) -> Float[Tensor, "n 16"]:
    """Harmonics of unit directions, zero in the bands that are closed."""
    return spherical_harmonics(directions) * directions.new_tensor(band_openings(open_bands))
