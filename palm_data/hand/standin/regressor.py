"""The joint regressor: each joint as a weighted mean of the skin around it."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from palm_data.hand.standin.shapes import ShapeSpace

_NEIGHBOURS = 160
_SUM_WEIGHT = 1e3
_RIDGE_MM = 0.3


def fit_regressor(space: ShapeSpace) -> Float[np.ndarray, "16 vertices"]:
    """Weights, never negative and summing to one, that give every joint of every shape by least squares."""
    regressor = np.zeros((len(space.mean_joints), len(space.mean)))
    for joint, centre in enumerate(space.mean_joints):
        near = np.argsort(np.linalg.norm(space.mean - centre, axis=1), kind="stable")[:_NEIGHBOURS]
        weights = _fit_joint(space, joint, near)
        regressor[joint, near] = weights / weights.sum()
    return regressor


def _fit_joint(space: ShapeSpace, joint: int, near: np.ndarray) -> Float[np.ndarray, "near"]:
    """Non-negative least squares over the mean hand and its directions, in millimetres."""
    # A little ridge spreads the weight over many vertices, so that no joint hangs on a few noisy ones.
    equations = np.vstack(
        [
            1e3 * space.mean[near].T,
            1e3 * np.moveaxis(space.directions[near], 0, -1).reshape(-1, len(near)),
            np.full((1, len(near)), _SUM_WEIGHT),
            _RIDGE_MM * np.eye(len(near)),
        ]
    )
    values = np.concatenate(
        [
            1e3 * space.mean_joints[joint],
            1e3 * space.joint_directions[joint].ravel(),
            [_SUM_WEIGHT],
            np.zeros(len(near)),
        ]
    )
    weights, _ = nnls(equations, values, maxiter=50 * len(near))
    return weights
