"""Dense quadrature over directions: the reference that the estimators are held against."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from palm_model.prior.directions import from_frame, polar


class Grid(NamedTuple):
    directions: Tensor
    """(n, 3), float64."""
    solid: Tensor
    """(n,) solid angle of each, steradians."""


class Surface(NamedTuple):
    """A material of its own, to be sure that any with these three fields will do."""

    albedo: Tensor
    alpha: Tensor
    metallic: Tensor


def surface(albedo: tuple[float, float, float], alpha: float, metallic: float, count: int = 1) -> Surface:
    return Surface(
        torch.tensor([albedo], dtype=torch.float64).expand(count, 3),
        torch.full((count,), alpha, dtype=torch.float64),
        torch.full((count,), metallic, dtype=torch.float64),
    )


def hemisphere(normal: Tensor, rows: int = 200, columns: int = 256) -> Grid:
    """Gauss–Legendre in the cosine, even in azimuth, over the hemisphere about a normal."""
    places, weights = np.polynomial.legendre.leggauss(rows)
    cosine = torch.from_numpy(0.5 * (places + 1.0))[:, None].expand(rows, columns)
    azimuth = ((torch.arange(columns, dtype=torch.float64) + 0.5) * (2.0 * math.pi / columns)).expand(rows, columns)
    solid = torch.from_numpy(0.5 * weights)[:, None].expand(rows, columns) * (2.0 * math.pi / columns)
    directions = from_frame(polar(cosine, azimuth), normal.double()[None, None])
    return Grid(directions.reshape(-1, 3), solid.reshape(-1))


def sphere(rows: int = 200, columns: int = 256) -> Grid:
    up, down = (hemisphere(torch.tensor([0.0, 0.0, z]), rows, columns) for z in (1.0, -1.0))
    return Grid(torch.cat([up.directions, down.directions]), torch.cat([up.solid, down.solid]))


def at_angle(cosine: float, azimuth: float = 0.3) -> Tensor:
    """A unit vector at an angle from +z."""
    return polar(torch.tensor(cosine, dtype=torch.float64), torch.tensor(azimuth, dtype=torch.float64))


def random_directions(count: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    raw = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.nn.functional.normalize(raw, dim=-1)


def within_interval(samples: Tensor, truth: Tensor, sigmas: float = 4.0) -> None:
    """The mean over the first dimension (independent samples) lies within its confidence interval of the truth."""
    mean, error = samples.mean(dim=0), samples.std(dim=0) / math.sqrt(len(samples))
    away = ((mean - truth).abs() / error).max().item()
    assert away < sigmas, f"{mean} is {away:.1f} standard errors from {truth}"
