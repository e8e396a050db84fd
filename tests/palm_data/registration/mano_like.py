"""A hand with MANO's exact sizes (778 vertices, 1,538 faces, a rim of 16, its tip rows), made out of the shipped one.

Vertices are merged into neighbours, so that every array is a subset of the shipped model's rows.
"""

import heapq
from collections import defaultdict

import numpy as np
from scipy.sparse import csc_matrix

from palm_data.hand.mano_import import MANO_TIP_VERTICES
from palm_data.hand.model import HandModel
from tests.palm_data.hand.test_mano_import import Ch, Select

VERTICES, FACES, RIM = 778, 1538, 16


def mano_pickle(model: HandModel, kept: np.ndarray, faces: np.ndarray, merged_into: np.ndarray) -> dict[str, object]:
    """A dict with MANO's keys and types: the model reduced to some of its vertices.

    Args:
        kept: rows of the model, in the new order.
        faces: of the new rows.
        merged_into: for each of the model's rows, the kept row that stands for it.
    """
    shapedirs = np.asarray(model.shapedirs[kept], dtype=np.float64)
    place = np.zeros(len(model.v_template), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    regressor = np.zeros((16, len(kept)))
    np.add.at(regressor.T, place[merged_into], np.asarray(model.joint_regressor, dtype=np.float64).T)
    parents = np.where(model.parents < 0, 2**32 - 1, model.parents)
    return {
        "v_template": np.asarray(model.v_template[kept], dtype=np.float64),
        "f": faces.astype(np.uint32),
        "weights": np.asarray(model.weights[kept], dtype=np.float64),
        "shapedirs": Select(Ch(shapedirs), np.arange(shapedirs.size), shapedirs.shape),
        "posedirs": np.asarray(model.posedirs[kept], dtype=np.float64),
        "J_regressor": csc_matrix(regressor),
        "kintree_table": np.stack([parents, np.arange(16)]).astype(np.uint32),
        "J": regressor @ np.asarray(model.v_template[kept], dtype=np.float64),
        "hands_mean": np.asarray(model.hands_mean, dtype=np.float64),
        "hands_components": np.asfortranarray(model.hands_components, dtype=np.float64),
        "hands_coeffs": np.zeros((1554, 45)),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def whole(model: HandModel) -> dict[str, object]:
    """The model itself under MANO's keys."""
    rows = np.arange(len(model.v_template))
    return mano_pickle(model, rows, model.faces, rows)


def reduced(model: HandModel) -> dict[str, object]:
    """The model reduced to MANO's exact sizes, its tips at MANO's rows."""
    mesh = _Mesh(model)
    mesh.shrink(along_the_rim=True, count=len(model.rim_vertices()) - RIM)
    mesh.shrink(along_the_rim=False, count=len(mesh.around) - VERTICES)
    others = iter(sorted(set(mesh.around) - set(model.tip_vertex_ids)))
    tips = dict(zip(MANO_TIP_VERTICES, model.tip_vertex_ids, strict=True))
    kept = np.array([tips[row] if row in tips else next(others) for row in range(VERTICES)])
    place = np.zeros(len(model.v_template), dtype=np.int64)
    place[kept] = np.arange(VERTICES)
    return mano_pickle(model, kept, place[mesh.triangles()], mesh.merged_into())


class _Mesh:
    """A triangle mesh whose vertices can be merged into their neighbours."""

    def __init__(self, model: HandModel) -> None:
        self.points = model.v_template.astype(np.float64)
        self.faces = {number: tuple(face) for number, face in enumerate(model.faces.tolist())}
        self.around: dict[int, set[int]] = defaultdict(set)
        for number, face in self.faces.items():
            for vertex in face:
                self.around[vertex].add(number)
        self.rim, self.fixed = set(model.rim_vertices().tolist()), set(model.tip_vertex_ids)
        self.into = np.arange(len(self.points))

    def neighbours(self, vertex: int) -> set[int]:
        return {other for number in self.around[vertex] for other in self.faces[number]} - {vertex}

    def triangles(self) -> np.ndarray:
        return np.array([self.faces[number] for number in sorted(self.faces)])

    def merged_into(self) -> np.ndarray:
        roots = self.into
        while (roots != self.into[roots]).any():
            roots = self.into[roots]
        return roots

    def shrink(self, *, along_the_rim: bool, count: int) -> None:
        """Merge the vertices that are nearest to a neighbour; those of the rim only along it."""
        queue: list[tuple[float, int, int]] = []
        for vertex in sorted(self.around):
            self._offer(queue, vertex, along_the_rim)
        while count:
            _, gone, stays = heapq.heappop(queue)
            if gone in self.around and stays in self.around and self._may(gone, stays, along_the_rim):
                self._merge(gone, stays)
                count -= 1
                for vertex in sorted({stays, *self.neighbours(stays)}):
                    self._offer(queue, vertex, along_the_rim)

    def _offer(self, queue: list[tuple[float, int, int]], vertex: int, along_the_rim: bool) -> None:
        if vertex in self.fixed or (vertex in self.rim) is not along_the_rim:
            return
        for other in sorted(self.neighbours(vertex)):
            heapq.heappush(queue, (float(np.linalg.norm(self.points[vertex] - self.points[other])), vertex, other))

    def _may(self, gone: int, stays: int, along_the_rim: bool) -> bool:
        """Whether the mesh stays a disk (link condition) and no triangle turns over."""
        shared = self.around[gone] & self.around[stays]
        if not shared or len(shared) != (1 if along_the_rim else 2):
            return False
        if len(self.neighbours(gone) & self.neighbours(stays)) != len(shared):
            return False
        for number in self.around[gone] - shared:
            before = self._normal(self.faces[number])
            after = self._normal(tuple(stays if vertex == gone else vertex for vertex in self.faces[number]))
            if before @ after < 0.3 * np.linalg.norm(before) * np.linalg.norm(after) or not after.any():
                return False
        return True

    def _normal(self, face: tuple[int, ...]) -> np.ndarray:
        a, b, c = self.points[list(face)]
        return np.cross(b - a, c - a)

    def _merge(self, gone: int, stays: int) -> None:
        for number in self.around.pop(gone):
            if stays in self.faces[number]:
                for vertex in set(self.faces[number]) - {gone}:
                    self.around[vertex].discard(number)
                del self.faces[number]
            else:
                self.faces[number] = tuple(stays if vertex == gone else vertex for vertex in self.faces[number])
                self.around[stays].add(number)
        self.into[gone] = stays
        self.rim.discard(gone)
