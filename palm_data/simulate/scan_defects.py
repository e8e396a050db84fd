"""What goes wrong when a stereo rig reconstructs a hand: holes, bridges between fingers, floating pieces, noise."""

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import cKDTree

from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.identity import lattice_field
from palm_data.simulate.scan_surface import ScanSurface, finger_of_vertices
from palm_data.simulate.template import vertex_normals
from schemas.errors import GeometryError

_MIN_COSINE = 0.20
_MIN_EYES = 2
_LIFT_M = 3e-4
_WHITE_NOISE_M, _SMOOTH_NOISE_M, _SIDEWAYS_NOISE_M = 0.07e-3, 0.11e-3, 0.08e-3
_SMOOTH_NOISE_SCALE_MM = 4.0
_DROPOUTS = (3, 7)
_DROPOUT_RADIUS_M = (0.0012, 0.0030)
_FRAGMENTS = (3, 6)
_FRAGMENT_FACES = (10, 55)
_FRAGMENT_OFFSET_M = (0.010, 0.045)
_FUSE_GAP_M = (0.004, 0.012)
_FUSE_VERTICES = 60


def add_noise(surface: ScanSurface, rng: np.random.Generator) -> ScanSurface:
    """Measurement error: along the normal, partly shared with the neighbours, and a little sideways."""
    normals = vertex_normals(surface.vertices, surface.faces)
    along = _WHITE_NOISE_M * rng.standard_normal(len(normals))
    along += _SMOOTH_NOISE_M * lattice_field(surface.vertices, rng, scale_mm=_SMOOTH_NOISE_SCALE_MM)
    sideways = _SIDEWAYS_NOISE_M * rng.standard_normal(normals.shape)
    sideways -= np.einsum("ni,ni->n", sideways, normals)[:, None] * normals
    return ScanSurface(surface.vertices + along[:, None] * normals + sideways, surface.faces, surface.true_vertex)


def seen_faces(surface: ScanSurface, eyes: Float[ndarray, "eyes 3"]) -> Bool[ndarray, "f"]:
    """Faces that enough cameras see at an angle that stereo can use; the others are holes between the fingers."""
    corners = surface.vertices[surface.faces]
    centres = corners.mean(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    towards = eyes[None] - centres[:, None]
    distance = np.linalg.norm(towards, axis=2, keepdims=True)
    towards /= distance
    facing = np.einsum("nei,ni->ne", towards, normals) > _MIN_COSINE
    rows, which = np.nonzero(facing)
    starts = centres[rows] + _LIFT_M * normals[rows]
    hidden = SurfaceQuery(surface.vertices, surface.faces).hides(starts, towards[rows, which])
    return np.bincount(rows[~hidden], minlength=len(centres)) >= _MIN_EYES


def dropped_out(surface: ScanSurface, rng: np.random.Generator) -> Bool[ndarray, "f"]:
    """Faces inside a few small round spots where matching failed."""
    centres = surface.vertices[surface.faces].mean(axis=1)
    spots = centres[rng.integers(len(centres), size=rng.integers(*_DROPOUTS, endpoint=True))]
    distances = np.linalg.norm(centres[:, None] - spots[None], axis=2)
    return (distances < rng.uniform(*_DROPOUT_RADIUS_M, len(spots))).any(axis=1)


def largest_piece(surface: ScanSurface, min_faces: int) -> ScanSurface:
    """The surface without the crumbs that cutting holes leaves."""
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(surface.vertices), o3d.utility.Vector3iVector(surface.faces.astype(np.int32))
    )
    labels, counts, _ = mesh.cluster_connected_triangles()
    return surface.kept(np.asarray(counts)[np.asarray(labels)] >= min_faces)


def fused_fingers(surface: ScanSurface) -> ScanSurface:
    """The surface with two neighbouring fingers grown together where they are closest.

    Facing vertices of the two meet half way and become one; the walls between them go.

    Raises:
        GeometryError: if no two fingers come near each other: choose a gesture that holds them together.
    """
    finger = finger_of_vertices()[surface.true_vertex]
    normals = vertex_normals(surface.vertices, surface.faces)
    best: tuple[float, ndarray, ndarray] | None = None
    for one, other in ((1, 2), (2, 3), (3, 4)):
        left, right = np.flatnonzero(finger == one), np.flatnonzero(finger == other)
        gaps, nearest = map(np.asarray, cKDTree(surface.vertices[left]).query(surface.vertices[right]))
        facing = np.einsum("ni,ni->n", normals[right], normals[left[nearest]]) < -0.2
        gaps = np.where(facing, gaps, np.inf)
        reach = max(_FUSE_GAP_M[0], float(np.sort(gaps)[min(_FUSE_VERTICES, len(gaps) - 1)]))
        if best is None or reach < best[0]:
            chosen = gaps <= reach
            best = (reach, right[chosen], left[nearest[chosen]])
    if best is None or best[0] > _FUSE_GAP_M[1]:
        raise GeometryError(
            f"fused fingers: expected two fingers within {_FUSE_GAP_M[1] * 1e3:.0f} mm of each other, found none. "
            "Choose a gesture that holds them together."
        )
    return _merged(surface, best[1], best[2])


def _merged(surface: ScanSurface, moving: ndarray, onto: ndarray) -> ScanSurface:
    """Each vertex of `moving` becomes the vertex of `onto` beside it, half way between the two."""
    vertices = surface.vertices.copy()
    targets, which = np.unique(onto, return_inverse=True)
    partners = np.stack([np.bincount(which, vertices[moving, axis]) for axis in range(3)], axis=1)
    vertices[targets] = 0.5 * (vertices[targets] + partners / np.bincount(which)[:, None])
    rename = np.arange(len(vertices))
    rename[moving] = onto
    inside = np.zeros(len(vertices), bool)
    inside[moving] = inside[onto] = True
    faces = rename[surface.faces[~inside[surface.faces].all(axis=1)]]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return surface.renumbered(vertices, faces[np.sort(first)])


def fragments(surface: ScanSurface, rng: np.random.Generator) -> list[ScanSurface]:
    """A few small torn-off pieces that float near the hand."""
    corners = surface.vertices[surface.faces]
    centres = corners.mean(axis=1)
    middle = surface.vertices.mean(axis=0)
    tree = cKDTree(centres)
    pieces = []
    for _ in range(int(rng.integers(*_FRAGMENTS, endpoint=True))):
        place = centres[rng.integers(len(centres))]
        _, chosen = tree.query(place, k=int(rng.integers(*_FRAGMENT_FACES, endpoint=True)))
        piece = surface.kept(np.isin(np.arange(len(centres)), chosen))
        outwards = (place - middle) / np.linalg.norm(place - middle) + 0.6 * rng.standard_normal(3)
        offset = rng.uniform(*_FRAGMENT_OFFSET_M) * outwards / np.linalg.norm(outwards)
        crumpled = 0.4e-3 * rng.standard_normal(piece.vertices.shape)
        pieces.append(ScanSurface(piece.vertices + offset + crumpled, piece.faces, piece.true_vertex))
    return pieces
