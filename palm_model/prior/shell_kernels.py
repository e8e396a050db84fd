"""The shell along rays on CPU: a compiled loop over rays. `shell_along` says the same in torch, and is the reference.

Nothing is read from other modules: what is compiled is kept, and made anew only if this file changes.
"""

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from palm_data.maps.kernels import compiled

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_FAR = np.float32(np.inf)
_TINY = np.float32(np.finfo(np.float32).tiny)


class Places(NamedTuple):
    """Rays and the surface's points, float32, metres from one origin near both; coordinates first."""

    nearest: ndarray
    """(3, n): where each ray is nearest to the origin."""
    directions: ndarray
    """(3, n)"""
    ahead: ndarray
    """(n,): how far that is along the ray, from where it begins."""
    points: ndarray
    """(3, k)"""
    normals: ndarray
    """(3, k)"""


class Bins(NamedTuple):
    """What the loop fills: bins that begin at `start`, counted from the nearest place, and are `length` long."""

    start: ndarray
    """(n,) float32"""
    length: ndarray
    """(n,) float32: as long as they must be at least, when the loop begins."""
    inside: ndarray
    """(n, b) bool"""
    signed: ndarray
    """(n, b) float32: zero, when the loop begins."""


@compiled
def fill_bins(places: Places, radius: np.float32, shell: np.float32, bins: Bins) -> None:
    """Where rays are in the balls about the points, and how far off the surface."""
    x, y, z = places.points[0], places.points[1], places.points[2]
    count, room = len(x), bins.signed.shape[1]
    along, off = np.empty(count, np.float32), np.empty(count, np.float32)
    total = np.empty(room, np.float32)
    whole = radius * radius
    for ray in range(len(bins.start)):
        dx, dy, dz = places.directions[0, ray], places.directions[1, ray], places.directions[2, ray]
        px, py, pz = places.nearest[0, ray], places.nearest[1, ray], places.nearest[2, ray]
        for k in range(count):
            at = dx * x[k] + dy * y[k] + dz * z[k]
            ax, ay, az = px - x[k], py - y[k], pz - z[k]
            along[k] = at
            off[k] = ax * ax + ay * ay + az * az - at * at
        start, stop, hits = _FAR, -_FAR, 0
        for k in range(count):
            if off[k] < whole:
                half = np.sqrt(whole - max(off[k], _ZERO))
                start, stop, hits = min(start, along[k] - half), max(stop, along[k] + half), hits + 1
        start = max(start, -places.ahead[ray])
        if hits == 0 or not stop > start:
            continue
        length = max((stop - start) / np.float32(room), bins.length[ray])
        bins.start[ray], bins.length[ray] = start, length
        signed, inside = bins.signed[ray], bins.inside[ray]
        total[:] = _ZERO
        for k in range(count):
            if not off[k] < whole:
                continue
            apart = max(off[k], _ZERO)
            half = np.sqrt(whole - apart)
            a, b, c = places.normals[0, k], places.normals[1, k], places.normals[2, k]
            height = (px - x[k]) * a + (py - y[k]) * b + (pz - z[k]) * c
            rise = dx * a + dy * b + dz * c
            first = max(int((along[k] - half - start) / length), 0)
            last = min(int((along[k] + half - start) / length) + 1, room)
            for cell in range(first, last):
                place = start + (np.float32(cell) + _HALF) * length
                away = place - along[k]
                weight = _ONE - (apart + away * away) / whole
                if weight > _ZERO:
                    weight *= weight
                    total[cell] += weight
                    signed[cell] += weight * (height + place * rise)
        for cell in range(room):
            signed[cell] /= max(total[cell], _TINY)
            inside[cell] = total[cell] > _ZERO and abs(signed[cell]) <= shell
