"""Scans and fitted hands small enough to be turned by hand on a page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, UInt8
from numpy import ndarray

from palm_data.hand.model import HandModel
from palm_data.hand.posing import posed_vertices
from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.facts import ReleaseFacts
from palm_data.report.papers.tiles import Capture, captures_of, scores
from schemas.arrow import table_to_rows
from schemas.hand import HandRow

MAX_SHOWN = 3
MAX_VERTICES = 7000
_STEPS = 65535
_GROWTH = 1.2
_FACES_A_VERTEX = 2.3
"""A closed surface has two."""


@dataclass(frozen=True)
class Mesh:
    """A surface as the page's script reads it."""

    vertices: Float[ndarray, "vertices 3"]
    """Metres, world."""
    faces: Integer[ndarray, "faces 3"]
    colours: UInt8[ndarray, "vertices 3"] | None

    def packed(self, low: ndarray, span: float) -> dict[str, object]:
        """Base64 of uint16 coordinates (steps of span / 65535 from low), uint16 corners and uint8 colours."""
        steps = np.rint((self.vertices - low) / span * _STEPS).clip(0, _STEPS).astype("<u2")
        packed: dict[str, object] = {"v": _base64(steps), "f": _base64(self.faces.astype("<u2"))}
        return packed if self.colours is None else packed | {"c": _base64(self.colours)}


@dataclass(frozen=True)
class Exhibit:
    """One capture to look at from all sides."""

    capture: Capture
    scan: Mesh
    hand: Mesh | None

    def packed(self) -> dict[str, object]:
        """What the page's script reads."""
        points = self.scan.vertices if self.hand is None else np.concatenate([self.scan.vertices, self.hand.vertices])
        low, span = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-9)
        focus = (self.scan if self.hand is None else self.hand).vertices
        return {
            "name": f"{self.capture.subject_id} {self.capture.gesture}",
            "low": [round(float(value), 6) for value in low],
            "span": round(span, 6),
            "focus": [round(float(value), 6) for value in (focus.min(axis=0) + focus.max(axis=0)) / 2],
            "radius": round(float(np.linalg.norm(np.ptp(focus, axis=0))) / 2, 6),
            "scan": self.scan.packed(low, span),
            "hand": None if self.hand is None else self.hand.packed(low, span),
        }


def exhibits(facts: ReleaseFacts, arrays: Arrays, model: HandModel | None) -> Iterator[Exhibit]:
    """The best captures of a few gestures, each of another person if there are enough.

    Raises:
        IntegrityError: if a file of a scan is damaged.
    """
    hands = _hands(facts)
    for capture in chosen(facts):
        row = hands.get((capture.subject_id, capture.frame))
        hand = None
        if row is not None and model is not None:
            hand = Mesh(posed_vertices(model, row), model.faces, None)
        yield Exhibit(capture, _scan(capture, arrays), hand)


def chosen(facts: ReleaseFacts) -> list[Capture]:
    """Which captures are shown: best first, no gesture twice, nobody twice while there are others."""
    score = scores(facts)
    ordered = sorted(captures_of(facts), key=lambda one: -score.get((one.subject_id, one.frame), 0.0))
    picked: list[Capture] = []
    for fresh_person in (True, False):
        for capture in ordered:
            if len(picked) == MAX_SHOWN:
                return picked
            gestures, people = {one.gesture for one in picked}, {one.subject_id for one in picked}
            if capture.gesture not in gestures and not (fresh_person and capture.subject_id in people):
                picked.append(capture)
    return picked


def thinned(mesh: Mesh, most: int = MAX_VERTICES) -> Mesh:
    """The surface with the vertices in each cell of a cubic grid merged, the cells grown until few enough are left."""
    if _small(mesh, most):
        return mesh
    area = float(np.prod(np.sort(np.ptp(mesh.vertices, axis=0))[1:]))
    cell = max(float(np.sqrt(area / most)), 1e-6)
    while not _small(merged := _merged(mesh, cell), most):
        cell *= max(_GROWTH, float(np.sqrt(len(merged.faces) / (_FACES_A_VERTEX * most))))
    return merged


