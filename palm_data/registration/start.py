"""A rigid start: the palm's joints, which move little with the fingers, laid onto their keypoints."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from schemas.errors import GeometryError

PALM_JOINTS = (0, 1, 4, 7, 10, 13)
"""Wrist and the first joint of each finger."""


def rigid_transform(
    source: Float[ndarray, "points 3"], target: Float[ndarray, "points 3"]
) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """R, t that lay `source` onto `target` with least squares (Kabsch 1976; Umeyama 1991 for the reflection).

    Raises:
        GeometryError: if there are fewer than three points, or they lie on a line.
    """
    if len(source) < 3:
        raise GeometryError(f"rigid transform: expected at least 3 points, found {len(source)}.")
    centre, target_centre = source.mean(axis=0), target.mean(axis=0)
    left, values, right = np.linalg.svd((target - target_centre).T @ (source - centre))
    if values[1] < 1e-9 * values[0]:
        raise GeometryError("rigid transform: expected points that span a plane, found them on a line.")
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ flip @ right
    return rotation, target_centre - rotation @ centre


def rigid_start(
    rest_joints: Float[ndarray, "21 3"], keypoints: Float[ndarray, "21 3"]
) -> tuple[Float[ndarray, "3"], Float[ndarray, "3"]]:
    """`global_orient` and `transl` that lay the model's palm onto the keypoints.

    Args:
        rest_joints: of the unposed model; the wrist comes first, and rotations act about it.
        keypoints: metres; NaN = missing. Without three palm joints all found ones are used.

    Raises:
        GeometryError: if fewer than three keypoints were found.
    """
    found = np.isfinite(keypoints).all(axis=1)
    palm = [joint for joint in PALM_JOINTS if found[joint]]
    rows = palm if len(palm) >= 3 else np.flatnonzero(found).tolist()
    rotation, translation = rigid_transform(rest_joints[rows], keypoints[rows])
    wrist = rest_joints[0]
    return Rotation.from_matrix(rotation).as_rotvec(), translation + rotation @ wrist - wrist
