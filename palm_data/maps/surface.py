"""What the maps need to know of a scan's surface: welded corners, pieces, smooth normals, rims."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, Integer
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from palm_data.maps.kernels import compiled

MIN_PIECE_SHARE = 0.01


@dataclass(frozen=True)
class Surface:
    """A mesh whose triangles share corners wherever their positions are the same."""

    vertices: Float[ndarray, "vertices 3"]
    """Metres, world."""
    faces: Int32[ndarray, "faces 3"]
    normals: Float[ndarray, "vertices 3"]
    """Unit, as the triangles are wound; 0 at a vertex without area."""
    rims: tuple[Int32[ndarray, "_"], ...]
    """Vertices of each connected border, longest first: the cut of the forearm, and holes."""
    dropped_pieces: int
    """Floating fragments that were left out."""


def build_surface(
    vertices: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    *,
    min_piece_share: float = MIN_PIECE_SHARE,
) -> Surface:
    """The scan's surface without its floating fragments.

    Args:
        vertices: metres, world.
        min_piece_share: pieces with a smaller share of the triangles are left out; the largest always stays.
    """
    points, triangles = weld(vertices, faces)
    triangles, dropped = large_pieces(len(points), triangles, min_piece_share)
    return Surface(
        vertices=points,
        faces=triangles,
        normals=vertex_normals(points, triangles),
        rims=rims(len(points), triangles),
        dropped_pieces=dropped,
    )


def weld(
    vertices: Float[ndarray, "vertices 3"], faces: Integer[ndarray, "faces 3"]
) -> tuple[Float[ndarray, "welded 3"], Int32[ndarray, "kept 3"]]:
    """One vertex for each position, and the triangles that still have three different corners.

    Formats that store UV with the vertex split it along seams; smooth normals and pieces need it whole.
    """
    order = np.lexsort(vertices.T)
    ordered = vertices[order]
    first = np.ones(len(vertices), dtype=bool)
    first[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    welded = np.zeros(len(vertices), dtype=np.int32)
    welded[order] = np.cumsum(first, dtype=np.int32) - 1
    triangles = welded[faces]
    a, b, c = triangles.T
    return ordered[first], triangles[(a != b) & (b != c) & (c != a)]


def large_pieces(
    vertices: int, faces: Int32[ndarray, "faces 3"], min_share: float
) -> tuple[Int32[ndarray, "kept 3"], int]:
    """The triangles of the connected pieces with at least a share of them, and how many pieces were left out."""
    if len(faces) == 0:
        return faces, 0
    start, end = np.concatenate([faces[:, 0], faces[:, 1]]), np.concatenate([faces[:, 1], faces[:, 2]])
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(vertices, vertices))
    _, piece_of_vertex = connected_components(graph, directed=False)
    piece = piece_of_vertex[faces[:, 0]]
    size = np.bincount(piece)
    keep = size >= min(min_share * len(faces), size.max())
    return faces[keep[piece]], int(np.count_nonzero((size > 0) & ~keep))


def rims(vertices: int, faces: Int32[ndarray, "faces 3"]) -> tuple[Int32[ndarray, "_"], ...]:
    """The connected borders, made of edges that only one triangle has, longest first: each one's vertices, sorted."""
    if len(faces) == 0:
        return ()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64), axis=1)
    keys, count = np.unique(edges[:, 0] * vertices + edges[:, 1], return_counts=True)
    start, end = np.divmod(keys[count == 1], vertices)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(vertices, vertices))
    _, piece = connected_components(graph, directed=False)
    on_rim = np.unique(np.concatenate([start, end])).astype(np.int32)
    pieces = [on_rim[piece[on_rim] == name] for name in np.unique(piece[on_rim])]
    return tuple(sorted(pieces, key=lambda rim: (-len(rim), int(rim[0]))))


def vertex_normals(
    vertices: Float[ndarray, "vertices 3"], faces: Int32[ndarray, "faces 3"]
) -> Float[ndarray, "vertices 3"]:
    """Area-weighted means of the face normals, unit length; 0 at a vertex without area."""
    return _vertex_normals(np.ascontiguousarray(vertices, dtype=np.float64), faces)


@compiled
def _vertex_normals(vertices: ndarray, faces: ndarray) -> ndarray:
    normals: ndarray = np.zeros(vertices.shape)
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for vertex in range(normals.shape[0]):
        length = np.sqrt(normals[vertex, 0] ** 2 + normals[vertex, 1] ** 2 + normals[vertex, 2] ** 2)
        if length > 0:
            for axis in range(3):
                normals[vertex, axis] /= length
    return normals
