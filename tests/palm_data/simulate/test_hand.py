import numpy as np
import pytest
import torch

from palm_data.hand.layer import HandLayer
from palm_data.simulate.detail import detail_heights
from palm_data.simulate.hand import pose_captured_hand, rest_hand
from palm_data.simulate.kinematics import forward_kinematics, skin
from palm_data.simulate.template import capture_template
from tests.palm_data.simulate.people import capture, person

CASES = [(1, "flat"), (2, "fist"), (4, "pinch")]


@pytest.mark.parametrize(("number", "gesture"), CASES)
def test_surfaces_are_sane(number: int, gesture: str) -> None:
    hand = capture(number, gesture)
    assert np.isfinite(hand.vertices).all()
    edges = np.linalg.norm(hand.vertices[hand.faces] - hand.vertices[np.roll(hand.faces, 1, axis=1)], axis=2)
    assert edges.min() > 2e-5
    assert edges[hand.part != 2].max() < 0.011
    np.testing.assert_allclose(np.linalg.norm(hand.normals, axis=1), 1.0, atol=1e-9)
    # No spike: the faces round a vertex hardly ever look the other way.
    corners = hand.vertices[hand.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    against = np.einsum("fi,fki->fk", normals, hand.normals[hand.faces]).min(axis=1) < 0
    assert against.mean() < 0.01


@pytest.mark.parametrize(("number", "gesture"), CASES)
def test_the_hand_stands_in_the_middle_of_the_rig(number: int, gesture: str) -> None:
    hand = capture(number, gesture)
    held = hand.vertices[hand.is_hand]
    assert np.abs(0.5 * (held.min(axis=0) + held.max(axis=0))).max() < 0.02
    arm = hand.vertices[~hand.is_hand].mean(axis=0)
    assert arm[2] < -0.05
    assert hand.joints[0, 2] < held[:, 2].max() - 0.05


def test_fingers_point_up_and_the_palm_looks_along_minus_y() -> None:
    joints = capture(1, "flat").joints
    distal = joints[4] - joints[0]
    across = joints[1] - joints[7]
    assert distal[2] / np.linalg.norm(distal) > 0.85
    assert np.cross(across, distal)[1] < 0


def test_parts_and_masks_agree() -> None:
    hand = capture(1, "flat")
    template = capture_template()
    assert set(np.unique(hand.part)) == {0, 1, 2}
    assert hand.is_hand[hand.faces[hand.part == 0]].all()
    assert hand.is_hand[: hand.model_vertex_count].all()
    rim = template.model.rim_vertices()
    inner = np.unique(hand.faces[hand.part != 0])
    assert set(rim) <= set(inner)


def test_joints_are_not_where_the_model_would_put_them() -> None:
    template, hand = capture_template(), capture(1, "flat")
    regressed = template.model.joint_regressor @ hand.model_correspondence()
    apart = np.linalg.norm(regressed - hand.joints[:16], axis=1) * 1e3
    assert 1.0 < apart.mean() < 6.0


def test_the_same_take_is_the_same_and_another_is_not() -> None:
    again = pose_captured_hand(person(1), "flat")
    np.testing.assert_array_equal(again.vertices, capture(1, "flat").vertices)
    other = pose_captured_hand(person(1), "flat", take=1)
    assert not np.allclose(other.joints, again.joints, atol=1e-4)


def test_unperturbed_bones_agree_with_smplx() -> None:
    template = capture_template()
    model = template.model
    pose = 0.3 * np.random.default_rng(0).standard_normal(45)
    orient = np.array([0.2, -0.5, 0.9])
    layer = HandLayer(model, dtype=torch.float64)
    inputs = [orient[None], (pose - model.hands_mean)[None], np.zeros((1, 10)), np.zeros((1, 3))]
    posed = layer(*(torch.from_numpy(value) for value in inputs))
    joints = template.anatomy.joints[:16]
    turned, moved = forward_kinematics(np.concatenate([orient[None], pose.reshape(15, 3)]), joints, model.parents)
    ours = np.einsum("jab,jb->ja", turned, joints) + moved
    np.testing.assert_allclose(ours, posed.joints[0, :16].numpy(), atol=1e-6)
    # The model's pose corrections were fitted to dual quaternions, so the surfaces agree too.
    surface = skin(np.asarray(model.v_template, float), np.asarray(model.weights, float), turned, moved)
    assert np.linalg.norm(surface - posed.vertices[0].numpy(), axis=1).mean() < 4e-4


def test_relief_is_fine_and_follows_the_pose() -> None:
    template, subject = capture_template(), person(2)
    straight = detail_heights(template, subject.relief, capture(2, "flat").hand_pose)
    bent = detail_heights(template, subject.relief, capture(2, "fist").hand_pose)
    assert 1e-4 < np.percentile(np.abs(straight), 99) < 8e-4
    assert np.abs(straight).max() < 1.5e-3
    assert np.abs(straight - bent).max() > 1.5e-4


def test_rest_hands_stay_near_the_model() -> None:
    template, subject = capture_template(), person(3)
    rest = rest_hand(subject, template)
    shaped = template.model.v_template + template.model.shapedirs @ subject.betas
    moved = np.linalg.norm(rest.base[: len(shaped)] - shaped, axis=1)
    assert 2e-3 <= moved.mean() <= 2.5e-3
