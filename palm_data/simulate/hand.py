"""A captured hand: one person holding one gesture in the rig.

World frame: right-handed, metres, +Z up, the hand's middle within a few centimetres of the origin. Fingers point to
about +Z, the palm faces about −Y, the thumb's side +X, and the forearm comes up from −Z.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.simulate.contact import settled_angles
from palm_data.simulate.detail import detail_heights
from palm_data.simulate.gestures import GESTURES, GestureSpec, joint_rotations
from palm_data.simulate.kinematics import RestHand, forward_kinematics, skin
from palm_data.simulate.subject import SimulatedSubject
from palm_data.simulate.template import CaptureTemplate, capture_template, vertex_normals
from schemas.errors import GeometryError

_POSE_STREAM = 31
_ORIENTATION_JITTER_DEG = 7.0
_ROLL_JITTER_DEG = 20.0
_POSITION_JITTER_M = 0.012
_WRIST_BEND_DEG = 6.5


@dataclass(frozen=True, eq=False)
class CapturedHand:
    """The clean surface of one capture, without any measurement error.

    The hand model's vertices are the first `model_vertex_count` rows of `vertices`, in the model's own order; the
    others lie between them or on the forearm.
    """

    gesture: GestureSpec
    vertices: Float[ndarray, "vertices 3"]
    """World, metres."""
    faces: Int[ndarray, "faces 3"]
    uv: Float[ndarray, "uvs 2"]
    """u right, v up, in the packed layout of `template`."""
    uv_faces: Int[ndarray, "faces 3"]
    normals: Float[ndarray, "vertices 3"]
    joints: Float[ndarray, "21 3"]
    """The true joint centres and finger tips, world, metres, in the order of `schemas.hand.JOINT_NAMES`."""
    is_hand: Bool[ndarray, "vertices"]
    """True: part of the surface that the hand model has too (its rim included); False: forearm."""
    part: UInt8[ndarray, "faces"]
    """0 hand, 1 forearm, 2 the cap that closes the arm."""
    model_vertex_count: int
    hand_pose: Float[ndarray, "45"]
    """The pose that was asked for, in the hand model's convention; the surface follows it with other joints."""
    betas: Float[ndarray, "10"]

    def model_correspondence(self) -> Float[ndarray, "model 3"]:
        """Where each of the hand model's vertices truly is, world, metres."""
        return self.vertices[: self.model_vertex_count]


def gesture_named(name: str) -> GestureSpec:
    """The protocol's gesture of that name.

    Raises:
        GeometryError: if there is none.
    """
    for spec in GESTURES:
        if spec.name == name:
            return spec
    raise GeometryError(f"gesture: expected one of {', '.join(spec.name for spec in GESTURES)}, found {name!r}.")


def pose_captured_hand(subject: SimulatedSubject, gesture: GestureSpec | str, *, take: int = 0) -> CapturedHand:
    """The person's hand in a gesture, held a little differently by each person and at each take.

    Raises:
        GeometryError: if there is no gesture of that name.
    """
    spec = gesture_named(gesture) if isinstance(gesture, str) else gesture
    template = capture_template()
    rng = np.random.default_rng([subject.seed, _POSE_STREAM, subject.number, zlib.crc32(spec.name.encode()), take])
    placed = _placement(template, rng)
    bend = np.radians(_WRIST_BEND_DEG) * np.clip(rng.standard_normal(3), -1.5, 1.5) * np.array([0.4, 1.0, 1.0])
    rest = rest_hand(subject, template)
    turns = joint_rotations(template.anatomy, settled_angles(rest, spec, spec.angles(rng)))
    hand_pose = turns.ravel() - template.model.hands_mean
    turned, moved = forward_kinematics(
        np.concatenate([placed.as_rotvec()[None], turns, bend[None]]), rest.joints, rest.parents
    )
    surface = _dense_surface(subject, template, rest, hand_pose)
    vertices = skin(surface, template.refine @ rest.weights, turned, moved)
    posed_joints = (np.einsum("jab,jb->ja", turned, rest.joints) + moved)[:16]
    tips = vertices[list(template.model.tip_vertex_ids)]
    is_hand = template.vertices_of(template.hand_face)
    held = vertices[is_hand]
    shift = rng.uniform(-_POSITION_JITTER_M, _POSITION_JITTER_M, 3) - 0.5 * (held.min(axis=0) + held.max(axis=0))
    part = np.where(template.hand_face, 0, np.where(template.cap_face, 2, 1)).astype(np.uint8)
    return CapturedHand(
        gesture=spec,
        vertices=vertices + shift,
        faces=template.faces,
        uv=template.uv,
        uv_faces=template.uv_faces,
        normals=vertex_normals(vertices, template.faces),
        joints=np.concatenate([posed_joints, tips]) + shift,
        is_hand=is_hand,
        part=part[template.base_face],
        model_vertex_count=template.hand_vertex_count,
        hand_pose=hand_pose,
        betas=subject.betas,
    )


def rest_hand(subject: SimulatedSubject, template: CaptureTemplate) -> RestHand:
    """The person's own surface and joints at rest, before the fine relief."""
    model = template.model
    shaped = model.v_template + model.shapedirs.astype(np.float64) @ subject.betas
    joints = model.joint_regressor @ shaped + subject.identity.joint_shift
    return RestHand(
        base=template.with_forearm(shaped) + subject.identity.displacement,
        joints=np.concatenate([joints, joints[:1]]),
        weights=subject.identity.weights,
        parents=np.append(model.parents, 0),
    )


def _dense_surface(
    subject: SimulatedSubject, template: CaptureTemplate, rest: RestHand, hand_pose: ndarray
) -> Float[ndarray, "vertices 3"]:
    """The fine surface at rest, with the relief of the pose that it will take."""
    dense = template.smooth(rest.base)
    heights = detail_heights(template, subject.relief, hand_pose)
    return dense + heights[:, None] * vertex_normals(dense, template.faces)


def _placement(template: CaptureTemplate, rng: np.random.Generator) -> Rotation:
    """From the hand model's axes to the rig's, with the turn that a person's arm happens to have."""
    anatomy = template.anatomy
    # Rows: where the model's axes across (thumb), dorsal and distal go: +X, +Y, +Z.
    upright = Rotation.from_matrix(np.stack([anatomy.radial, -anatomy.palm_normal, anatomy.distal]))
    roll = np.radians(rng.uniform(-_ROLL_JITTER_DEG, _ROLL_JITTER_DEG))
    tilt = np.radians(_ORIENTATION_JITTER_DEG) * np.clip(rng.standard_normal(3), -2.0, 2.0)
    return Rotation.from_rotvec(tilt) * Rotation.from_rotvec([0.0, 0.0, roll]) * upright
