"""The posed hand: against smplx itself, against the formulas, and against what a hand must do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from smplx.utils import Struct

from palm_data.hand.layer import HandLayer, PosedHand
from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from schemas.hand import JOINT_NAMES
from tests.palm_data.hand.reference import mano_sized_model, pose_by_formula, random_parameters, rodrigues

MODEL = load_hand_model()
LAYER = HandLayer(MODEL, dtype=torch.float64)
ANGLES = st.tuples(*[st.floats(-3.0, 3.0)] * 3).map(np.array)


def as_batch(parameters: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=dtype)[None] for name, value in parameters.items()}


def posed(layer: HandLayer, **changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rest = {"global_orient": np.zeros(3), "hand_pose": np.zeros(45), "betas": np.zeros(10), "transl": np.zeros(3)}
    hand: PosedHand = layer(**as_batch(rest | changes))
    return hand.vertices[0].detach().numpy(), hand.joints[0].detach().numpy()


def plain_smplx(**options: object) -> smplx.MANO:
    """smplx on the file's own arrays, as a user of smplx would load them."""
    with np.load(SHIPPED_MODEL) as arrays:
        return smplx.MANO("", data_struct=Struct(**arrays), is_rhand=True, flat_hand_mean=False, **options)


@pytest.mark.parametrize("seed", range(3))
def test_vertices_equal_plain_smplx_with_full_pose(seed: int) -> None:
    parameters = as_batch(random_parameters(seed), torch.float32)
    expected = plain_smplx(use_pca=False)(**parameters)
    hand = HandLayer(MODEL)(**parameters)
    torch.testing.assert_close(hand.vertices, expected.vertices, rtol=0, atol=1e-7)
    torch.testing.assert_close(hand.joints[:, :16], expected.joints, rtol=0, atol=1e-7)


