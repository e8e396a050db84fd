"""A closed, hand-sized surface with five lobes: enough of a hand to test rails on, and exactly known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32
from numpy import ndarray

_ROWS, _COLUMNS = 24, 36
_SIZE_M = np.array([0.055, 0.024, 0.042])
"""Half axes of the palm: fingers along +x, back along +y, thumb along +z."""
_LOBES = np.array([[0.62, 0.05, 0.78], [0.93, 0.0, 0.36], [1.0, 0.0, 0.0], [0.93, 0.0, -0.36], [0.8, 0.0, -0.6]])
_LOBE_REACH = np.array([0.9, 1.2, 1.35, 1.2, 0.95])


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh (metres) with texture coordinates of its own indexing."""

    vertices: Float[ndarray, "v 3"]
    faces: Int32[ndarray, "f 3"]
    uv: Float[ndarray, "t 2"]
    uv_faces: Int32[ndarray, "f 3"]


def lobed_surface(*, spread: float, turn_rad: float, scale: float = 1.0) -> Surface:
    """A mitten of about 0.19 m: `spread` from 0 (a fist) to 1 (fingers out), turned about its length.

    1656 triangles, watertight, outward normals.
    """
    directions = _directions()
    lobes = _LOBES / np.linalg.norm(_LOBES, axis=1, keepdims=True)
    bumps = np.exp(60.0 * (directions @ lobes.T - 1.0)) @ (_LOBE_REACH * spread)
    vertices = directions * (1.0 + bumps)[:, None] * _SIZE_M * scale
    vertices[:, 0] -= 0.036 * scale
    sine, cosine = np.sin(turn_rad), np.cos(turn_rad)
    turn = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    faces, uv, uv_faces = _topology()
    return Surface(vertices=vertices @ turn.T, faces=faces, uv=uv, uv_faces=uv_faces)


def _directions() -> Float[ndarray, "v 3"]:
    """Unit vectors: the +y pole, rings downwards, the −y pole."""
    latitude = np.pi * np.arange(1, _ROWS)[:, None] / _ROWS
    longitude = 2.0 * np.pi * np.arange(_COLUMNS)[None] / _COLUMNS
    rings = np.stack(
        [
            np.sin(latitude) * np.cos(longitude),
            np.cos(latitude) * np.ones_like(longitude),
            np.sin(latitude) * np.sin(longitude),
        ],
        axis=-1,
    )
    return np.concatenate([[[0.0, 1.0, 0.0]], rings.reshape(-1, 3), [[0.0, -1.0, 0.0]]])


def _topology() -> tuple[Int32[ndarray, "f 3"], Float[ndarray, "t 2"], Int32[ndarray, "f 3"]]:
    """Faces, texture coordinates (rows × columns + 1, the seam twice) and their faces."""
    row, column = np.meshgrid(np.arange(_ROWS), np.arange(_COLUMNS), indexing="ij")

    def vertex(r: ndarray, c: ndarray) -> ndarray:
        ring = 1 + (r - 1) * _COLUMNS + c % _COLUMNS
        return np.where(r == 0, 0, np.where(r == _ROWS, 1 + (_ROWS - 1) * _COLUMNS, ring))

    def texel(r: ndarray, c: ndarray) -> ndarray:
        return r * (_COLUMNS + 1) + c

    corners = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
    faces, uv_faces = (
        np.concatenate(
            [np.stack([at(*corners[i]) for i in (0, 1, 2)], -1), np.stack([at(*corners[i]) for i in (0, 2, 3)], -1)],
            axis=1,
        )
        for at in (vertex, texel)
    )
    faces, uv_faces = faces.reshape(-1, 3), uv_faces.reshape(-1, 3)
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    u, v = np.meshgrid(np.arange(_COLUMNS + 1) / _COLUMNS, 1.0 - np.arange(_ROWS + 1) / _ROWS)
    uv = np.stack([u.ravel(), v.ravel()], axis=1)
    return faces[whole].astype(np.int32), uv, uv_faces[whole].astype(np.int32)
