"""The mesh that every captured person shares: hand model plus forearm, its texture layout, and its fine subdivision.

The hand model's texture coordinates fill a few per cent of the unit square (they come from a whole body's layout), so
they are packed anew: the large chart takes the left and lower part, the wrist's small chart and the forearm go where
that leaves room. `model_uv` keeps the old coordinates of each new one, for images made for the old layout.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from palm_data.hand.model import HandModel, load_hand_model
from palm_data.simulate.anatomy import Anatomy, hand_anatomy
from palm_data.simulate.forearm import bend_weights, forearm_topology, forearm_vertices
from schemas.errors import GeometryError

SUBDIVISIONS = 2
_CHART_BOXES = (((0.01, 0.01), (0.99, 0.96)), ((0.02, 0.03), (0.12, 0.32)))
"""Where the model's charts go, largest first: low and high corners."""
_PHONG_STRENGTH = 0.5
"""At one half, points between vertices of a sphere come to lie on it (to second order)."""


@dataclass(frozen=True, eq=False)
class CaptureTemplate:
    """Topology and attributes common to all captured people. Read-only."""

    model: HandModel
    anatomy: Anatomy
    base_vertices: Float[ndarray, "base 3"]
    """Mean hand at rest, forearm and cap included, metres; the model's vertices come first."""
    base_faces: Int[ndarray, "base_faces 3"]
    base_uv: Float[ndarray, "base_uvs 2"]
    base_uv_faces: Int[ndarray, "base_faces 3"]
    model_uv: Float[ndarray, "base_uvs 2"]
    """The hand model's own texture coordinates of each row of `base_uv`; NaN on the forearm."""
    base_weights: Float[ndarray, "base 17"]
    """The model's 16 joints, then the forearm bone."""
    refine: sparse.csr_matrix
    """Dense vertices as means of base vertices (dense × base); the base vertices come first."""
    faces: Int[ndarray, "faces 3"]
    uv: Float[ndarray, "uvs 2"]
    uv_faces: Int[ndarray, "faces 3"]
    base_face: Int[ndarray, "faces"]
    """The base face that each dense face lies in."""
    hand_face: Bool[ndarray, "base_faces"]
    cap_face: Bool[ndarray, "base_faces"]

    @property
    def hand_vertex_count(self) -> int:
        """Vertices of the hand model, which are the first of the base and of the dense mesh."""
        return len(self.model.v_template)

    def with_forearm(self, hand: Float[ndarray, "hand 3"]) -> Float[ndarray, "base 3"]:
        """The base mesh of a hand of another shape, with an arm that fits its wrist."""
        arm = forearm_vertices(hand[self.model.rim_vertices()], -self.anatomy.distal)
        return np.concatenate([hand, arm])

    def smooth(self, base: Float[ndarray, "base 3"]) -> Float[ndarray, "vertices 3"]:
        """Dense vertices on a rounded surface through the base vertices.

        Phong tessellation (Boubekeur and Alexa, SIGGRAPH Asia 2008).
        """
        normals = vertex_normals(base, self.base_faces)
        flat = self.refine @ base
        rows = np.repeat(np.arange(len(flat)), np.diff(self.refine.indptr))
        corner = self.refine.indices
        heights = np.einsum("ni,ni->n", flat[rows] - base[corner], normals[corner])
        pulls = (self.refine.data * heights)[:, None] * normals[corner]
        moved = np.stack([np.bincount(rows, pulls[:, axis], len(flat)) for axis in range(3)], axis=1)
        return flat - _PHONG_STRENGTH * moved

    def vertices_of(self, base_faces: Bool[ndarray, "base_faces"]) -> Bool[ndarray, "vertices"]:
        """Dense vertices that touch a dense face inside the chosen base faces."""
        chosen = np.zeros(self.refine.shape[0], bool)
        chosen[self.faces[base_faces[self.base_face]]] = True
        return chosen


