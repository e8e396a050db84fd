"""The hand's points and shape targets in the hand's own frame: wrist at the origin, fingers −X, palm −Y, thumb +Z."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from palm_data.hand.standin.cut import JOINT_CUBES, TIP_CUBES, HandMesh
from palm_data.hand.standin.makehuman import BaseMesh, read_target

TARGETS = {
    "scale": ("r-hand-scale-decr", "r-hand-scale-incr"),
    "finger_length": ("r-hand-fingers-length-decr", "r-hand-fingers-length-incr"),
    "finger_diameter": ("r-hand-fingers-diameter-decr", "r-hand-fingers-diameter-incr"),
    "finger_distance": ("r-hand-fingers-distance-decr", "r-hand-fingers-distance-incr"),
    "wrist": ("measure-wrist-circ-decr", "measure-wrist-circ-incr"),
    "translation": ("r-hand-trans-in", "r-hand-trans-out"),
}
"""Name of each pair of MakeHuman targets → the target of weight −1, the target of weight +1."""

_INDEX1, _MIDDLE1, _PINKY1 = 1, 4, 7


@dataclass(frozen=True, eq=False)
class HandPoints:
    """The surface with its joints, metres; either the hand itself or how a target moves it."""

    vertices: Float[np.ndarray, "vertices 3"]
    joints: Float[np.ndarray, "16 3"]
    tips: Float[np.ndarray, "5 3"]
    """Ends of the last bones, thumb → pinky; inside the flesh, unlike the tip vertices."""

    def plus(self, offset: "HandPoints", weight: float) -> "HandPoints":
        """These points, moved by a weighted target."""
        return HandPoints(
            self.vertices + weight * offset.vertices,
            self.joints + weight * offset.joints,
            self.tips + weight * offset.tips,
        )

    def centred(self) -> "HandPoints":
        """The same hand with its wrist joint at the origin."""
        wrist = self.joints[0]
        return HandPoints(self.vertices - wrist, self.joints - wrist, self.tips - wrist)

    def bone_ends(self) -> Float[np.ndarray, "15 3"]:
        """Where the bone that starts at each joint 1…15 ends."""
        ends = np.roll(self.joints[1:], -1, axis=0)
        # MANO's fingers are index, middle, pinky, ring, thumb; tips are thumb → pinky.
        ends[[2, 5, 8, 11, 14]] = self.tips[[1, 2, 4, 3, 0]]
        return ends


@dataclass(frozen=True, eq=False)
class HandSource:
    """The base hand and what MakeHuman's targets do to it."""

    base: HandPoints
    targets: dict[str, tuple[HandPoints, HandPoints]]


def read_hand_source(folder: Path, mesh: BaseMesh, hand: HandMesh) -> HandSource:
    """The base hand and its targets, in the hand's frame.

    Raises:
        BadInputError: if a target file is damaged.
    """
    base = _hand_points(mesh.vertices, mesh, hand)
    axes = _hand_axes(base.joints)
    count = len(mesh.vertices)

    def turned(name: str) -> HandPoints:
        return _turned(_hand_points(read_target(folder / f"{name}.target.gz", count), mesh, hand), axes)

    return HandSource(
        base=_turned(base, axes).centred(),
        targets={name: (turned(low), turned(high)) for name, (low, high) in TARGETS.items()},
    )


def _hand_points(rows: np.ndarray, mesh: BaseMesh, hand: HandMesh) -> HandPoints:
    """A hand's part of values given for every row of the base mesh."""
    return HandPoints(
        vertices=rows[hand.base_rows],
        joints=np.stack([rows[mesh.cubes[name]].mean(axis=0) for name in JOINT_CUBES]),
        tips=np.stack([rows[mesh.cubes[name]].mean(axis=0) for name in TIP_CUBES]),
    )


def _hand_axes(joints: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Rows X, Y, Z: −X from wrist to the middle knuckle, +Z across the knuckles towards the index finger."""
    x = joints[0] - joints[_MIDDLE1]
    x /= np.linalg.norm(x)
    z = joints[_INDEX1] - joints[_PINKY1]
    z -= x * (z @ x)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


def _turned(points: HandPoints, axes: np.ndarray) -> HandPoints:
    return HandPoints(points.vertices @ axes.T, points.joints @ axes.T, points.tips @ axes.T)
