"""Eq. 3 solved on CPU, point after point, with its gradients: compiled loops.

`palm_model.prior.skinning`, `broyden` and `implicit` say the same in torch, and are the reference. Skinning weights
are read from the eight nodes about a point, the sixteen bones of a node at once. The functions of the inmost loops
take their arrays one by one: unpacked from tuples, they would be counted at every turn, which costs more than the sums.
"""

import numpy as np
from numpy import ndarray

from palm_model.prior.skinning_arrays import Carried, Fields, Found, Gradients, Limits, Scratch, compiled, inlined

_BONES = 16
_SINGULAR = np.float32(1e-6)
"""Determinants of a Jacobian that are taken as zero."""
FOLDED = 0.01
"""Determinants of a Jacobian below which a root passes no gradient."""
_ONE, _ZERO = np.float32(1.0), np.float32(0.0)


@compiled
def search(points: ndarray, pose: ndarray, fields: Fields, limits: Limits, found: Found) -> None:
    """Find the roots of each point from its bones' starts, those nearest to the canonical surface first."""
    scratch = Scratch(
        np.empty(3, np.float32),
        np.empty(3, np.float32),
        np.empty(3, np.float32),
        np.empty(3, np.float32),
        np.empty(3, np.float32),
        np.empty(3, np.float32),
        np.empty((3, 3), np.float32),
        np.empty(_BONES, np.float32),
        np.empty((4, _BONES), np.float32),
    )
    side = np.float32(fields.cells.shape[1] - 1) / fields.per_metre
    x, low, per_metre = scratch.x, fields.low, fields.per_metre
    for n in range(points.shape[0]):
        row, bones, roots, aways, count = fields.row[pose[n]], fields.bones[pose[n]], found.roots[n], found.away[n], 0
        cells, distance = fields.cells[row], fields.distance[row]
        for axis in range(3):
            scratch.point[axis] = points[n, axis]
        for bone in range(_BONES):
            _start(scratch, bones, bone)
            if limits.stop_at_known and _known(x, roots, count, limits.merged):
                continue
            if _distance_to_surface(x, distance, low, per_metre) > limits.reach:
                continue
            if not _descend(cells, bones, fields, limits, roots, count, scratch):
                continue
            if _inside(x, low, side) and not _known(x, roots, count, limits.merged):
                away = _distance_to_surface(x, distance, low, per_metre)
                if away <= limits.reach:
                    count = _insert(x, away, roots, aways, count)


@compiled
def implicit_gradients(canonical: ndarray, pose: ndarray, fields: Fields, gradient: ndarray, filled: Gradients) -> None:
    """J⁻ᵀ g of each canonical point, and −Σ w J⁻ᵀ g (x, 1)ᵀ of each bone over the points of its pose."""
    weights, place = np.empty((4, _BONES), np.float32), np.empty(3, np.float32)
    derivative, lever = np.empty((3, 3), np.float32), np.ones(4, np.float32)
    for n in range(canonical.shape[0]):
        x, sums = canonical[n], filled.by_bone[pose[n]]
        cells, bones = fields.cells[fields.row[pose[n]]], fields.bones[pose[n]]
        _jacobian(x, cells, fields.low, fields.per_metre, bones, weights, place, derivative)
        regular = abs(_determinant(derivative)) > FOLDED and _invert(derivative)
        lever[0], lever[1], lever[2] = x[0], x[1], x[2]
        for row in range(3):
            total = _ZERO
            if regular:
                for k in range(3):
                    total += derivative[k, row] * gradient[n, k]
            filled.by_point[n, row] = total
            for column in range(4):
                for m in range(_BONES):
                    sums[row, column, m] -= total * lever[column] * weights[0, m]


