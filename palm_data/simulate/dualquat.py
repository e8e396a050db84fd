"""Dual quaternion skinning (Kavan, Collins, Žára and O'Sullivan, "Geometric skinning with approximate dual quaternion
blending", ACM TOG 2008). Quaternions are (w, x, y, z); a dual quaternion is the real part, then the dual part.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation


def multiply(left: Float[ndarray, "*n 4"], right: Float[ndarray, "*n 4"]) -> Float[ndarray, "*n 4"]:
    """The Hamilton product of quaternions."""
    w1, x1, y1, z1 = np.moveaxis(left, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(right, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def from_rigid(rotations: Float[ndarray, "n 3 3"], translations: Float[ndarray, "n 3"]) -> Float[ndarray, "n 8"]:
    """Unit dual quaternions of the transforms x → R x + t."""
    real = np.roll(Rotation.from_matrix(rotations).as_quat(), 1, axis=-1)
    moved = np.concatenate([np.zeros((len(translations), 1)), translations], axis=-1)
    return np.concatenate([real, 0.5 * multiply(moved, real)], axis=-1)


def blend(weights: Float[ndarray, "points n"], transforms: Float[ndarray, "n 8"]) -> Float[ndarray, "points 8"]:
    """Unit dual quaternions between the given ones, by weight.

    Opposite signs of a quaternion are the same rotation: each is first turned to the side of the one that weighs most
    at the point.
    """
    pivot = transforms[weights.argmax(axis=1), :4]
    side = np.where(pivot @ transforms[:, :4].T < 0, -1.0, 1.0)
    # Not by BLAS: its sums depend on the number of threads.
    mixed = np.einsum("pn,nk->pk", weights * side, transforms)
    return mixed / np.linalg.norm(mixed[:, :4], axis=1, keepdims=True)


def apply(transforms: Float[ndarray, "points 8"], points: Float[ndarray, "points 3"]) -> Float[ndarray, "points 3"]:
    """Each point moved by its own unit dual quaternion; the dual part may be unnormalised as `blend` leaves it."""
    scalar, vector = transforms[:, :1], transforms[:, 1:4]
    dual_scalar, dual_vector = transforms[:, 4:5], transforms[:, 5:]
    turned = points + 2.0 * np.cross(vector, np.cross(vector, points) + scalar * points)
    shift = 2.0 * (scalar * dual_vector - dual_scalar * vector + np.cross(vector, dual_vector))
    return turned + shift
