"""A hand's surface as a triangle mesh: the zero level of the geometry network's SDF, in canonical space and posed.

Marching cubes (Lorensen and Cline 1987; here Lewiner's variant, as scikit-image has it) over the canonical cube. The
network is asked only in blocks near the person's canonical surface: a tenth of the cube, so that a fine mesh takes
seconds. A surface that leaves those blocks is cut open there.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor

from palm_data.registration.surface import MovingSurface
from palm_model.prior.network import PalmNet
from palm_model.prior.normals import carried_normals
from palm_model.prior.parts import Skinning
from palm_model.prior.poses import Poses
from palm_model.prior.skinning import surface_distance
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.errors import GeometryError

_BLOCK = 8
"""Cells of a block along each axis."""
_PART = 1 << 17
"""Points of one call of the network."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles wound outwards: seen from outside, their corners go round counterclockwise."""

    vertices: Float[ndarray, "v 3"]
    """Metres, canonical or world, float32."""
    normals: Float[ndarray, "v 3"]
    """Unit, outwards: the SDF's gradient, not the triangles' planes."""
    faces: Int[ndarray, "f 3"]

    def selected(self, chosen: Bool[ndarray, "f"]) -> "Mesh":
        """Some of its triangles, with the vertices that they use."""
        used, faces = np.unique(self.faces[chosen], return_inverse=True)
        return Mesh(self.vertices[used], self.normals[used], faces.reshape(-1, 3))

    def areas(self) -> Float[ndarray, "f"]:
        """Of each triangle, m²."""
        at = self.vertices[self.faces].astype(np.float64)
        return 0.5 * np.asarray(np.linalg.norm(np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]), axis=1))

    def volume(self) -> float:
        """Of what it encloses, m³: positive if it is wound outwards; of no meaning where it is open."""
        at = self.vertices[self.faces].astype(np.float64)
        return float(np.einsum("fx,fx->f", at[:, 0], np.cross(at[:, 1], at[:, 2])).sum() / 6.0)


class Component(NamedTuple):
    """A connected part of a mesh, beside a surface that it should be part of."""

    faces: int
    area_m2: float
    nearest_m: float
    """From the reference to the part's nearest vertex."""
    farthest_m: float


def canonical_mesh(
    network: PalmNet,
    poses: Poses,
    grids: SkinningGrids,
    *,
    resolution: int = 256,
    reach_m: float = 0.02,
    largest_only: bool = False,
) -> Mesh:
    """The surface that the network has for one hand, told its pose, its shape and its codes, in canonical space.

    Args:
        poses: one row.
        grids: of that row.
        resolution: nodes along a side of the canonical cube; 256 are about a millimetre apart.
        reach_m: how far from the person's canonical surface it is looked for.
        largest_only: leave out all but the component with the largest area.

    Raises:
        GeometryError: if there is no surface there.
    """
    cells = _cells(grids, poses, resolution, reach_m)
    spacing = 2.0 * grids.box.half_side / (resolution - 1)
    corner = grids.box.centre.double().cpu().numpy() - grids.box.half_side
    nodes = _corners_of(cells)
    at = torch.from_numpy(np.argwhere(nodes) * spacing + corner).to(poses.bones)
    volume = np.ones(nodes.shape, np.float32)
    volume[nodes] = signed_distances(network, at, poses).cpu().numpy()
    if not _crossed(volume, nodes):
        raise GeometryError(
            f"prior: expected a surface within {reach_m * 1e3:.0f} mm of the hand model's, found none. Train it further."
        )
    # scikit-image asks the mask at a cell's last corner.
    asked = np.zeros_like(nodes)
    asked[1:, 1:, 1:] = cells
    found, faces, _, _ = marching_cubes(volume, 0.0, spacing=(spacing,) * 3, mask=asked, allow_degenerate=False)
    vertices = (found.astype(np.float64) + corner).astype(np.float32)
    normals = gradients(network, torch.from_numpy(vertices).to(poses.bones), poses)
    unit = torch.nn.functional.normalize(normals, dim=-1).cpu().numpy()
    mesh = Mesh(vertices, unit, faces.astype(np.int64))
    return largest_component(mesh) if largest_only else mesh


