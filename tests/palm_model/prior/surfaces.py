"""Surfaces of which everything is known, and the hand's, for the tests of volume rendering."""

import functools
import math

import numpy as np
import torch
from skimage.measure import marching_cubes
from torch import Tensor

from palm_model.prior.poses import Poses
from palm_model.prior.volume import Rays


def icosphere(radius: float, rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on a sphere about the origin, and faces wound outwards."""
    golden = (1.0 + math.sqrt(5.0)) / 2.0
    base = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    corners = np.array(base + [(z, x, y) for x, y, z in base] + [(y, z, x) for x, y, z in base], float)
    gaps = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    near = np.abs(gaps - 2.0) < 1e-9
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] & near[j, k] & near[i, k]
    ]
    triangles = corners[np.array(faces)]
    for _ in range(rounds):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        triangles = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    outwards = np.einsum(
        "fx,fx->f", np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), triangles.mean(1)
    )
    triangles[outwards < 0] = triangles[outwards < 0][:, ::-1]
    triangles *= radius / np.linalg.norm(triangles, axis=-1, keepdims=True)
    return triangles.reshape(-1, 3).astype(np.float32), np.arange(3 * len(triangles)).reshape(-1, 3)


def standing(vertices: Tensor, *, subject: Tensor | None = None) -> Poses:
    """Surfaces (p, v, 3) whose sixteen bones leave canonical space where it is."""
    count = len(vertices)
    return Poses(
        bones=torch.eye(4).expand(count, 16, 4, 4).clone(),
        full_pose=torch.zeros(count, 48),
        betas=torch.zeros(count, 10),
        subject=torch.zeros(count, dtype=torch.long) if subject is None else subject,
        vertices=vertices,
    )


def rays_at(targets: Tensor, directions: Tensor, *, pose: Tensor | None = None, from_m: float = 0.5) -> Rays:
    """Rays in given directions that go through targets after `from_m` metres."""
    directions = torch.nn.functional.normalize(directions, dim=-1)
    rows = torch.zeros(len(targets), dtype=torch.long) if pose is None else pose
    return Rays(targets - from_m * directions, directions, rows)


def random_rays(centre: Tensor, reach_m: float, count: int, seed: int = 0) -> Rays:
    """Rays of any direction that pass within `reach_m` of a centre."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, 3, generator=random)
    targets = centre + reach_m * (2.0 * torch.rand(count, 3, generator=random) - 1.0)
    return rays_at(targets, directions)


def laplace_density(sdf: Tensor, beta: float) -> Tensor:
    """VolSDF's density: the scaled distribution function of Laplace's law."""
    half = 0.5 * torch.exp(-sdf.abs() / beta)
    return torch.where(sdf > 0, half, 1.0 - half) / beta


def capsules(points: Tensor) -> Tensor:
    """Exact distance, outside, from a small hand of capsules about the origin, its fingers along +x and close to touching."""
    ends = torch.tensor(
        [[[0.0, y, 0.0], [0.05, y, 0.0]] for y in (-0.027, -0.009, 0.009, 0.027)]
        + [[[-0.04, y, 0.0], [0.0, y, 0.0]] for y in (-0.02, 0.0, 0.02)]
        + [[[-0.02, -0.025, 0.0], [0.02, -0.02, 0.03]]],
        dtype=points.dtype,
    )
    radii = points.new_tensor([0.0085] * 4 + [0.012] * 3 + [0.009])
    a, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    offset = points[..., None, :] - a
    share = ((offset * along).sum(-1) / (along**2).sum(-1)).clamp(0.0, 1.0)
    return (torch.linalg.vector_norm(offset - share[..., None] * along, dim=-1) - radii).amin(dim=-1)


@functools.cache
def capsule_mesh() -> tuple[np.ndarray, np.ndarray]:
    """Its surface, to about a tenth of a millimetre."""
    axes = [torch.arange(low, high, 0.003) for low, high in ((-0.06, 0.066), (-0.045, 0.045), (-0.02, 0.046))]
    field = capsules(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))
    vertices, faces, _, _ = marching_cubes(field.numpy(), 0.0, spacing=(0.003,) * 3)
    vertices = vertices + np.array([float(axis[0]) for axis in axes])
    return vertices.astype(np.float32), np.ascontiguousarray(faces).astype(np.int64)
