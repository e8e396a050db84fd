"""How far a predicted surface is from the true hand, and which pieces of it float.

A surface is given as a mesh in the world, or is what one view's depth says. The wrist is where the hand ends and the
forearm goes on: points that are nearest to the forearm, or to skin close to it, are not measured.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from palm_data.evaluate.prior_scores import ViewRegion
from palm_data.maps.predicted import PredictedView
from palm_data.simulate.casting import SurfaceQuery
from schemas.camera import Camera
from schemas.prior_evaluation import PriorEvaluationSettings

_MM = 1000.0
_RIM_M = 0.006
_HAND = 0


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the world, metres."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]


@dataclass(frozen=True, eq=False)
class SurfaceScore:
    """Distances both ways, mm, and how many pieces float."""

    to_true_mm: Float[ndarray, " n"]
    from_true_mm: Float[ndarray, " m"]
    floaters: int


class TrueSurface:
    """A capture's true surface, ready to be asked."""

    def __init__(self, surface: dict[str, ndarray]) -> None:
        """Take a capture's `surface.npz`."""
        self._vertices, self._faces = surface["vertices"], surface["faces"]
        self._arm = surface["part"] != _HAND

    @cached_property
    def _query(self) -> SurfaceQuery:
        return SurfaceQuery(self._vertices, self._faces)

    @cached_property
    def _forearm(self) -> cKDTree | None:
        corners = np.unique(self._faces[self._arm])
        return cKDTree(self._vertices[corners]) if len(corners) else None

    @cached_property
    def hand(self) -> Float[ndarray, "n 3"]:
        """The hand's vertices away from the forearm."""
        corners = self._vertices[np.unique(self._faces[~self._arm])]
        return corners[self._off_forearm(corners)]

    def distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """To the surface, forearm included, metres."""
        return self._query.distance(points)

    def measured(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, "n"]:
        """Which points are nearest to the hand, away from the forearm."""
        if not len(points):
            return np.zeros(0, bool)
        face, weights = self._query.closest(points)
        nearest = np.einsum("nc,nci->ni", weights, self._vertices[self._faces[face]])
        return ~self._arm[face] & self._off_forearm(nearest)

    def _off_forearm(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, "n"]:
        if self._forearm is None or not len(points):
            return np.ones(len(points), bool)
        return np.asarray(self._forearm.query(points)[0] > _RIM_M)


def score_mesh(mesh: Mesh, true: TrueSurface, settings: PriorEvaluationSettings) -> SurfaceScore:
    """A mesh against the whole hand."""
    if not len(mesh.faces):
        return SurfaceScore(np.zeros(0), np.zeros(0), 0)
    distance = true.distance(mesh.vertices)
    back = SurfaceQuery(mesh.vertices, mesh.faces).distance(true.hand)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]]])
    floaters = _floating(edges, distance, settings.floater_mm / _MM, fewest=3)
    return SurfaceScore(distance[true.measured(mesh.vertices)] * _MM, back * _MM, floaters)


def score_depth(
    predicted: PredictedView, region: ViewRegion, true: TrueSurface, settings: PriorEvaluationSettings
) -> SurfaceScore:
    """The surface of one view's opaque pixels against the true one, and the true skin of the region against it."""
    solid = (predicted.opacity > settings.opaque) & (predicted.depth > 0)
    if not solid.any():
        return SurfaceScore(np.zeros(0), np.zeros(0), 0)
    points, step = unprojected(region.view.camera, predicted.depth), settings.depth_step_mm / _MM
    numbers = np.full(solid.shape, -1)
    numbers[solid] = np.arange(solid.sum())
    distance = np.zeros(solid.shape)
    distance[solid] = true.distance(points[solid])
    edges, limit = _neighbours(numbers, predicted.depth, step), settings.floater_mm / _MM
    floaters = _floating(edges, distance[solid], limit, fewest=settings.floater_px)
    inside = solid & region.pixels
    to_true = distance[inside][true.measured(points[inside])]
    faces, back = _quads(numbers, predicted.depth, step), np.zeros(0)
    there = region.pixels & (region.true.depth > 0)
    if len(faces) and there.any():
        skin = unprojected(region.view.camera, region.true.depth)[there]
        back = SurfaceQuery(points[solid], faces).distance(skin[true.measured(skin)])
    return SurfaceScore(to_true * _MM, back * _MM, floaters)


def unprojected(camera: Camera, depth: Float[ndarray, "height width"]) -> Float[ndarray, "height width 3"]:
    """World points (m) of the pixels' centres of an undistorted camera at their depths."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    across, down = np.meshgrid(x, y)
    in_camera = np.stack([across, down, np.ones_like(across)], axis=2) * depth[..., None].astype(np.float64)
    return (in_camera - np.asarray(camera.translation)) @ np.asarray(camera.rotation)


def _neighbours(numbers: Int[ndarray, "h w"], depth: ndarray, step: float) -> Int[ndarray, "edges 2"]:
    """Pairs of solid pixels side by side, or one above the other, whose depths differ by less than the step."""
    pairs = []
    for here, there in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        joined = (numbers[here] >= 0) & (numbers[there] >= 0) & (np.abs(depth[here] - depth[there]) < step)
        pairs.append(np.stack([numbers[here][joined], numbers[there][joined]], axis=1))
    return np.concatenate(pairs)


def _quads(numbers: Int[ndarray, "h w"], depth: ndarray, step: float) -> Int[ndarray, "faces 3"]:
    """Two triangles for each four neighbours whose depths differ by less than the step."""
    corners = (slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1)), (slice(1, None), slice(1, None))  # fmt: skip
    index = np.stack([numbers[one] for one in corners], axis=-1)
    depths = np.stack([depth[one] for one in corners], axis=-1)
    whole = (index >= 0).all(axis=-1) & (np.ptp(depths, axis=-1) < step)
    chosen = index[whole]
    return np.concatenate([chosen[:, [0, 2, 1]], chosen[:, [1, 2, 3]]])


def _floating(edges: Int[ndarray, "edges 2"], distance: Float[ndarray, "count"], limit_m: float, *, fewest: int) -> int:
    """Connected pieces of at least so many points, none of them nearer to the true surface than the limit."""
    count = len(distance)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    pieces, piece = connected_components(graph, directed=False)
    nearest = np.full(pieces, np.inf)
    np.minimum.at(nearest, piece, distance)
    return int(((nearest > limit_m) & (np.bincount(piece, minlength=pieces) >= fewest)).sum())