def posed_mesh(mesh: Mesh, poses: Poses, skinning: Skinning) -> Mesh:
    """A canonical mesh in the world: vertices by eq. 3, normals by its inverse transposed Jacobian.

    Args:
        poses: one row: the hand for which the mesh was made, or, as an approximation, the same person in another pose.
        skinning: with the grid of that row.
    """
    points, normals = [], []
    with torch.no_grad():
        for begin in range(0, len(mesh.vertices), _PART):
            at, facing = (
                torch.from_numpy(one[begin : begin + _PART]).to(poses.bones) for one in (mesh.vertices, mesh.normals)
            )
            skinned = skinning.skinned(at, _first_row(at), poses)
            points.append(skinned.points.cpu().numpy())
            normals.append(carried_normals(facing, skinned.jacobian).cpu().numpy())
    return replace(mesh, vertices=np.concatenate(points), normals=np.concatenate(normals))


def largest_component(mesh: Mesh) -> Mesh:
    """The connected part with the largest area."""
    labels = _labels(mesh)
    return mesh.selected(labels == np.bincount(labels, weights=mesh.areas()).argmax())


def components(mesh: Mesh, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> tuple[Component, ...]:
    """The connected parts, the largest first, with their distances from a reference surface.

    Args:
        vertices: of the reference, metres, in the mesh's space.
        faces: of the reference.
    """
    labels, areas = _labels(mesh), mesh.areas()
    away = np.linalg.norm(mesh.vertices - MovingSurface(faces).at(vertices)(mesh.vertices).points, axis=1)
    found = []
    for label in range(int(labels.max(initial=-1)) + 1):
        own = labels == label
        apart = away[mesh.faces[own]]
        found.append(Component(int(own.sum()), float(areas[own].sum()), float(apart.min()), float(apart.max())))
    return tuple(sorted(found, key=lambda one: -one.area_m2))


def floaters(parts: tuple[Component, ...], off_m: float = 0.003) -> int:
    """How many components reach farther than `off_m` off the reference, the largest, which is the hand, not counted."""
    return sum(one.farthest_m > off_m for one in parts[1:])


def signed_distances(network: PalmNet, canonical: Float[Tensor, "n 3"], poses: Poses) -> Float[Tensor, "n"]:
    """What the network says of many canonical points of one hand, in parts, without gradients."""
    with torch.no_grad():
        parts = [network.signed_distance(part, _first_row(part), poses).sdf for part in canonical.split(_PART)]
    return torch.cat(parts)


def gradients(network: PalmNet, canonical: Float[Tensor, "n 3"], poses: Poses) -> Float[Tensor, "n 3"]:
    """The SDF's gradient at many canonical points of one hand, in parts."""
    with torch.no_grad():
        parts = [
            network.signed_distance(part, _first_row(part), poses, gradient=True).gradient
            for part in canonical.split(_PART)
        ]
    return torch.cat(parts)


def _first_row(points: Tensor) -> Int[Tensor, "n"]:
    return torch.zeros(len(points), dtype=torch.int64, device=points.device)


def _cells(grids: SkinningGrids, poses: Poses, resolution: int, reach_m: float) -> Bool[ndarray, "c c c"]:
    """The cells of blocks that come within reach of the canonical surface."""
    spacing, side = 2.0 * grids.box.half_side / (resolution - 1), resolution - 1
    count = -(-side // _BLOCK)
    steps = (torch.arange(count, dtype=torch.float32) + 0.5) * (_BLOCK * spacing) - grids.box.half_side
    middles = torch.cartesian_prod(steps, steps, steps).to(poses.bones) + grids.box.centre.to(poses.bones)
    reach = reach_m + 0.5 * np.sqrt(3.0) * _BLOCK * spacing
    near = surface_distance(grids, middles, _first_row(middles)) <= reach
    blocks = near.view(count, count, count).cpu().numpy()
    for axis in range(3):
        blocks = blocks.repeat(_BLOCK, axis=axis)
    return np.ascontiguousarray(blocks[:side, :side, :side])


def _corners_of(cells: Bool[ndarray, "c c c"]) -> Bool[ndarray, "r r r"]:
    """The nodes of cells."""
    side = len(cells)
    nodes = np.zeros((side + 1,) * 3, bool)
    for x, y, z in np.ndindex(2, 2, 2):
        nodes[x : x + side, y : y + side, z : z + side] |= cells
    return nodes


def _crossed(volume: Float[ndarray, "r r r"], nodes: Bool[ndarray, "r r r"]) -> bool:
    there = volume[nodes]
    return bool(there.size and there.min() < 0.0 < there.max())


def _labels(mesh: Mesh) -> Int[ndarray, "f"]:
    """Which connected part each triangle belongs to."""
    count = len(mesh.vertices)
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[mesh.faces[:, 0]], return_inverse=True)[1]