@lru_cache(maxsize=1)
def capture_template() -> CaptureTemplate:
    """The template on the shipped hand model.

    Raises:
        GeometryError: if the shipped model lacks texture coordinates.
    """
    model = load_hand_model()
    if model.vt is None or model.ft is None:
        raise GeometryError(f"hand model {model.model_id}: expected texture coordinates (vt, ft), found none.")
    anatomy = hand_anatomy(model)
    hand = np.asarray(model.v_template, np.float64)
    rim = model.rim_vertices()
    arm = forearm_topology(rim, len(hand))
    packed = _pack_charts(np.asarray(model.vt, np.float64), model.ft)
    base_faces = np.concatenate([model.faces, arm.faces])
    base_uv = np.concatenate([packed, arm.uv])
    base_uv_faces = np.concatenate([model.ft, arm.uv_faces + len(packed)])
    base_vertices = np.concatenate([hand, forearm_vertices(hand[rim], -anatomy.distal)])
    refine, faces = _subdivision(base_faces, len(base_vertices))
    uv_refine, uv_faces = _subdivision(base_uv_faces, len(base_uv))
    bend = bend_weights(len(rim))
    weights = np.zeros((len(base_vertices), 17))
    weights[: len(hand), :16] = model.weights
    weights[len(hand) :, 0], weights[len(hand) :, 16] = 1.0 - bend, bend
    cap_face = np.zeros(len(base_faces), bool)
    cap_face[len(model.faces) + arm.cap] = True
    return CaptureTemplate(
        model=model,
        anatomy=anatomy,
        base_vertices=base_vertices,
        base_faces=base_faces,
        base_uv=base_uv,
        base_uv_faces=base_uv_faces,
        model_uv=np.concatenate([np.asarray(model.vt, np.float64), np.full((len(arm.uv), 2), np.nan)]),
        base_weights=weights,
        refine=refine,
        faces=faces,
        uv=uv_refine @ base_uv,
        uv_faces=uv_faces,
        base_face=np.repeat(np.arange(len(base_faces)), 4**SUBDIVISIONS),
        hand_face=np.arange(len(base_faces)) < len(model.faces),
        cap_face=cap_face,
    )


def vertex_normals(vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "m 3"]) -> Float[ndarray, "n 3"]:
    """Unit normals, the mean of the adjacent faces' by area."""
    corners = vertices[faces]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.ravel()
    summed = np.stack([np.bincount(flat, np.repeat(crossed[:, axis], 3), len(vertices)) for axis in range(3)], axis=1)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-30)


def _pack_charts(uv: ndarray, uv_faces: ndarray) -> ndarray:
    """Each chart scaled, without distortion, into its box."""
    links = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(links)), links.T), shape=(len(uv), len(uv)))
    count, chart = connected_components(graph, directed=False)
    if count > len(_CHART_BOXES):
        raise GeometryError(f"hand model texture: expected at most {len(_CHART_BOXES)} charts, found {count}.")
    packed = np.empty_like(uv)
    order = np.argsort(-np.bincount(chart), kind="stable")
    for which, (low, high) in zip(order, _CHART_BOXES, strict=False):
        rows = chart == which
        corner, extent = uv[rows].min(axis=0), np.ptp(uv[rows], axis=0)
        scale = ((np.array(high) - np.array(low)) / extent).min()
        packed[rows] = np.array(low) + (uv[rows] - corner) * scale
    return packed


def _subdivision(faces: ndarray, count: int) -> tuple[sparse.csr_matrix, ndarray]:
    """Midpoint subdivision as (matrix from base to dense vertices, dense faces); old vertices keep their rows."""
    matrix = sparse.identity(count, format="csr")
    for _ in range(SUBDIVISIONS):
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        unique, which = np.unique(edges, axis=0, return_inverse=True)
        rows = np.repeat(np.arange(len(unique)), 2)
        halves = sparse.csr_matrix((np.full(len(rows), 0.5), (rows, unique.ravel())), shape=(len(unique), count))
        first, second, third = count + which.reshape(-1, 3).T
        a, b, c = faces.T
        faces = np.stack([a, first, third, first, b, second, third, second, c, first, second, third], axis=1)
        faces = faces.reshape(-1, 3)
        matrix = sparse.vstack([matrix, halves @ matrix], format="csr")
        count += len(unique)
    matrix.sort_indices()
    return matrix, faces