@pytest.mark.parametrize("components", [6, 12])
def test_vertices_equal_plain_smplx_with_pca_once_the_coefficients_are_spelled_out(components: int) -> None:
    parameters = as_batch(random_parameters(components), torch.float32)
    coefficients = parameters["hand_pose"][:, :components]
    expected = plain_smplx(use_pca=True, num_pca_comps=components)(**parameters | {"hand_pose": coefficients})
    spelled_out = coefficients @ torch.tensor(MODEL.hands_components[:components])
    hand = HandLayer(MODEL)(**parameters | {"hand_pose": spelled_out})
    torch.testing.assert_close(hand.vertices, expected.vertices, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_layer_agrees_with_the_formulas(seed: int) -> None:
    parameters = random_parameters(seed)
    vertices, joints = posed(LAYER, **parameters)
    expected_vertices, expected_joints = pose_by_formula(MODEL, **parameters)
    # smplx adds 1e-8 to every component of an angle before it normalises.
    np.testing.assert_allclose(vertices, expected_vertices, atol=1e-7)
    np.testing.assert_allclose(joints, expected_joints, atol=1e-7)


def test_a_model_of_manos_sizes_is_posed_by_the_same_code(tmp_path: Path) -> None:
    model = mano_sized_model(tmp_path)
    parameters = random_parameters(5)
    vertices, joints = posed(HandLayer(model, dtype=torch.float64), **parameters)
    expected_vertices, expected_joints = pose_by_formula(model, **parameters)
    assert vertices.shape == (778, 3)
    np.testing.assert_allclose(vertices, expected_vertices, atol=1e-6)
    np.testing.assert_allclose(joints, expected_joints, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(angle=ANGLES, shift=ANGLES, seed=st.integers(0, 1000))
def test_turning_the_whole_hand_turns_it_about_the_rest_wrist(angle: np.ndarray, shift: np.ndarray, seed: int) -> None:
    parameters = random_parameters(seed)
    still = {"hand_pose": parameters["hand_pose"], "betas": parameters["betas"]}
    vertices, joints = posed(LAYER, **still)
    turned_vertices, turned_joints = posed(LAYER, **still, global_orient=angle, transl=shift)
    rotation, wrist = rodrigues(angle), joints[0]
    np.testing.assert_allclose(turned_vertices, (vertices - wrist) @ rotation.T + wrist + shift, atol=1e-6)
    np.testing.assert_allclose(turned_joints, (joints - wrist) @ rotation.T + wrist + shift, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_wrist_joint_is_where_the_shape_alone_puts_it(seed: int) -> None:
    parameters = random_parameters(seed)
    _, joints = posed(LAYER, **parameters | {"transl": np.zeros(3)})
    shaped = MODEL.v_template + MODEL.shapedirs @ parameters["betas"]
    np.testing.assert_allclose(joints[0], (MODEL.joint_regressor @ shaped)[0], atol=1e-7)


def test_minus_the_mean_pose_is_the_template() -> None:
    vertices, joints = posed(LAYER, hand_pose=-MODEL.hands_mean.astype(np.float64))
    np.testing.assert_allclose(vertices, MODEL.v_template, atol=1e-7)
    np.testing.assert_allclose(joints[:16], MODEL.joint_regressor @ MODEL.v_template, atol=1e-7)


def test_zero_pose_is_the_mean_pose_not_the_flat_hand() -> None:
    vertices, _ = posed(LAYER)
    assert np.linalg.norm(vertices - MODEL.v_template, axis=1).max() > 0.01


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_tips_are_the_models_own_tip_vertices(seed: int) -> None:
    vertices, joints = posed(LAYER, **random_parameters(seed))
    assert joints.shape == (len(JOINT_NAMES), 3)
    np.testing.assert_array_equal(joints[16:], vertices[list(MODEL.tip_vertex_ids)])


def test_each_tip_is_at_the_end_of_the_finger_it_is_named_after() -> None:
    _, joints = posed(LAYER, hand_pose=-MODEL.hands_mean.astype(np.float64))
    place = dict(zip(JOINT_NAMES, joints, strict=True))
    last = np.array([place[f"{finger}3"] for finger in ("thumb", "index", "middle", "ring", "pinky")])
    assert np.linalg.norm(joints[16:, None] - last, axis=-1).argmin(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_every_parameter_gets_a_gradient_at_rest_too() -> None:
    parameters = as_batch({"global_orient": np.zeros(3), "hand_pose": np.zeros(45), "betas": np.zeros(10)})
    parameters["transl"] = torch.zeros(1, 3, dtype=torch.float64)
    for value in parameters.values():
        value.requires_grad_()
    hand = LAYER(**parameters)
    target = torch.linspace(0, 1, hand.vertices.numel(), dtype=torch.float64).reshape(hand.vertices.shape)
    (hand.vertices * target).sum().backward()
    for name, value in parameters.items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert (value.grad != 0).any(), name


def test_gradients_agree_with_finite_differences() -> None:
    parameters = as_batch(random_parameters(2))
    names = list(parameters)
    rows = torch.tensor([0, 500, 1000])

    def few_vertices(*values: torch.Tensor) -> torch.Tensor:
        return LAYER(**dict(zip(names, values, strict=True))).vertices[:, rows]

    inputs = tuple(value.requires_grad_() for value in parameters.values())
    assert torch.autograd.gradcheck(few_vertices, inputs, fast_mode=True)


def test_a_batch_is_posed_hand_by_hand() -> None:
    hands = [random_parameters(seed) for seed in range(3)]
    batch = {name: torch.tensor(np.stack([hand[name] for hand in hands])) for name in hands[0]}
    together = LAYER(**batch).vertices.numpy()
    alone = np.stack([posed(LAYER, **hand)[0] for hand in hands])
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_building_a_layer_says_nothing_and_adds_nothing_to_train(capfd: pytest.CaptureFixture[str]) -> None:
    layer = HandLayer(MODEL)
    assert list(layer.parameters()) == []
    assert capfd.readouterr() == ("", "")


def test_reading_a_model_needs_neither_torch_nor_smplx() -> None:
    code = (
        "import sys; from palm_data.hand.model import load_hand_model; load_hand_model(); "
        "sys.exit(len({'torch', 'smplx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_wrist_rim_moves_with_the_wrist_alone() -> None:
    assert (MODEL.weights[MODEL.rim_vertices(), 0] == 1).all()
