"""Closest points between a scan and a posed hand, with what decides whether a pair counts."""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Int, Integer
from numpy import ndarray

from palm_data.maps.surface import Surface, vertex_normals

_ON_EDGE = 1e-3  # barycentric weight below which a point lies on the opposite edge


@dataclass(frozen=True)
class Closest:
    """Closest points on a mesh."""

    points: Float[ndarray, "queries 3"]
    normals: Float[ndarray, "queries 3"]
    """Interpolated, unit, outwards."""
    faces: Int[ndarray, " queries"]
    barycentric: Float[ndarray, "queries 3"]
    on_border: Bool[ndarray, " queries"]
    """The point lies on an edge that only one triangle has: a hole or the cut."""


class ClosestPoints:
    """A mesh that can be asked for its closest points."""

    def __init__(
        self,
        vertices: Float[ndarray, "vertices 3"],
        faces: Integer[ndarray, "faces 3"],
        normals: Float[ndarray, "vertices 3"],
        border: Bool[ndarray, "faces 3"],
    ) -> None:
        """Args: border: whether the edge opposite each corner of each face is a border."""
        self._vertices, self._faces, self._normals, self._border = vertices, faces, normals, border
        self._border_vertices = np.zeros(len(vertices), dtype=bool)
        for corner in range(3):
            self._border_vertices[np.delete(faces, corner, axis=1)[border[:, corner]]] = True
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, dtype=np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, dtype=np.uint32)),
        )

    def __call__(self, queries: Float[ndarray, "queries 3"]) -> Closest:
        """The closest point of each query; distances are exact to single precision."""
        tensor = o3d.core.Tensor.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))
        found = self._scene.compute_closest_points(tensor, nthreads=1)
        faces = found["primitive_ids"].numpy().astype(np.int64)
        uv = found["primitive_uvs"].numpy().astype(np.float64)
        barycentric = np.column_stack([1.0 - uv.sum(axis=1), uv])
        corners = self._faces[faces]
        normals = np.einsum("qk,qkc->qc", barycentric, self._normals[corners])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return Closest(
            points=np.einsum("qk,qkc->qc", barycentric, self._vertices[corners]),
            normals=normals,
            faces=faces,
            barycentric=barycentric,
            on_border=self._on_border(faces, barycentric),
        )

    def _on_border(
        self, faces: Int[ndarray, " queries"], barycentric: Float[ndarray, "queries 3"]
    ) -> Bool[ndarray, " queries"]:
        on_edge = ((barycentric < _ON_EDGE) & self._border[faces]).any(axis=1)
        # A corner on the border also belongs to triangles that have no border edge.
        at_corner = ((barycentric > 1 - _ON_EDGE) & self._border_vertices[self._faces[faces]]).any(axis=1)
        return on_edge | at_corner


def border_edges(faces: Integer[ndarray, "faces 3"]) -> Bool[ndarray, "faces 3"]:
    """Whether the edge opposite each corner belongs to one triangle only."""
    ends = np.sort(np.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], axis=1).reshape(-1, 2), axis=1)
    _, index, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    alone: Bool[ndarray, "faces 3"] = (counts[index] == 1).reshape(-1, 3)
    return alone


def closest_on_scan(scan: Surface) -> ClosestPoints:
    """The scan, prepared once per frame."""
    return ClosestPoints(scan.vertices, scan.faces, scan.normals, border_edges(scan.faces))


class MovingSurface:
    """The hand model's surface, whose vertices move while its faces stay."""

    def __init__(self, faces: Integer[ndarray, "faces 3"]) -> None:
        self.faces = np.asarray(faces, dtype=np.int32)
        self._border = border_edges(self.faces)

    def normals(self, vertices: Float[ndarray, "vertices 3"]) -> Float[ndarray, "vertices 3"]:
        """Unit vertex normals, outwards."""
        return vertex_normals(vertices, self.faces)

    def at(self, vertices: Float[ndarray, "vertices 3"]) -> ClosestPoints:
        """The surface with its vertices there; building it costs less than one query."""
        return ClosestPoints(vertices, self.faces, self.normals(vertices), self._border)


def sample_surface(
    surface: Surface, count: int, seed: int
) -> tuple[Float[ndarray, "count 3"], Float[ndarray, "count 3"]]:
    """Points spread evenly over a surface, and its normals there; the same for the same seed."""
    rng = np.random.default_rng(seed)
    corners = surface.vertices[surface.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    edges = np.cumsum(areas)
    # One draw in each of `count` equal strata of area: evenly spread without a search for neighbours.
    draws = (np.arange(count) + rng.random(count)) / count * edges[-1]
    faces = np.minimum(np.searchsorted(edges, draws), len(areas) - 1)
    root, other = np.sqrt(rng.random(count)), rng.random(count)
    barycentric = np.column_stack([1 - root, root * (1 - other), root * other])
    points = np.einsum("nk,nkc->nc", barycentric, corners[faces])
    normals = np.einsum("nk,nkc->nc", barycentric, surface.normals[surface.faces[faces]])
    return points, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