def _small(mesh: Mesh, most: int) -> bool:
    return len(mesh.vertices) <= most and len(mesh.faces) <= _FACES_A_VERTEX * most


def _merged(mesh: Mesh, cell: float) -> Mesh:
    """The surface with one vertex in each occupied cell, at the mean of those in it."""
    cells = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / cell).astype(np.int64)
    group, size = _same(cells)
    corners = group[mesh.faces]
    a, b, c = corners.T
    corners = corners[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(_keys(np.sort(corners, axis=1)), return_index=True)
    colours = None if mesh.colours is None else np.rint(_means(mesh.colours, group, size)).astype(np.uint8)
    return Mesh(_means(mesh.vertices, group, size), corners[np.sort(first)], colours)


def _same(rows: Integer[ndarray, "rows 3"]) -> tuple[Integer[ndarray, " rows"], Integer[ndarray, " groups"]]:
    """The group of equal rows that each is in, and the groups' sizes."""
    _, group, size = np.unique(_keys(rows), return_inverse=True, return_counts=True)
    return group.ravel(), size


def _keys(rows: Integer[ndarray, "rows 3"]) -> Integer[ndarray, " rows"]:
    """One number for each row of three that are not negative, the same for the same."""
    x, y, z = rows.astype(np.int64).T
    if not len(rows):
        return x
    return (x * (int(y.max()) + 1) + y) * (int(z.max()) + 1) + z


def _means(values: ndarray, group: ndarray, size: ndarray) -> Float[ndarray, "groups 3"]:
    return np.stack([np.bincount(group, weights=values[:, k].astype(np.float64)) / size for k in range(3)], axis=1)


def _scan(capture: Capture, arrays: Arrays) -> Mesh:
    subject_id, row = capture.subject_id, capture.row
    vertices = arrays.rows(subject_id, "scan/vertices", "scan/vertex_offsets", row).astype(np.float64)
    faces = arrays.rows(subject_id, "scan/faces", "scan/face_offsets", row)
    return thinned(Mesh(vertices, faces, _colours(capture, arrays, len(vertices), faces)))


def _colours(capture: Capture, arrays: Arrays, count: int, faces: ndarray) -> UInt8[ndarray, "vertices 3"] | None:
    """The texture's colour at each vertex; None if the scan has no texture."""
    subject_id, row = capture.subject_id, capture.row
    if not arrays.has(subject_id, "scan/texture"):
        return None
    height, width = (int(value) for value in arrays.all(subject_id, "scan/texture_sizes")[row])
    corners = arrays.rows(subject_id, "scan/uv_faces", "scan/uv_face_offsets", row)
    if not height or not width or corners.shape != faces.shape:
        return None
    texture = arrays.view(subject_id, "scan/texture", row, 0)
    uv = arrays.rows(subject_id, "scan/uv", "scan/uv_offsets", row)
    at = np.zeros((count, 2))
    at[faces.ravel()] = uv[corners.ravel()]
    x = np.clip((at[:, 0] * width).astype(np.int64), 0, width - 1)
    y = np.clip(((1.0 - at[:, 1]) * height).astype(np.int64), 0, height - 1)
    return texture[y, x]


def _hands(facts: ReleaseFacts) -> dict[tuple[str, int], HandRow]:
    if not facts.labelled:
        return {}
    shown = {(one.subject_id, one.frame) for one in chosen(facts)}
    table = facts.tables["hands"]
    keys = list(zip(table["subject_id"].to_pylist(), table["frame"].to_pylist(), strict=True))
    places = [at for at, key in enumerate(keys) if key in shown]
    return {(row.subject_id, row.frame): row for row in table_to_rows(HandRow, table.take(places))}


def _base64(values: ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
