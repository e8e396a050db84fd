"""Compiled loops of the hash encoding, over the points of one level. `encoding_reference` says the same in torch.

Indices are unsigned: a signed one costs a test for counting from the end. Sums are in the type of the points, which is
the table's. Nothing is read from other modules: what is compiled is kept, and made anew only if this file changes.
"""

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from palm_data.maps.kernels import compiled

_ONE, _TWO = np.uint64(1), np.uint64(2)


class Grid(NamedTuple):
    """A level as the kernels take it."""

    vertices: np.uint64
    """A side."""
    dense: bool
    stride_y: np.uint64
    """A step along y: entries of a dense level, else the factor of the hash."""
    stride_z: np.uint64
    mask: np.uint64
    """The table's size less one."""
    opening: np.floating
    """What the level counts, in the type of the points."""
    column: int
    """Of its first feature among those of all levels."""
    channels: tuple[int, ...]
    """Its features. The compiler knows their number, and unrolls the loop over them."""


@compiled
def _axis(place, vertices, one):  # type: ignore[no-untyped-def]
    """The cell that a place in [0, 1] lies in, and how far into it; beyond the cube is on its border."""
    last = vertices - _TWO
    place = min(max(place, one - one), one) if not np.isnan(place) else place
    place = place * (one * np.float32(last + _ONE))
    cell = np.uint64(0)
    if place > 0:  # what is not a number must not become an index
        cell = min(np.uint64(place), last)
    return cell, place - one * np.float32(cell)


@compiled
def _corners(x, y, z, grid):  # type: ignore[no-untyped-def]
    """Where in its level a cell's eight corners are kept; x changes fastest."""
    x1, y0, z0, mask = x + _ONE, y * grid.stride_y, z * grid.stride_z, grid.mask
    y1, z1 = y0 + grid.stride_y, z0 + grid.stride_z
    if grid.dense:
        return (
            x + y0 + z0,
            x1 + y0 + z0,
            x + y1 + z0,
            x1 + y1 + z0,
            x + y0 + z1,
            x1 + y0 + z1,
            x + y1 + z1,
            x1 + y1 + z1,
        )
    return (
        (x ^ y0 ^ z0) & mask,
        (x1 ^ y0 ^ z0) & mask,
        (x ^ y1 ^ z0) & mask,
        (x1 ^ y1 ^ z0) & mask,
        (x ^ y0 ^ z1) & mask,
        (x1 ^ y0 ^ z1) & mask,
        (x ^ y1 ^ z1) & mask,
        (x1 ^ y1 ^ z1) & mask,
    )


@compiled
def interpolate(points: ndarray, table: ndarray, grid: Grid, encoded: ndarray) -> None:
    """Write the level's features into their columns of `encoded`."""
    one = points.dtype.type(1)
    for n in range(len(points)):
        x, tx = _axis(points[n, 0], grid.vertices, one)
        y, ty = _axis(points[n, 1], grid.vertices, one)
        z, tz = _axis(points[n, 2], grid.vertices, one)
        a, b, c, d, e, f, g, h = _corners(x, y, z, grid)
        sx, sy, sz = one - tx, one - ty, (one - tz) * grid.opening
        uz = tz * grid.opening
        low, high, low_above, high_above = sy * sz, ty * sz, sy * uz, ty * uz
        for k in range(len(grid.channels)):
            encoded[n, grid.column + k] = (
                low * (sx * table[a, k] + tx * table[b, k])
                + high * (sx * table[c, k] + tx * table[d, k])
                + low_above * (sx * table[e, k] + tx * table[f, k])
                + high_above * (sx * table[g, k] + tx * table[h, k])
            )


@compiled
def scatter(points: ndarray, gradient: ndarray, grid: Grid, onto: ndarray) -> None:
    """Add to `onto`, the gradient of the level's entries, what each point leaves there, in the order of the points."""
    one = points.dtype.type(1)
    for n in range(len(points)):
        x, tx = _axis(points[n, 0], grid.vertices, one)
        y, ty = _axis(points[n, 1], grid.vertices, one)
        z, tz = _axis(points[n, 2], grid.vertices, one)
        a, b, c, d, e, f, g, h = _corners(x, y, z, grid)
        sx, sy, sz = one - tx, one - ty, (one - tz) * grid.opening
        uz = tz * grid.opening
        low, high, low_above, high_above = sy * sz, ty * sz, sy * uz, ty * uz
        for k in range(len(grid.channels)):
            value = gradient[n, grid.column + k]
            left, right = value * sx, value * tx
            onto[a, k] += low * left
            onto[b, k] += low * right
            onto[c, k] += high * left
            onto[d, k] += high * right
            onto[e, k] += low_above * left
            onto[f, k] += low_above * right
            onto[g, k] += high_above * left
            onto[h, k] += high_above * right


@compiled
def slope(points: ndarray, table: ndarray, gradient: ndarray, grid: Grid, onto: ndarray) -> None:
    """Add to `onto` the level's part of the gradient with respect to the points."""
    one = points.dtype.type(1)
    zero = one - one
    for n in range(len(points)):
        x, tx = _axis(points[n, 0], grid.vertices, one)
        y, ty = _axis(points[n, 1], grid.vertices, one)
        z, tz = _axis(points[n, 2], grid.vertices, one)
        a, b, c, d, e, f, g, h = _corners(x, y, z, grid)
        sy, sz = one - ty, one - tz
        along_x = along_y = along_z = zero
        for k in range(len(grid.channels)):
            value = gradient[n, grid.column + k]
            low, high = table[b, k] - table[a, k], table[d, k] - table[c, k]
            low_above, high_above = table[f, k] - table[e, k], table[h, k] - table[g, k]
            along_x += value * (sz * (sy * low + ty * high) + tz * (sy * low_above + ty * high_above))
            low, high = table[a, k] + tx * low, table[c, k] + tx * high
            low_above, high_above = table[e, k] + tx * low_above, table[g, k] + tx * high_above
            along_y += value * (sz * (high - low) + tz * (high_above - low_above))
            along_z += value * (sy * (low_above - low) + ty * (high_above - high))
        scale = grid.opening * (one * np.float32(grid.vertices - _ONE))
        if zero <= points[n, 0] <= one:
            onto[n, 0] += scale * along_x
        if zero <= points[n, 1] <= one:
            onto[n, 1] += scale * along_y
        if zero <= points[n, 2] <= one:
            onto[n, 2] += scale * along_z
