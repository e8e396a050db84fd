"""The shell about a registered surface along rays: where it is, and how far off the surface.

The surface is given by points evenly over it with their faces' normals. A ray meets the ball about a point in closed
form, so no ray slips through, also not one that only grazes; in short lengths of the ray (bins) the signed distance
is the mean of the distances from the points' tangent planes, nearer points counting more (implicit moving least
squares: Kolluri, "Provably good moving least squares", 2005).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree
from torch import Tensor

from palm_model.prior.shell_kernels import Bins, Places, fill_bins
from schemas.prior_volume import GuidedSampling

_SLIVER_M2 = 1e-9
"""Faces of less than half of this have no normal worth the name; their neighbours stand for them."""


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """k points on a mesh, wherever its vertices go."""

    corners: Int[Tensor, "k 3"]
    """Vertices of each point's face."""
    barycentric: Float[Tensor, "k 3"]

    def __len__(self) -> int:
        return len(self.corners)

    def to(self, device: torch.device | str) -> "SurfacePoints":
        """The same points on a device."""
        return SurfacePoints(self.corners.to(device), self.barycentric.to(device))

    def of(self, vertices: Float[Tensor, "v 3"]) -> tuple[Float[Tensor, "k 3"], Float[Tensor, "k 3"]]:
        """The points, metres, and unit normals of their faces."""
        at = vertices[self.corners]
        normals = torch.linalg.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
        return torch.einsum("kc,kcx->kx", self.barycentric, at), torch.nn.functional.normalize(normals, dim=-1)


def surface_points(vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], spacing_m: float) -> SurfacePoints:
    """Points such that no part of the surface is farther than about `spacing_m` from one.

    They are chosen on the mesh as given (a flat hand); where skin stretches they are farther apart.
    """
    at = vertices[faces].astype(np.float64)
    doubled = np.linalg.norm(np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]), axis=1)
    faces, at = faces[doubled > _SLIVER_M2], at[doubled > _SLIVER_M2]
    longest = np.linalg.norm(at - np.roll(at, 1, axis=1), axis=2).max(axis=1)
    parts = np.maximum(np.ceil(2.0 * longest / spacing_m).astype(int), 1)
    face = np.concatenate([np.full(n * n, row) for row, n in enumerate(parts)])
    weights = np.concatenate([_centroids(n) for n in parts])
    places = np.einsum("kc,kcx->kx", weights, at[face])
    near = cKDTree(places).query_ball_point(places, 0.7 * spacing_m)  # the rest: how far the surface is from candidates
    free, chosen = np.ones(len(places), bool), []
    for candidate, covered in enumerate(near):
        if free[candidate]:
            chosen.append(candidate)
            free[covered] = False
    corners = torch.as_tensor(faces[face[chosen]].astype(np.int64))
    return SurfacePoints(corners, torch.as_tensor(weights[chosen].astype(np.float32)))


def _centroids(parts: int) -> Float[ndarray, "k 3"]:
    """Of the parts² equal triangles that a triangle is cut into; barycentric."""
    up = [(i, j, 1) for i in range(parts) for j in range(parts - i)]
    down = [(i, j, 2) for i in range(parts - 1) for j in range(parts - 1 - i)]
    first = np.array([[i + part / 3.0, j + part / 3.0] for i, j, part in up + down]) / parts
    return np.concatenate([first, 1.0 - first.sum(axis=1, keepdims=True)], axis=1)


@dataclass(frozen=True, eq=False)
class ShellBins:
    """Rays in b bins each."""

    start: Float[Tensor, "n"]
    """Distance at which a ray's first bin begins, metres."""
    length: Float[Tensor, "n"]
    """Of each of its bins, metres."""
    inside: Bool[Tensor, "n b"]
    """Bins whose middle is in the shell."""
    signed: Float[Tensor, "n b"]
    """Distance from the surface, metres, negative inside; zero where nothing is near."""


class _Near(NamedTuple):
    """Rays and surface points, metres from the points' centre: near to both, for precision."""

    middle: Float[Tensor, "n"]
    """How far along each ray the centre is nearest."""
    nearest: Float[Tensor, "n 3"]
    """That place."""
    points: Float[Tensor, "k 3"]