@compiled
def carry(canonical: ndarray, pose: ndarray, fields: Fields, filled: Carried) -> None:
    """Where skinning takes canonical points, the derivative of that, and the skinning weights."""
    weights = np.empty((4, _BONES), np.float32)
    for n in range(canonical.shape[0]):
        cells, bones = fields.cells[fields.row[pose[n]]], fields.bones[pose[n]]
        low, per_metre = fields.low, fields.per_metre
        _jacobian(canonical[n], cells, low, per_metre, bones, weights, filled.points[n], filled.jacobian[n])
        filled.weights[n] = weights[0]


@inlined
def _start(scratch: Scratch, bones: ndarray, bone: int) -> None:
    """Where the point would be in canonical space if this bone alone carried it: Rᵀ (x_d − t)."""
    point = scratch.point
    d0, d1, d2 = point[0] - bones[0, 3, bone], point[1] - bones[1, 3, bone], point[2] - bones[2, 3, bone]
    for axis in range(3):
        scratch.x[axis] = bones[0, axis, bone] * d0 + bones[1, axis, bone] * d1 + bones[2, axis, bone] * d2


@inlined
def _inside(x: ndarray, low: ndarray, side: np.float32) -> bool:
    """Whether a canonical point lies in the cube."""
    a, b, c = x[0] - low[0], x[1] - low[1], x[2] - low[2]
    return _ZERO <= a <= side and _ZERO <= b <= side and _ZERO <= c <= side


@inlined
def _known(x: ndarray, roots: ndarray, count: int, merged: np.float32) -> bool:
    """Whether one of the point's roots so far is this one."""
    for k in range(count):
        a, b, c = x[0] - roots[k, 0], x[1] - roots[k, 1], x[2] - roots[k, 2]
        if a * a + b * b + c * c < merged * merged:
            return True
    return False


@inlined
def _insert(x: ndarray, away: np.float32, roots: ndarray, aways: ndarray, count: int) -> int:
    """Put a root in its place by distance, the farthest falling out where there is no room; returns how many there are."""
    room, at = roots.shape[0], count
    while at > 0 and aways[at - 1] > away:
        at -= 1
    if at == room:
        return count
    for k in range(min(count, room - 1), at, -1):
        aways[k] = aways[k - 1]
        for axis in range(3):
            roots[k, axis] = roots[k - 1, axis]
    aways[at] = away
    for axis in range(3):
        roots[at, axis] = x[axis]
    return min(count + 1, room)


@inlined
def _descend(  # noqa: PLR0917
    cells: ndarray, bones: ndarray, fields: Fields, limits: Limits, roots: ndarray, count: int, scratch: Scratch
) -> bool:
    """Broyden's steps (1965, his first update) from the scratch's x, in place; True if they end at a root.

    The first Jacobian is exact; after it only the residuals are evaluated.
    """
    x, step, residual, inverse = scratch.x, scratch.step, scratch.residual, scratch.inverse
    low, per_metre = fields.low, fields.per_metre
    _jacobian(x, cells, low, per_metre, bones, scratch.slopes, residual, inverse)
    if _subtract(residual, scratch.point) < limits.converged:
        return True
    if not _invert(inverse):
        return False
    for _ in range(limits.iterations):
        for row in range(3):
            step[row] = -(inverse[row, 0] * residual[0] + inverse[row, 1] * residual[1] + inverse[row, 2] * residual[2])
            x[row] += step[row]
        if limits.stop_at_known and _known(x, roots, count, limits.merged):
            return False
        _carry(x, cells, low, per_metre, bones, scratch.weights, scratch.change)
        size = _subtract(scratch.change, scratch.point)
        if size < limits.converged:
            return True
        if not size < limits.diverged or not _update(scratch):
            return False
    return False


@inlined
def _subtract(place: ndarray, point: ndarray) -> np.float32:
    """Take a point from a place, in place; the length of what is left."""
    total = _ZERO
    for axis in range(3):
        place[axis] -= point[axis]
        total += place[axis] * place[axis]
    return np.sqrt(total)


