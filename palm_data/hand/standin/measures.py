"""The five ANSUR II hand dimensions, taken on the mesh.

Landmarks and sections are found once, on the base hand, and then move with the surface, so that a measure is a
smooth function of shape. Hand and palm length start at the wrist joint, our stand-in for the stylion landmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from palm_data.hand.standin.cut import HandMesh
from palm_data.hand.standin.frame import HandPoints
from schemas.errors import GeometryError

MEASURES = ("handlength", "palmlength", "handbreadth", "handcircumference", "wristcircumference")
"""ANSUR II's column names."""
_WRIST, _INDEX1, _MIDDLE1, _PINKY1, _RING1 = 0, 1, 4, 7, 10
_MIDDLE_TIP = 2
_WEB_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class Section:
    """A closed loop of points on mesh edges: vertex a + share · (b − a)."""

    a: Int[np.ndarray, "points"]
    b: Int[np.ndarray, "points"]
    share: Float[np.ndarray, "points 1"]

    def loop(self, vertices: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "points 3"]:
        """Where the loop runs on a reshaped surface, metres."""
        return vertices[self.a] + self.share * (vertices[self.b] - vertices[self.a])

    def length(self, vertices: Float[np.ndarray, "vertices 3"]) -> float:
        """Length of the loop, metres."""
        loop = self.loop(vertices)
        return float(np.linalg.norm(np.roll(loop, -1, axis=0) - loop, axis=1).sum())


@dataclass(frozen=True, eq=False)
class Tape:
    """Measures any shape of one hand mesh."""

    knuckles: Section
    wrist: Section
    across: tuple[int, int]
    """Points of the knuckle section at its thumb and little-finger side."""
    webs: tuple[int, int]
    """Vertices at the bottom of the gaps on both sides of the middle finger."""
    tip: int

    def measure(self, hand: HandPoints) -> Float[np.ndarray, "5"]:
        """The dimensions in the order of `MEASURES`, millimetres."""
        knuckles = self.knuckles.loop(hand.vertices)
        middle = hand.joints[[_WRIST, _MIDDLE1, _MIDDLE1 + 1, _MIDDLE1 + 2]]
        straight = np.vstack([middle, hand.vertices[self.tip]])
        finger_base = hand.vertices[list(self.webs)].mean(axis=0)
        metres = [
            np.linalg.norm(np.diff(straight, axis=0), axis=1).sum(),
            np.linalg.norm(finger_base - hand.joints[_WRIST]),
            np.linalg.norm(knuckles[self.across[0]] - knuckles[self.across[1]]),
            self.knuckles.length(hand.vertices),
            self.wrist.length(hand.vertices),
        ]
        return np.array(metres) * 1e3


def lay_tape(hand: HandPoints, mesh: HandMesh) -> Tape:
    """Find the landmarks on a hand in its own frame.

    Raises:
        GeometryError: if a section misses the hand.
    """
    joints = hand.joints
    along = joints[_INDEX1] - joints[_PINKY1]
    palm_normal = np.array([0.0, 1.0, 0.0])
    knuckle_plane = np.cross(along, palm_normal)
    knuckles = cut_section(hand.vertices, mesh.faces, joints[_MIDDLE1], knuckle_plane)
    wrist = cut_section(hand.vertices, mesh.faces, joints[_WRIST], np.array([1.0, 0.0, 0.0]))
    reach = knuckles.loop(hand.vertices) @ along
    return Tape(
        knuckles=knuckles,
        wrist=wrist,
        across=(int(reach.argmax()), int(reach.argmin())),
        webs=(_web(hand, mesh, _INDEX1), _web(hand, mesh, _RING1)),
        tip=int(mesh.tips[_MIDDLE_TIP]),
    )


def _web(hand: HandPoints, mesh: HandMesh, neighbour: int) -> int:
    """The most distal vertex that both the middle finger and its neighbour move."""
    shared = np.minimum(mesh.weights[:, _MIDDLE1], mesh.weights[:, neighbour]) > _WEB_WEIGHT
    rows = np.flatnonzero(shared)
    return int(rows[hand.vertices[rows, 0].argmin()])


def cut_section(vertices: np.ndarray, faces: np.ndarray, point: np.ndarray, normal: np.ndarray) -> Section:
    """The loop in which a plane cuts the surface around a point.

    Raises:
        GeometryError: if no closed loop lies around the point.
    """
    height = (vertices - point) @ normal
    neighbours: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for triangle in faces[np.ptp(np.sign(height[faces]), axis=1) > 0].tolist():
        ends = [
            (min(a, b), max(a, b))
            for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True)
            if height[a] * height[b] < 0
        ]
        for one, other in (ends, ends[::-1]):
            neighbours.setdefault(one, []).append(other)
    loops = [_as_section(loop, height) for loop in _walk(neighbours)]
    if not loops:
        raise GeometryError("hand section: expected the plane to cut the hand in a closed loop, found none.")
    return min(loops, key=lambda loop: float(np.linalg.norm(loop.loop(vertices).mean(axis=0) - point)))


def _walk(neighbours: dict[tuple[int, int], list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """The closed loops of a graph in which every node has two neighbours."""
    loops, seen = [], set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        loop, step = [start], neighbours[start][0]
        while step != start:
            loop.append(step)
            following = [node for node in neighbours[step] if node != loop[-2]]
            if not following:
                break
            step = following[0]
        seen.update(loop)
        if step == start:
            loops.append(loop)
    return loops


def _as_section(loop: Sequence[tuple[int, int]], height: np.ndarray) -> Section:
    a, b = np.array(loop).T
    return Section(a, b, (height[a] / (height[a] - height[b]))[:, None])
