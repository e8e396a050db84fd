"""The forearm that a captured hand hangs on: rings of vertices past the model's wrist rim, closed by a cap."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

LENGTH_M = 0.24
"""How far the arm reaches past the wrist rim."""
RINGS = 24
_GROWTH = 0.42
_FLATTEN_M = 0.03
_BEND_START_M = 0.004
_BEND_END_M = 0.05
_CHART_LOW = (0.52, 0.685)
_CHART_HIGH = (0.985, 0.985)


@dataclass(frozen=True, eq=False)
class ForearmTopology:
    """Faces and texture coordinates of the arm, appended to a hand of known size."""

    faces: Int[ndarray, "faces 3"]
    uv: Float[ndarray, "uvs 2"]
    uv_faces: Int[ndarray, "faces 3"]
    """Rows of the arm's own `uv`."""
    cap: Int[ndarray, "caps"]
    """Which of `faces` close the arm."""


def forearm_topology(rim: Int[ndarray, "rim"], hand_vertices: int) -> ForearmTopology:
    """How the arm's vertices join the rim and each other.

    New vertices follow the hand's: ring by ring in the order of the rim, then the cap's centre.

    Args:
        rim: the hand's open loop, in the sense of the faces that border it.
    """
    count = len(rim)
    rings = np.concatenate([rim[None], hand_vertices + np.arange(RINGS * count).reshape(RINGS, count)])
    centre = hand_vertices + RINGS * count
    columns = np.linspace(_CHART_LOW[0], _CHART_HIGH[0], count + 1)
    rows = np.linspace(_CHART_LOW[1], _CHART_HIGH[1], RINGS + 1)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    uv_rings = np.arange((RINGS + 1) * (count + 1)).reshape(RINGS + 1, count + 1)
    # The cap takes a sliver of the last row's colour, so that it needs no chart.
    cap_uv = np.stack(
        [0.5 * (columns[1:] + columns[:-1]), np.full(count, rows[-1] - 0.5 * (rows[1] - rows[0]))], axis=1
    )

    near, far = rings[:-1], rings[1:]
    faces = _strips(near, np.roll(near, -1, axis=1), far, np.roll(far, -1, axis=1))
    uv_faces = _strips(uv_rings[:-1, :-1], uv_rings[:-1, 1:], uv_rings[1:, :-1], uv_rings[1:, 1:])
    last = rings[-1]
    cap_faces = np.stack([np.roll(last, -1), last, np.full(count, centre)], axis=1)
    cap_uv_faces = np.stack([uv_rings[-1, 1:], uv_rings[-1, :-1], len(grid) + np.arange(count)], axis=1)
    return ForearmTopology(
        faces=np.concatenate([faces, cap_faces]),
        uv=np.concatenate([grid, cap_uv]),
        uv_faces=np.concatenate([uv_faces, cap_uv_faces]),
        cap=len(faces) + np.arange(count),
    )


def forearm_vertices(rim: Float[ndarray, "rim 3"], axis: Float[ndarray, "3"]) -> Float[ndarray, "arm 3"]:
    """Positions of the arm's rings and cap centre, metres, for a rim of any shape.

    Args:
        axis: unit direction from the hand to the elbow.
    """
    centre = rim.mean(axis=0)
    offsets = rim - centre
    axial = offsets @ axis
    across = offsets - axial[:, None] * axis
    steps = ring_distances()[1:, None, None]
    growth = 1.0 + _GROWTH * _smoothstep(steps / LENGTH_M)
    leaning = axial[None, :, None] * (1.0 - _smoothstep(steps / _FLATTEN_M))
    rings = centre + (steps + leaning) * axis + growth * across
    end = rings[-1].mean(axis=0)
    return np.concatenate([rings.reshape(-1, 3), end[None]])


def ring_distances() -> Float[ndarray, "rings"]:
    """Distance of each ring from the rim, metres, the rim included as 0."""
    return np.linspace(0.0, LENGTH_M, RINGS + 1)


def bend_weights(rim_count: int) -> Float[ndarray, "arm"]:
    """How far each vertex of the arm follows the forearm bone instead of the wrist, 0 to 1."""
    share = _smoothstep((ring_distances()[1:] - _BEND_START_M) / (_BEND_END_M - _BEND_START_M))
    return np.concatenate([np.repeat(share, rim_count), [1.0]])


def _strips(near: ndarray, near_next: ndarray, far: ndarray, far_next: ndarray) -> ndarray:
    """Two triangles for each cell, wound against the direction of the near loop."""
    first = np.stack([near_next, near, far], axis=-1).reshape(-1, 3)
    second = np.stack([near_next, far, far_next], axis=-1).reshape(-1, 3)
    return np.stack([first, second], axis=1).reshape(-1, 3)


def _smoothstep(value: ndarray) -> ndarray:
    held = np.clip(value, 0.0, 1.0)
    return held * held * (3.0 - 2.0 * held)