@inlined
def _update(scratch: Scratch) -> bool:
    """H + (s − H y) sᵀ H / (sᵀ H y): the inverse Jacobian that maps the residual's change y to the step s.

    Takes the new residual in `change`. False where there is no such update.
    """
    step, residual, change, inverse, row = (
        scratch.step,
        scratch.residual,
        scratch.change,
        scratch.inverse,
        scratch.row,
    )
    scale = _ZERO
    for axis in range(3):
        change[axis], residual[axis] = change[axis] - residual[axis], change[axis]
        row[axis] = step[0] * inverse[0, axis] + step[1] * inverse[1, axis] + step[2] * inverse[2, axis]
        scale += row[axis] * change[axis]
    if scale == _ZERO:
        return False
    for axis in range(3):
        moved = inverse[axis, 0] * change[0] + inverse[axis, 1] * change[1] + inverse[axis, 2] * change[2]
        gain = (step[axis] - moved) / scale
        for other in range(3):
            inverse[axis, other] += gain * row[other]
    return True


@inlined
def _node(place: np.float32, low: np.float32, per_metre: np.float32, size: int) -> tuple[int, np.float32, np.float32]:
    """The node below a coordinate, how far beyond it in cells, and cells a metre; outside, the border goes on."""
    at = (place - low) * per_metre
    slope = per_metre if _ZERO <= at <= np.float32(size - 1) else _ZERO
    at = at if at > _ZERO else _ZERO  # also where it is no number
    at = min(at, np.float32(size - 1))
    below = min(int(at), size - 2)
    return below, at - np.float32(below), slope


@inlined
def _distance_to_surface(x: ndarray, distance: ndarray, low: ndarray, per_metre: np.float32) -> np.float32:
    """How far the canonical surface is from a canonical point, metres."""
    size = distance.shape[0]
    i, u, _ = _node(x[0], low[0], per_metre, size)
    j, v, _ = _node(x[1], low[1], per_metre, size)
    k, t, _ = _node(x[2], low[2], per_metre, size)
    s = _ONE - t
    near = (_ONE - v) * (s * distance[i, j, k] + t * distance[i, j, k + 1])
    near += v * (s * distance[i, j + 1, k] + t * distance[i, j + 1, k + 1])
    far = (_ONE - v) * (s * distance[i + 1, j, k] + t * distance[i + 1, j, k + 1])
    far += v * (s * distance[i + 1, j + 1, k] + t * distance[i + 1, j + 1, k + 1])
    return (_ONE - u) * near + u * far


@inlined
def _carry(  # noqa: PLR0917
    x: ndarray, cells: ndarray, low: ndarray, per_metre: np.float32, bones: ndarray, weights: ndarray, place: ndarray
) -> None:
    """Where skinning takes a canonical point, into `place` (3); its weights, into `weights` (16)."""
    size = cells.shape[0]
    i, u, _ = _node(x[0], low[0], per_metre, size)
    j, v, _ = _node(x[1], low[1], per_metre, size)
    k, t, _ = _node(x[2], low[2], per_metre, size)
    s = _ONE - t
    a, b, c, d = (_ONE - u) * (_ONE - v), (_ONE - u) * v, u * (_ONE - v), u * v
    for m in range(_BONES):
        near = a * cells[i, j, k, m] + b * cells[i, j + 1, k, m]
        near += c * cells[i + 1, j, k, m] + d * cells[i + 1, j + 1, k, m]
        far = a * cells[i, j, k + 1, m] + b * cells[i, j + 1, k + 1, m]
        far += c * cells[i + 1, j, k + 1, m] + d * cells[i + 1, j + 1, k + 1, m]
        weights[m] = s * near + t * far
    x0, x1, x2 = x[0], x[1], x[2]
    p0, p1, p2 = _ZERO, _ZERO, _ZERO
    for m in range(_BONES):
        w = weights[m]
        p0 += w * (bones[0, 0, m] * x0 + bones[0, 1, m] * x1 + bones[0, 2, m] * x2 + bones[0, 3, m])
        p1 += w * (bones[1, 0, m] * x0 + bones[1, 1, m] * x1 + bones[1, 2, m] * x2 + bones[1, 3, m])
        p2 += w * (bones[2, 0, m] * x0 + bones[2, 1, m] * x1 + bones[2, 2, m] * x2 + bones[2, 3, m])
    place[0], place[1], place[2] = p0, p1, p2


