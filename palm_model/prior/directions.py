"""Directions: frames about normals, patterns of uniform numbers, and maps from the unit square to the sphere."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

UNIFORM_SPHERE_PDF = 1.0 / (4.0 * math.pi)
_GOLDEN = math.pi * (3.0 - math.sqrt(5.0))


def dot(first: Float[Tensor, "*#n 3"], second: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*n"]:
    """The inner product of each pair."""
    return (first * second).sum(dim=-1)


def frame(normal: Float[Tensor, "*n 3"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n 3"]]:
    """Two unit vectors that make a right-handed frame with each unit normal, without a branch (Duff et al. 2017)."""
    x, y, z = normal.unbind(dim=-1)
    sign = torch.where(z >= 0, 1.0, -1.0).to(normal)
    scale = -1.0 / (sign + z)
    mixed = x * y * scale
    tangent = torch.stack([1.0 + sign * x * x * scale, sign * mixed, -sign * x], dim=-1)
    return tangent, torch.stack([mixed, sign + y * y * scale, -y], dim=-1)


def from_frame(local: Float[Tensor, "*#n 3"], normal: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*n 3"]:
    """Vectors given in the frame of a normal (third axis), in the world."""
    tangent, other = frame(normal)
    return local[..., :1] * tangent + local[..., 1:2] * other + local[..., 2:] * normal


def into_frame(vector: Float[Tensor, "*#n 3"], normal: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*n 3"]:
    """World vectors in the frame of a normal: the inverse of `from_frame`."""
    tangent, other = frame(normal)
    return torch.stack([dot(vector, tangent), dot(vector, other), dot(vector, normal)], dim=-1)


def polar(cosine: Float[Tensor, "*n"], azimuth: Float[Tensor, "*n"]) -> Float[Tensor, "*n 3"]:
    """Unit vectors at a polar angle (its cosine) about the third axis and an azimuth from the first to the second."""
    sine = torch.sqrt((1.0 - cosine * cosine).clamp(min=0.0))
    return torch.stack([sine * torch.cos(azimuth), sine * torch.sin(azimuth), cosine], dim=-1)


def uniform_sphere(uniform: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 3"]:
    """Directions with density 1/4π over the sphere."""
    return polar(1.0 - 2.0 * uniform[..., 0], 2.0 * math.pi * uniform[..., 1])


def cosine_hemisphere(uniform: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 3"]:
    """Directions about the third axis with density cosθ/π."""
    return polar(torch.sqrt(1.0 - uniform[..., 0]), 2.0 * math.pi * uniform[..., 1])


def fibonacci_sphere(count: int) -> Float[Tensor, "count 3"]:
    """`count` distinct directions, nearly evenly spread: a golden spiral from the top to the bottom."""
    number = torch.arange(count, dtype=torch.float64)
    return polar(1.0 - (2.0 * number + 1.0) / count, _GOLDEN * number).float()


def random_numbers(points: int, samples: int, generator: torch.Generator) -> Float[Tensor, "points samples 2"]:
    """Independent uniform numbers in [0, 1), on the generator's device."""
    return torch.rand(points, samples, 2, generator=generator, device=generator.device)


def stratified_numbers(
    points: int, rows: int, columns: int, generator: torch.Generator
) -> Float[Tensor, "points samples 2"]:
    """One uniform number in each cell of a `rows` × `columns` grid, for each point apart, in random order.

    Random order lets the samples be paired with anything else (points along a ray) without correlation.
    """
    device = generator.device
    samples = rows * columns
    order = torch.rand(points, samples, generator=generator, device=device).argsort(dim=1)
    cell = torch.stack([order // columns, order % columns], dim=-1)
    jitter = torch.rand(points, samples, 2, generator=generator, device=device)
    sides = torch.tensor([rows, columns], dtype=torch.float32, device=device)
    return ((cell + jitter) / sides).clamp(max=1.0 - 2.0**-24)
