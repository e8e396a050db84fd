"""Pose correctives: what linear blending must add before skinning to look like dual quaternion skinning."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from palm_data.hand.standin.skinning import blended_transforms, bone_transforms, skin_dual_quaternion

_RIDGE = 5e-3
"""Relative to the mean square of a feature; keeps the offsets of extreme poses within a few millimetres."""


class Skin(NamedTuple):
    """The mean hand, ready to be posed."""

    vertices: Float[np.ndarray, "vertices 3"]
    weights: Float[np.ndarray, "vertices 16"]
    joints: Float[np.ndarray, "16 3"]
    parents: Int[np.ndarray, "16"]


def pose_features(poses: Float[np.ndarray, "poses 45"]) -> Float[np.ndarray, "poses 135"]:
    """MANO's pose features: R − I of joints 1…15, row by row."""
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix()
    return (rotations - np.eye(3)).reshape(len(poses), -1)


def rest_residuals(skin: Skin, rows: np.ndarray, poses: np.ndarray) -> Float[np.ndarray, "poses rows 3"]:
    """Offsets of some vertices in the rest pose that make linear blending equal dual quaternion skinning."""
    vertices, weights = skin.vertices[rows], skin.weights[rows]
    transforms = bone_transforms(poses, skin.joints, skin.parents)
    blend = blended_transforms(weights, transforms)
    linear = (blend[..., :3, :3] @ vertices[:, :, None])[..., 0] + blend[..., :3, 3]
    missing = skin_dual_quaternion(vertices, weights, transforms) - linear
    return np.linalg.solve(blend[..., :3, :3], missing[..., None])[..., 0]


def fit_correctives(skin: Skin, poses: Float[np.ndarray, "poses 45"]) -> Float[np.ndarray, "vertices 3 135"]:
    """Pose blend shapes by ridge regression; a vertex answers only to the joints that move it."""
    features = pose_features(poses)
    correctives = np.zeros((len(skin.vertices), 3, features.shape[1]))
    for rows in _rows_by_joints(skin.weights):
        moved_by = np.flatnonzero(skin.weights[rows[0], 1:] > 0)
        columns = (9 * moved_by[:, None] + np.arange(9)).ravel()
        inputs = features[:, columns]
        gram = inputs.T @ inputs
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        wanted = rest_residuals(skin, rows, poses)
        fit = np.linalg.solve(gram, inputs.T @ wanted.reshape(len(poses), -1))
        correctives[np.ix_(rows, np.arange(3), columns)] = fit.T.reshape(len(rows), 3, -1)
    return correctives


def corrective_error_mm(skin: Skin, correctives: np.ndarray, poses: np.ndarray) -> tuple[float, float]:
    """Mean distance of linear blending from dual quaternion skinning without and with correctives.

    Over the vertices that more than one bone moves, in the rest pose.
    """
    rows = np.flatnonzero((skin.weights > 0).sum(axis=1) > 1)
    wanted = rest_residuals(skin, rows, poses)
    added = np.einsum("vcf,pf->pvc", correctives[rows], pose_features(poses))
    before, after = (np.linalg.norm(offsets, axis=-1).mean() * 1e3 for offsets in (wanted, wanted - added))
    return float(before), float(after)


def _rows_by_joints(weights: np.ndarray) -> list[np.ndarray]:
    """Vertices that more than one bone moves, grouped by which."""
    moved = weights > 0
    blended = np.flatnonzero(moved.sum(axis=1) > 1)
    _, group = np.unique(moved[blended], axis=0, return_inverse=True)
    return [blended[group.ravel() == number] for number in range(group.max() + 1)]
