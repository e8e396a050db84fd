"""Hands in other people's conventions: MANO's parameters converted without moving a vertex.

Everything here stores `flat_hand_mean = False`, full axis-angle, right hands, in the world. What others use is turned
into that at the border, and back: poses that contain the mean, PCA coefficients, another frame of reference, the other
side. Each conversion is exact (or says how far it is off) and keeps the posed surface where it is.

Source: Romero et al., "Embodied Hands" (2017) for the parameters; that rotation acts about the rest wrist joint is
what makes a change of frame touch the translation too.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.hand.model import POSE_SIZE, SHAPE_COMPONENTS, HandModel
from schemas.errors import GeometryError

_MIRROR = np.array([-1.0, 1.0, 1.0])
"""Reflection in the plane x = 0, which is how MANO's left hand was made from its right one."""
_TURN_TOLERANCE = 1e-6


@dataclass(frozen=True)
class HandPose:
    """Parameters of n hands, to be read as `flat_hand_mean = False`, float64."""

    global_orient: Float[ndarray, "n 3"]
    """Axis-angle about the rest wrist joint, radians."""
    hand_pose: Float[ndarray, "n 45"]
    """Axis-angle of joints 1 to 15 as an offset from the model's mean pose, radians."""
    betas: Float[ndarray, "n 10"]
    """Shape coefficients, in standard deviations."""
    transl: Float[ndarray, "n 3"]
    """Added after posing, metres."""


class PcaPose(NamedTuple):
    """Poses in a model's principal components."""

    coefficients: Float[ndarray, "n components"]
    residual_rad: Float[ndarray, "n"]
    """Largest angle coefficient that the components cannot express, radians; 0 with all 45."""


def pose_without_mean(pose: Float[ndarray, "n 45"], model: HandModel) -> Float[ndarray, "n 45"]:
    """`hand_pose` of a tool that uses `flat_hand_mean = True`, as an offset from the mean pose, radians."""
    return _poses(pose) - model.hands_mean


def pose_with_mean(hand_pose: Float[ndarray, "n 45"], model: HandModel) -> Float[ndarray, "n 45"]:
    """Our `hand_pose` for a tool that uses `flat_hand_mean = True`: zero is then the flat hand; radians."""
    return _poses(hand_pose) + model.hands_mean


def pose_from_pca(
    coefficients: Float[ndarray, "n components"], model: HandModel, *, flat_hand_mean: bool = False
) -> Float[ndarray, "n 45"]:
    """`hand_pose` of PCA coefficients.

    Args:
        flat_hand_mean: whether the tool that they come from adds no mean pose to them.

    Raises:
        GeometryError: if there are more coefficients than components.
    """
    values = np.asarray(coefficients, dtype=np.float64)
    if values.ndim != 2 or not 1 <= values.shape[1] <= POSE_SIZE:
        raise GeometryError(f"coefficients: expected shape n × 1…{POSE_SIZE}, found {values.shape}.")
    pose = values @ model.hands_components[: values.shape[1]].astype(np.float64)
    return pose_without_mean(pose, model) if flat_hand_mean else pose


def pose_to_pca(
    hand_pose: Float[ndarray, "n 45"], model: HandModel, *, components: int = POSE_SIZE, flat_hand_mean: bool = False
) -> PcaPose:
    """The PCA coefficients closest to poses (least squares), and how far off they are.

    Args:
        components: how many of the first principal components to use.
        flat_hand_mean: whether the tool that reads them adds no mean pose.

    Raises:
        GeometryError: if the number of components makes no sense.
    """
    if not 1 <= components <= POSE_SIZE:
        raise GeometryError(f"components: expected 1 to {POSE_SIZE}, found {components}.")
    wanted = pose_with_mean(hand_pose, model) if flat_hand_mean else _poses(hand_pose)
    basis = model.hands_components[:components].astype(np.float64)
    coefficients = np.linalg.lstsq(basis.T, wanted.T, rcond=None)[0].T
    return PcaPose(coefficients, np.abs(coefficients @ basis - wanted).max(axis=1))


