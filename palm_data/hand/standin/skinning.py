"""Skinning in plain numpy: linear, as the model is posed, and by dual quaternions, as its correctives imitate."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation


def bone_transforms(
    poses: Float[np.ndarray, "poses 45"], joints: Float[np.ndarray, "16 3"], parents: Int[np.ndarray, "16"]
) -> Float[np.ndarray, "poses 16 4 4"]:
    """What moves each bone from the rest pose to the pose, the wrist held still."""
    count, bones = len(poses), len(joints)
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(count, bones - 1, 3, 3)
    transforms = np.tile(np.eye(4), (count, bones, 1, 1))
    for bone in range(1, bones):
        local = np.tile(np.eye(4), (count, 1, 1))
        local[:, :3, :3] = rotations[:, bone - 1]
        local[:, :3, 3] = joints[bone] - rotations[:, bone - 1] @ joints[bone]
        transforms[:, bone] = transforms[:, parents[bone]] @ local
    return transforms


def blended_transforms(
    weights: Float[np.ndarray, "vertices 16"], transforms: Float[np.ndarray, "poses 16 4 4"]
) -> Float[np.ndarray, "poses vertices 4 4"]:
    """Linear blend skinning's matrix of each vertex."""
    flat = transforms.reshape(len(transforms), len(weights.T), 16)
    return (weights @ flat).reshape(len(transforms), len(weights), 4, 4)


def skin_dual_quaternion(
    vertices: Float[np.ndarray, "vertices 3"],
    weights: Float[np.ndarray, "vertices 16"],
    transforms: Float[np.ndarray, "poses 16 4 4"],
) -> Float[np.ndarray, "poses vertices 3"]:
    """The posed surface by dual quaternion linear blending (Kavan et al. 2008)."""
    count, bones = transforms.shape[:2]
    matrices = transforms[:, :, :3, :3].reshape(-1, 3, 3)
    real = Rotation.from_matrix(matrices).as_quat(scalar_first=True).reshape(count, bones, 4)
    shift = np.concatenate([np.zeros((count, bones, 1)), transforms[:, :, :3, 3]], axis=-1)
    dual = 0.5 * _multiply(shift, real)
    # A quaternion and its negative are the same rotation: blend each vertex in the hemisphere of its main bone.
    main = real[:, weights.argmax(axis=1)]
    signed = np.where(main @ real.transpose(0, 2, 1) < 0, -1.0, 1.0) * weights
    blend_real, blend_dual = signed @ real, signed @ dual
    length = np.linalg.norm(blend_real, axis=-1, keepdims=True)
    blend_real, blend_dual = blend_real / length, blend_dual / length
    conjugate = blend_real * np.array([1.0, -1.0, -1.0, -1.0])
    translation = 2.0 * _multiply(blend_dual, conjugate)[..., 1:]
    axis = blend_real[..., 1:]
    turned = np.cross(axis, vertices) + blend_real[..., :1] * vertices
    return vertices + 2.0 * np.cross(axis, turned) + translation


def _multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hamilton product, scalar first."""
    scalar = left[..., :1] * right[..., :1] - (left[..., 1:] * right[..., 1:]).sum(axis=-1, keepdims=True)
    vector = left[..., :1] * right[..., 1:] + right[..., :1] * left[..., 1:] + np.cross(left[..., 1:], right[..., 1:])
    return np.concatenate([scalar, vector], axis=-1)
