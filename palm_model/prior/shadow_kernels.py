"""What rays meet first of a posed mesh, on CPU: compiled loops over a tree of boxes. `shadow_mesh` says the same in torch."""

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from palm_data.maps.kernels import Function, compiled, compiled_with

_STACK = 64
_ONE, _ZERO, _TINY = np.float32(1.0), np.float32(0.0), np.float32(1e-20)


def inlined(function: Function) -> Function:
    """Compiled for compiled loops alone: its code becomes part of theirs."""
    return compiled_with(function, forceinline=True)


class Tree(NamedTuple):
    """Meshes of one connectivity: faces in the order of the tree's leaves, of equal size; boxes from the root down."""

    corners: ndarray
    """(p, faces, 3, 3) float32: a corner and the two edges from it, metres."""
    low: ndarray
    """(p, nodes, 3) float32; the children of node i are 2 i + 1 and 2 i + 2."""
    high: ndarray


class Lines(NamedTuple):
    """Rays."""

    origins: ndarray
    """(k, 3) float32, metres, world."""
    directions: ndarray
    """(k, 3) float32, unit."""
    hand: ndarray
    """(k,) int64: the pose that each is to meet."""


class Limits(NamedTuple):
    """Metres, float32."""

    far: np.float32
    """Length of a ray."""
    through: np.float32
    """From where on faces are met from behind too."""


class Hits(NamedTuple):
    """What `first_hits` fills."""

    distance: ndarray
    """(k,) float32, metres: infinite where nothing is met."""
    front: ndarray
    """(k,) bool: met from outside."""


@inlined
def _between(low, high, origin, slope, near, last):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - tuples cost time
    """What is left of a stretch of a ray between two planes across an axis."""
    one, other = (low - origin) * slope, (high - origin) * slope
    return max(near, min(one, other)), min(last, max(one, other))


@compiled
def first_hits(rays: Lines, tree: Tree, limits: Limits, found: Hits) -> None:
    """Find what each ray meets first of its hand (Möller and Trumbore 1997)."""
    origins, directions, hand = rays.origins, rays.directions, rays.hand
    distance, front = found.distance, found.front
    corners, lows, highs = tree.corners, tree.low, tree.high
    inner = (lows.shape[1] - 1) // 2
    size = corners.shape[1] // (inner + 1)
    far, through = limits
    stack = np.empty(_STACK, np.int64)
    for k in range(origins.shape[0]):
        mesh, low, high = corners[hand[k]], lows[hand[k]], highs[hand[k]]
        ox, oy, oz = origins[k, 0], origins[k, 1], origins[k, 2]
        dx, dy, dz = directions[k, 0], directions[k, 1], directions[k, 2]
        ix = _ONE / (dx if abs(dx) > _TINY else _TINY)
        iy = _ONE / (dy if abs(dy) > _TINY else _TINY)
        iz = _ONE / (dz if abs(dz) > _TINY else _TINY)
        best, met, outside = far, False, False
        stack[0], top = 0, 1
        while top > 0:
            top -= 1
            node = stack[top]
            near, last = _between(low[node, 0], high[node, 0], ox, ix, _ZERO, best)
            near, last = _between(low[node, 1], high[node, 1], oy, iy, near, last)
            near, last = _between(low[node, 2], high[node, 2], oz, iz, near, last)
            if last < near:
                continue
            if node < inner:
                stack[top], stack[top + 1] = 2 * node + 1, 2 * node + 2
                top += 2
                continue
            first = (node - inner) * size
            for face in range(first, first + size):
                ax, ay, az = mesh[face, 1, 0], mesh[face, 1, 1], mesh[face, 1, 2]
                bx, by, bz = mesh[face, 2, 0], mesh[face, 2, 1], mesh[face, 2, 2]
                px, py, pz = dy * bz - dz * by, dz * bx - dx * bz, dx * by - dy * bx
                turn = ax * px + ay * py + az * pz
                if turn == _ZERO:
                    continue
                scale = _ONE / turn
                sx, sy, sz = ox - mesh[face, 0, 0], oy - mesh[face, 0, 1], oz - mesh[face, 0, 2]
                u = (sx * px + sy * py + sz * pz) * scale
                if u < _ZERO or u > _ONE:
                    continue
                qx, qy, qz = sy * az - sz * ay, sz * ax - sx * az, sx * ay - sy * ax
                v = (dx * qx + dy * qy + dz * qz) * scale
                if v < _ZERO or u + v > _ONE:
                    continue
                t = (bx * qx + by * qy + bz * qz) * scale
                if _ZERO < t < best and (turn > _ZERO or t > through):
                    best, met, outside = t, True, turn > _ZERO
        distance[k] = best if met else np.float32(np.inf)
        front[k] = outside