def moved(
    hand: HandPose, model: HandModel, rotation: Float[ndarray, "3 3"], translation: Float[ndarray, "3"]
) -> HandPose:
    """Hands after the rigid motion x ↦ R x + t of everything, such as into a camera's frame.

    The hand turns about its rest wrist joint j(β), not about the origin: t' = R (j + transl) + t − j.

    Args:
        translation: metres.

    Raises:
        GeometryError: if the matrix is not a rotation.
    """
    turn = np.asarray(rotation, dtype=np.float64)
    if turn.shape != (3, 3) or np.abs(turn @ turn.T - np.eye(3)).max() > _TURN_TOLERANCE or np.linalg.det(turn) < 0:
        raise GeometryError(f"rotation: expected a proper rotation matrix, found {np.array2string(turn)}.")
    wrist = rest_wrist(hand.betas, model)
    orient = Rotation.from_matrix(turn) * Rotation.from_rotvec(hand.global_orient)
    return replace(hand, global_orient=orient.as_rotvec(), transl=(wrist + hand.transl) @ turn.T + translation - wrist)


def mirrored(hand: HandPose) -> HandPose:
    """The other side's hands, reflected in the plane x = 0; for a model of that side, such as `mirrored_model` makes."""
    return HandPose(
        global_orient=_mirrored_turns(hand.global_orient),
        hand_pose=_mirrored_turns(hand.hand_pose),
        betas=hand.betas,
        transl=hand.transl * _MIRROR,
    )


def mirrored_model(model: HandModel) -> HandModel:
    """The model of the other side: the same hand in a mirror. Its faces still look outward.

    Its id and digest are those of the original with `.mirrored` behind the id, so that the two are never taken for
    one another.
    """
    signs = np.outer(_MIRROR, _MIRROR).ravel()  # a mirrored rotation is M R M
    flip = _MIRROR.astype(np.float32)
    return replace(
        model,
        v_template=_frozen(model.v_template * flip),
        faces=_frozen(model.faces[:, ::-1]),
        shapedirs=_frozen(model.shapedirs * flip[:, None]),
        posedirs=_frozen(model.posedirs * flip[:, None] * np.tile(signs, POSE_SIZE // 3).astype(np.float32)),
        hands_mean=_frozen(_mirrored_turns(model.hands_mean[None])[0].astype(np.float32)),
        hands_components=_frozen(_mirrored_turns(model.hands_components).astype(np.float32)),
        ft=None if model.ft is None else _frozen(model.ft[:, ::-1]),
        model_id=model.model_id.removesuffix(".mirrored")
        if model.model_id.endswith(".mirrored")
        else f"{model.model_id}.mirrored",
        side="left" if model.side == "right" else "right",
    )


def rest_wrist(betas: Float[ndarray, "n 10"], model: HandModel) -> Float[ndarray, "n 3"]:
    """The wrist joint of the unposed hands, metres: what their rotation acts about.

    Raises:
        GeometryError: if there are not ten coefficients.
    """
    shapes = np.asarray(betas, dtype=np.float64)
    if shapes.ndim != 2 or shapes.shape[1] != SHAPE_COMPONENTS:
        raise GeometryError(f"betas: expected shape n × {SHAPE_COMPONENTS}, found {shapes.shape}.")
    row = model.joint_regressor[0].astype(np.float64)
    return row @ model.v_template + np.einsum("v,vcs,ns->nc", row, model.shapedirs, shapes)


def _poses(values: Float[ndarray, "n 45"]) -> Float[ndarray, "n 45"]:
    poses = np.asarray(values, dtype=np.float64)
    if poses.ndim != 2 or poses.shape[1] != POSE_SIZE:
        raise GeometryError(f"hand_pose: expected shape n × {POSE_SIZE}, found {poses.shape}.")
    return poses


def _mirrored_turns(turns: ndarray) -> ndarray:
    """Axis-angles, three numbers each, of the same turns seen in the mirror: an axis is a pseudovector."""
    return (turns.reshape(len(turns), -1, 3) * -_MIRROR).reshape(turns.shape)


def _frozen(array: ndarray) -> ndarray:
    copied = np.ascontiguousarray(array)
    copied.flags.writeable = False
    return copied
