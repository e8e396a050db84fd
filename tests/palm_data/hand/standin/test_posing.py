"""Grasps, skinning and the correctives between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from palm_data.hand.model import load_hand_model
from palm_data.hand.standin.axes import joint_axes, palm_direction
from palm_data.hand.standin.build import PARENTS
from palm_data.hand.standin.correctives import Skin, corrective_error_mm, fit_correctives, pose_features
from palm_data.hand.standin.grasps import Closure, draw_grasps, grasp_poses, pose_space
from palm_data.hand.standin.skinning import blended_transforms, bone_transforms, skin_dual_quaternion
from tests.palm_data.hand.reference import pose_by_formula
from tests.palm_data.hand.standin.sources import hand_mesh, hand_source

BASE = hand_source().base
AXES = joint_axes(BASE.joints, BASE.bone_ends())
OPEN, CLOSED = np.zeros((1, 4)), np.ones((1, 4))
MODEL = load_hand_model()
SKIN = Skin(
    MODEL.v_template.astype(float),
    MODEL.weights.astype(float),
    MODEL.joint_regressor.astype(float) @ MODEL.v_template,
    PARENTS,
)


def linear(skin: Skin, poses: np.ndarray) -> np.ndarray:
    blend = blended_transforms(skin.weights, bone_transforms(poses, skin.joints, skin.parents))
    return (blend[..., :3, :3] @ skin.vertices[:, :, None])[..., 0] + blend[..., :3, 3]


def tips_of(poses: np.ndarray) -> np.ndarray:
    return linear(SKIN, poses)[:, list(MODEL.tip_vertex_ids)]


def test_the_palm_faces_down() -> None:
    assert palm_direction(BASE.joints)[1] < -0.99


def test_a_fist_brings_every_fingertip_to_the_palm() -> None:
    fist = grasp_poses(AXES, Closure(CLOSED, CLOSED, CLOSED, OPEN, 0.5 * CLOSED))
    flat, closed = tips_of(np.zeros((1, 45)))[0], tips_of(fist)[0]
    palm = np.array([0.6 * MODEL.joint_regressor[4] @ MODEL.v_template + [0, -0.02, 0]])
    before, after = (np.linalg.norm(tips[1:] - palm, axis=1) for tips in (flat, closed))
    assert (after < 0.055).all()
    assert (after < 0.6 * before).all()


def test_spreading_moves_the_fingertips_apart() -> None:
    closed_up, fanned = (
        tips_of(grasp_poses(AXES, Closure(OPEN, OPEN, OPEN, fan, OPEN)))[0, 1:] for fan in (-CLOSED, CLOSED)
    )
    gaps = [np.linalg.norm(np.diff(tips, axis=0), axis=1) for tips in (closed_up, fanned)]
    assert (gaps[1] > gaps[0]).all()


def test_the_thumb_flexes_across_the_palm() -> None:
    root = MODEL.joint_regressor[7] @ MODEL.v_template
    out, across = (tips_of(grasp_poses(AXES, Closure(OPEN, OPEN, OPEN, OPEN, t)))[0, 0] for t in (OPEN, CLOSED))
    assert np.linalg.norm(across - root) < 0.6 * np.linalg.norm(out - root)


def test_the_pose_space_is_an_orthonormal_basis_that_spells_every_grasp() -> None:
    poses = draw_grasps(AXES, 200, np.random.default_rng(0))
    space = pose_space(poses)
    np.testing.assert_allclose(space.components @ space.components.T, np.eye(45), atol=1e-9)
    np.testing.assert_allclose(space.mean + space.coefficients @ space.components, poses, atol=1e-9)
    deviations = space.coefficients.std(axis=0)
    assert (np.diff(deviations) <= 1e-9).all()
    assert deviations[0] > 1


def test_drawn_grasps_stay_within_joint_limits() -> None:
    angles = np.linalg.norm(draw_grasps(AXES, 300, np.random.default_rng(1)).reshape(300, 15, 3), axis=-1)
    assert np.degrees(angles).max() < 110
    assert np.degrees(angles[:, [2, 5, 8, 11]]).max() < 65


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_linear_skinning_is_the_models_own(seed: int) -> None:
    pose = np.random.default_rng(seed).normal(0, 0.5, 45)
    expected, _ = pose_by_formula(MODEL, np.zeros(3), pose - MODEL.hands_mean, np.zeros(10), np.zeros(3))
    correctives = MODEL.posedirs.astype(float) @ pose_features(pose[None])[0]
    corrected = SKIN._replace(vertices=SKIN.vertices + correctives)
    np.testing.assert_allclose(linear(corrected, pose[None])[0], expected, atol=1e-6)


def test_both_skinnings_agree_where_one_bone_moves_a_vertex() -> None:
    poses = draw_grasps(AXES, 5, np.random.default_rng(2))
    transforms = bone_transforms(poses, SKIN.joints, SKIN.parents)
    dual = skin_dual_quaternion(SKIN.vertices, SKIN.weights, transforms)
    alone = SKIN.weights.max(axis=1) == 1
    assert alone.sum() > 100
    np.testing.assert_allclose(dual[:, alone], linear(SKIN, poses)[:, alone], atol=1e-9)


def test_dual_quaternions_keep_a_rigid_motion_whatever_the_weights() -> None:
    rng = np.random.default_rng(3)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = Rotation.from_rotvec([0.3, -2.0, 0.4]).as_matrix(), [0.1, 0.2, -0.3]
    vertices, weights = rng.normal(size=(20, 3)), rng.dirichlet(np.ones(16), 20)
    moved = skin_dual_quaternion(vertices, weights, np.tile(motion, (2, 16, 1, 1)))
    np.testing.assert_allclose(moved[0], vertices @ motion[:3, :3].T + motion[:3, 3], atol=1e-12)


def test_dual_quaternions_do_not_collapse_a_half_turned_ring_as_linear_blending_does() -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = np.column_stack([np.zeros(12), np.cos(angles), np.sin(angles)])
    transforms = np.tile(np.eye(4), (1, 16, 1, 1))
    transforms[0, 1, :3, :3] = Rotation.from_rotvec([np.radians(170), 0, 0]).as_matrix()
    weights = np.zeros((12, 16))
    weights[:, :2] = 0.5
    radius = np.linalg.norm(skin_dual_quaternion(ring, weights, transforms)[0], axis=1)
    np.testing.assert_allclose(radius, 1.0, atol=1e-12)


def test_correctives_close_most_of_the_gap_on_unseen_poses() -> None:
    rng = np.random.default_rng(4)
    seen, unseen = draw_grasps(AXES, 150, rng), draw_grasps(AXES, 30, rng)
    before, after = corrective_error_mm(SKIN, fit_correctives(SKIN, seen), unseen)
    assert after < 0.4 * before


def test_the_shipped_correctives_bring_the_model_close_to_dual_quaternions() -> None:
    unseen = draw_grasps(AXES, 50, np.random.default_rng(5))
    before, after = corrective_error_mm(SKIN, MODEL.posedirs.astype(float), unseen)
    assert after < 0.1
    assert after < 0.4 * before


def test_a_corrective_answers_only_to_joints_that_move_its_vertex() -> None:
    for joint in range(1, 16):
        columns = MODEL.posedirs[:, :, 9 * (joint - 1) : 9 * joint]
        assert (columns[hand_mesh().weights[:, joint] == 0] == 0).all()


@pytest.mark.parametrize("axes", AXES)
def test_axes_are_unit_vectors(axes: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0)