def shell_along(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    surface: tuple[Float[Tensor, "k 3"], Float[Tensor, "k 3"]],
    settings: GuidedSampling,
) -> ShellBins:
    """Where rays are in the shell of one surface, from its points and normals; by a compiled loop on CPU."""
    if origins.device.type != "cpu" or origins.dtype != torch.float32:
        return plain_shell_along(origins, directions, surface, settings)
    near, radius = _near(origins, directions, surface[0]), _radius(settings)
    count = len(origins)
    start, length = torch.zeros(count), torch.full((count,), settings.bin_m)
    inside, signed = torch.zeros(count, settings.bins, dtype=torch.bool), torch.zeros(count, settings.bins)
    rows = [one.detach().T.contiguous().numpy() for one in (near.nearest, directions, near.points, surface[1])]
    nearest, towards, points, normals = rows
    fill_bins(
        Places(nearest, towards, near.middle.detach().contiguous().numpy(), points, normals),
        np.float32(radius),
        np.float32(settings.shell_m),
        Bins(start.numpy(), length.numpy(), inside.numpy(), signed.numpy()),
    )
    return ShellBins(start + near.middle, length, inside, signed)


def _near(origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], points: Float[Tensor, "k 3"]) -> _Near:
    centre = points.mean(dim=0)
    middle = torch.einsum("nx,nx->n", centre - origins, directions)
    return _Near(middle, origins + middle[:, None] * directions - centre, points - centre)


def _radius(settings: GuidedSampling) -> float:
    """Of the balls about the points: no part of the shell is outside of all."""
    return math.hypot(settings.shell_m, 1.5 * settings.spacing_m)


def plain_shell_along(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    surface: tuple[Float[Tensor, "k 3"], Float[Tensor, "k 3"]],
    settings: GuidedSampling,
) -> ShellBins:
    """The same in torch, on any device."""
    (middle, nearest, points), normals = _near(origins, directions, surface[0]), surface[1]
    radius = _radius(settings)
    along = directions @ points.T
    apart = torch.addmm((points**2).sum(dim=-1), nearest, points.T, alpha=-2.0).addcmul_(along, along, value=-1.0)
    beside = (nearest**2).sum(dim=-1)
    ray, point = (apart < (radius**2 - beside)[:, None]).nonzero(as_tuple=True)
    at, off = along[ray, point], (apart[ray, point] + beside[ray]).clamp(min=0.0)
    first = at - (radius**2 - off).sqrt()

    count, bins = len(origins), settings.bins
    start = torch.full_like(middle, torch.inf).scatter_reduce(0, ray, first, "amin")
    stop = torch.full_like(middle, -torch.inf).scatter_reduce(0, ray, 2.0 * at - first, "amax")
    met = stop > start
    start = torch.where(met, torch.maximum(start, -middle), middle.new_zeros(()))
    length = ((stop - start) / bins).clamp(min=settings.bin_m).where(met, middle.new_full((), settings.bin_m))

    offsets = torch.arange(math.ceil(2.0 * radius / settings.bin_m) + 1, device=ray.device)
    bin_of = ((first - start[ray]) / length[ray]).floor()[:, None] + offsets
    place = start[ray, None] + (bin_of + 0.5) * length[ray, None]
    weight = (1.0 - (off[:, None] + (place - at[:, None]) ** 2) / radius**2).clamp(min=0.0) ** 2
    weight = weight * ((bin_of >= 0) & (bin_of < bins))
    normal = normals[point]
    height = ((nearest[ray] - points[point]) * normal).sum(-1)[:, None] + place * (directions[ray] * normal).sum(-1)[
        :, None
    ]
    cell = (ray[:, None] * bins + bin_of.clamp(0, bins - 1).long()).flatten()
    total = weight.new_zeros(count * bins).scatter_add(0, cell, weight.flatten()).view(count, bins)
    signed = weight.new_zeros(count * bins).scatter_add(0, cell, (weight * height).flatten()).view(count, bins)
    signed = signed / total.clamp(min=torch.finfo(total.dtype).tiny)
    inside = (total > 0) & (signed.abs() <= settings.shell_m)
    return ShellBins(start + middle, length, inside, signed)