@inlined
def _slopes(x: ndarray, cells: ndarray, low: ndarray, per_metre: np.float32, weights: ndarray) -> None:
    """Skinning weights at a canonical point, and in the three rows after them their derivatives a metre."""
    size = cells.shape[0]
    i, u, across = _node(x[0], low[0], per_metre, size)
    j, v, along = _node(x[1], low[1], per_metre, size)
    k, t, up = _node(x[2], low[2], per_metre, size)
    p, q, s = _ONE - u, _ONE - v, _ONE - t
    for m in range(_BONES):
        a, b = cells[i, j, k, m], cells[i, j, k + 1, m]
        c, d = cells[i, j + 1, k, m], cells[i, j + 1, k + 1, m]
        e, f = cells[i + 1, j, k, m], cells[i + 1, j, k + 1, m]
        g, h = cells[i + 1, j + 1, k, m], cells[i + 1, j + 1, k + 1, m]
        ab, cd, ef, gh = s * a + t * b, s * c + t * d, s * e + t * f, s * g + t * h
        left, right = q * ab + v * cd, q * ef + v * gh
        weights[0, m] = p * left + u * right
        weights[1, m] = (right - left) * across
        weights[2, m] = (p * (cd - ab) + u * (gh - ef)) * along
        weights[3, m] = (p * (q * (b - a) + v * (d - c)) + u * (q * (f - e) + v * (h - g))) * up


@inlined
def _jacobian(  # noqa: PLR0917
    x: ndarray,
    cells: ndarray,
    low: ndarray,
    per_metre: np.float32,
    bones: ndarray,
    weights: ndarray,
    place: ndarray,
    derivative: ndarray,
) -> None:
    """Where skinning takes a canonical point, and the derivative of that: Σ w_i R_i + (B_i x) ∇w_iᵀ.

    Args:
        weights: (4, 16), filled with the skinning weights and their derivatives.
    """
    _slopes(x, cells, low, per_metre, weights)
    x0, x1, x2 = x[0], x[1], x[2]
    for row in range(3):
        carried, by_x, by_y, by_z = _ZERO, _ZERO, _ZERO, _ZERO
        for m in range(_BONES):
            r0, r1, r2 = bones[row, 0, m], bones[row, 1, m], bones[row, 2, m]
            moved = r0 * x0 + r1 * x1 + r2 * x2 + bones[row, 3, m]
            w = weights[0, m]
            carried += w * moved
            by_x += w * r0 + moved * weights[1, m]
            by_y += w * r1 + moved * weights[2, m]
            by_z += w * r2 + moved * weights[3, m]
        place[row] = carried
        derivative[row, 0], derivative[row, 1], derivative[row, 2] = by_x, by_y, by_z


@inlined
def _determinant(m: ndarray) -> np.float32:
    """Of a 3 × 3 matrix."""
    a = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    b = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    return m[0, 0] * a + m[0, 1] * b + m[0, 2] * c


@inlined
def _invert(matrix: ndarray) -> bool:
    """Invert a 3 × 3 matrix in place; False, and nothing done, where its determinant is as good as zero."""
    whole = _determinant(matrix)
    if not abs(whole) > _SINGULAR:
        return False
    s = _ONE / whole
    a, b, c = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    d, e, f = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    g, h, i = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = (e * i - f * h) * s, (c * h - b * i) * s, (b * f - c * e) * s
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = (f * g - d * i) * s, (a * i - c * g) * s, (c * d - a * f) * s
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = (d * h - e * g) * s, (b * g - a * h) * s, (a * e - b * d) * s
    return True
