"""Numba kernels of the soft silhouette: every triangle against the pixels near it."""

import math

import numba
import numpy as np
from jaxtyping import Float
from numpy import ndarray

# Beyond this sum of softplus the pixel is opaque to float64's last digit and has no gradient.
SATURATED = 40.0


@numba.njit(inline="always")
def _closest_on_edge(px, py, ax, ay, bx, by):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Squared distance to a segment, and where on it (0 = a, 1 = b) the closest point lies."""
    ex, ey = bx - ax, by - ay
    length = ex * ex + ey * ey
    t = 0.0
    if length > 0.0:
        t = min(1.0, max(0.0, ((px - ax) * ex + (py - ay) * ey) / length))
    rx, ry = px - (ax + t * ex), py - (ay + t * ey)
    return rx * rx + ry * ry, t


@numba.njit(inline="always")
def _signed_distance(px, py, ax, ay, bx, by, cx, cy):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Squared distance to a triangle's border, negative inside; the closest edge (0 ab, 1 bc, 2 ca) and t on it."""
    best, t = _closest_on_edge(px, py, ax, ay, bx, by)
    edge = 0
    other, other_t = _closest_on_edge(px, py, bx, by, cx, cy)
    if other < best:
        best, t, edge = other, other_t, 1
    other, other_t = _closest_on_edge(px, py, cx, cy, ax, ay)
    if other < best:
        best, t, edge = other, other_t, 2
    side_a = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    side_b = (cx - bx) * (py - by) - (cy - by) * (px - bx)
    side_c = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
    if (side_a > 0 and side_b > 0 and side_c > 0) or (side_a < 0 and side_b < 0 and side_c < 0):
        best = -best
    return best, edge, t


@numba.njit(inline="always")
def _pixel_range(low, high, reach, size):  # type: ignore[no-untyped-def]
    """First and past-last pixel whose centre may lie within `reach` of [low, high]."""
    # clamped before the cast: a vertex far outside must not overflow it
    first = math.floor(max(low - reach - 0.5, 0.0))
    return first, math.ceil(min(high + reach + 0.5, float(size)))


@numba.njit(cache=True, nogil=True)
def accumulate(
    triangles: Float[ndarray, "faces 3 2"], width: int, height: int, sigma: float, reach: float
) -> Float[ndarray, "height width"]:
    """Sum over the faces of softplus(−d²/σ) = −log(1 − sigmoid(−d²/σ)); the silhouette is 1 − exp(−sum)."""
    total = np.zeros((height, width))
    for face in range(len(triangles)):
        (ax, ay), (bx, by), (cx, cy) = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        first_x, past_x = _pixel_range(min(ax, bx, cx), max(ax, bx, cx), reach, width)
        first_y, past_y = _pixel_range(min(ay, by, cy), max(ay, by, cy), reach, height)
        for row in range(first_y, past_y):
            for column in range(first_x, past_x):
                if total[row, column] > SATURATED:
                    continue
                distance, _, _ = _signed_distance(column + 0.5, row + 0.5, ax, ay, bx, by, cx, cy)
                if distance >= reach * reach:
                    continue
                x = -distance / sigma
                total[row, column] += max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    return total


@numba.njit(cache=True, nogil=True)
def differentiate(
    triangles: Float[ndarray, "faces 3 2"],
    total: Float[ndarray, "height width"],
    gradient: Float[ndarray, "height width"],
    sigma: float,
    reach: float,
) -> Float[ndarray, "faces 3 2"]:
    """Gradient of Σ gradient · silhouette with respect to the triangles' corners."""
    height, width = total.shape
    result = np.zeros_like(triangles)
    for face in range(len(triangles)):
        (ax, ay), (bx, by), (cx, cy) = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        first_x, past_x = _pixel_range(min(ax, bx, cx), max(ax, bx, cx), reach, width)
        first_y, past_y = _pixel_range(min(ay, by, cy), max(ay, by, cy), reach, height)
        for row in range(first_y, past_y):
            for column in range(first_x, past_x):
                if total[row, column] > SATURATED or gradient[row, column] == 0.0:
                    continue
                px, py = column + 0.5, row + 0.5
                distance, edge, t = _signed_distance(px, py, ax, ay, bx, by, cx, cy)
                if distance >= reach * reach:
                    continue
                # d silhouette / d distance = −exp(−sum) · sigmoid(−distance/σ) / σ
                weight = -math.exp(-total[row, column]) / (1.0 + math.exp(min(distance / sigma, 700.0))) / sigma
                weight *= gradient[row, column] * (-1.0 if distance < 0 else 1.0)
                start, end = edge, (edge + 1) % 3
                rx = px - ((1 - t) * triangles[face, start, 0] + t * triangles[face, end, 0])
                ry = py - ((1 - t) * triangles[face, start, 1] + t * triangles[face, end, 1])
                result[face, start, 0] -= 2 * weight * (1 - t) * rx
                result[face, start, 1] -= 2 * weight * (1 - t) * ry
                result[face, end, 0] -= 2 * weight * t * rx
                result[face, end, 1] -= 2 * weight * t * ry
    return result
