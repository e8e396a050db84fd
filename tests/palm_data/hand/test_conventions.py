"""Conversions between conventions, held to what they promise: the posed surface stays where it is."""

import numpy as np
import pytest
import smplx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from smplx.utils import Struct

from palm_data.hand.conventions import (
    HandPose,
    mirrored,
    mirrored_model,
    moved,
    pose_from_pca,
    pose_to_pca,
    pose_with_mean,
    pose_without_mean,
    rest_wrist,
)
from palm_data.hand.layer import HandLayer
from palm_data.hand.model import SHIPPED_MODEL, HandModel, load_hand_model
from schemas.errors import GeometryError

MODEL = load_hand_model()
OTHER_SIDE = mirrored_model(MODEL)
LAYERS = {id(model): HandLayer(model, dtype=torch.float64) for model in (MODEL, OTHER_SIDE)}
SEEDS = st.integers(0, 2**31)
MIRROR = np.array([-1.0, 1.0, 1.0])
EXACT = 1e-7
"""Metres; the models' arrays are float32."""


def some_hands(seed: int, count: int = 2) -> HandPose:
    rng = np.random.default_rng(seed)
    sizes = {"global_orient": (3, 1.0), "hand_pose": (45, 0.4), "betas": (10, 1.0), "transl": (3, 0.3)}
    return HandPose(**{name: rng.normal(0, scale, (count, size)) for name, (size, scale) in sizes.items()})


def surface(hand: HandPose, model: HandModel) -> np.ndarray:
    values = (hand.global_orient, hand.hand_pose, hand.betas, hand.transl)
    with torch.no_grad():
        posed = LAYERS[id(model)](*(torch.from_numpy(np.ascontiguousarray(value)) for value in values))
    return torch.cat([posed.vertices, posed.joints], dim=1).numpy()


def plain_smplx(**options: object) -> smplx.MANO:
    """smplx on the file's own arrays, as a user of smplx would load them."""
    with np.load(SHIPPED_MODEL) as arrays:
        return smplx.MANO("", data_struct=Struct(**arrays), is_rhand=True, dtype=torch.float64, **options)


def by_smplx(layer: smplx.MANO, hand: HandPose, pose: np.ndarray) -> np.ndarray:
    tensors = {name: torch.from_numpy(getattr(hand, name)) for name in ("global_orient", "betas", "transl")}
    vertices: np.ndarray = layer(**tensors, hand_pose=torch.from_numpy(pose)).vertices.detach().numpy()
    return vertices


def test_poses_with_the_mean_are_those_of_a_tool_with_a_flat_one() -> None:
    hand = some_hands(0)
    layer = plain_smplx(use_pca=False, flat_hand_mean=True)
    theirs = by_smplx(layer, hand, pose_with_mean(hand.hand_pose, MODEL))
    np.testing.assert_allclose(theirs, surface(hand, MODEL)[:, : theirs.shape[1]], atol=EXACT)


@given(SEEDS)
def test_adding_and_removing_the_mean_cancel(seed: int) -> None:
    pose = some_hands(seed).hand_pose
    np.testing.assert_allclose(pose_without_mean(pose_with_mean(pose, MODEL), MODEL), pose, atol=1e-12)
    np.testing.assert_allclose(pose_with_mean(np.zeros((1, 45)), MODEL)[0], MODEL.hands_mean, atol=1e-12)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("components", [6, 44])  # with 45, smplx takes the pose itself
def test_pca_coefficients_pose_the_hand_as_smplx_does(components: int, flat: bool) -> None:
    hand = some_hands(1)
    coefficients = np.random.default_rng(2).normal(0, 1, (2, components))
    layer = plain_smplx(use_pca=True, num_pca_comps=components, flat_hand_mean=flat)
    theirs = by_smplx(layer, hand, coefficients)
    pose = pose_from_pca(coefficients, MODEL, flat_hand_mean=flat)
    ours = surface(HandPose(hand.global_orient, pose, hand.betas, hand.transl), MODEL)
    np.testing.assert_allclose(theirs, ours[:, : theirs.shape[1]], atol=EXACT)
    back = pose_to_pca(pose, MODEL, components=components, flat_hand_mean=flat)
    np.testing.assert_allclose(back.coefficients, coefficients, atol=1e-6)
    assert back.residual_rad.max() < 1e-6


@given(SEEDS)
def test_all_components_lose_nothing_and_fewer_say_what_they_lose(seed: int) -> None:
    pose = some_hands(seed).hand_pose
    whole = pose_to_pca(pose, MODEL)
    np.testing.assert_allclose(pose_from_pca(whole.coefficients, MODEL), pose, atol=1e-6)
    few = pose_to_pca(pose, MODEL, components=6)
    off = np.abs(pose_from_pca(few.coefficients, MODEL) - pose).max(axis=1)
    np.testing.assert_allclose(few.residual_rad, off, atol=1e-9)
    assert (few.residual_rad > whole.residual_rad).all()


@settings(max_examples=20)
@given(SEEDS)
def test_moving_the_parameters_moves_the_surface(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hand, turn, shift = some_hands(seed), Rotation.random(random_state=seed).as_matrix(), rng.normal(0, 0.5, 3)
    expected = surface(hand, MODEL) @ turn.T + shift
    np.testing.assert_allclose(surface(moved(hand, MODEL, turn, shift), MODEL), expected, atol=EXACT)


@settings(max_examples=20)
@given(SEEDS)
def test_motions_compose_and_undo(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hand = some_hands(seed)
    (one, other), (here, there) = Rotation.random(2, random_state=seed).as_matrix(), rng.normal(0, 0.5, (2, 3))
    twice = moved(moved(hand, MODEL, one, here), MODEL, other, there)
    once = moved(hand, MODEL, other @ one, other @ here + there)
    back = moved(moved(hand, MODEL, one, here), MODEL, one.T, -one.T @ here)
    for found, expected in ((twice, once), (back, hand)):
        np.testing.assert_allclose(found.transl, expected.transl, atol=1e-9)
        turns = Rotation.from_rotvec(found.global_orient).inv() * Rotation.from_rotvec(expected.global_orient)
        np.testing.assert_allclose(turns.magnitude(), 0, atol=1e-7)


@settings(max_examples=20)
@given(SEEDS)
def test_the_other_side_is_the_hand_in_a_mirror(seed: int) -> None:
    hand = some_hands(seed)
    np.testing.assert_allclose(surface(mirrored(hand), OTHER_SIDE), surface(hand, MODEL) * MIRROR, atol=EXACT)


def test_mirroring_twice_changes_nothing() -> None:
    hand, model = some_hands(3), mirrored_model(OTHER_SIDE)
    for name in ("global_orient", "hand_pose", "betas", "transl"):
        np.testing.assert_array_equal(getattr(mirrored(mirrored(hand)), name), getattr(hand, name))
    for name in ("v_template", "faces", "shapedirs", "posedirs", "hands_mean", "hands_components", "weights"):
        np.testing.assert_array_equal(getattr(model, name), getattr(MODEL, name))
    assert (model.model_id, model.side) == (MODEL.model_id, "right")
    assert OTHER_SIDE.convention() != MODEL.convention()
    assert OTHER_SIDE.convention().side == "left"


def test_the_other_side_still_faces_outward() -> None:
    def volume(model: HandModel) -> float:
        corners = model.v_template.astype(np.float64)[model.faces]
        return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))

    assert volume(OTHER_SIDE) == pytest.approx(volume(MODEL), rel=1e-6)


def test_the_rest_wrist_is_where_the_unturned_hand_has_it() -> None:
    betas = some_hands(4).betas
    rest = HandPose(np.zeros((2, 3)), np.zeros((2, 45)), betas, np.zeros((2, 3)))
    np.testing.assert_allclose(rest_wrist(betas, MODEL), surface(rest, MODEL)[:, -21], atol=EXACT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moved(some_hands(0), MODEL, -np.eye(3), np.zeros(3)), "rotation: expected a proper rotation"),
        (lambda: moved(some_hands(0), MODEL, np.eye(3) * 1.01, np.zeros(3)), "rotation: expected a proper rotation"),
        (lambda: pose_with_mean(np.zeros((1, 48)), MODEL), "hand_pose: expected shape n × 45"),
        (lambda: pose_from_pca(np.zeros((1, 46)), MODEL), "coefficients: expected shape n × 1…45"),
        (lambda: pose_to_pca(np.zeros((1, 45)), MODEL, components=0), "components: expected 1 to 45"),
        (lambda: rest_wrist(np.zeros((1, 9)), MODEL), "betas: expected shape n × 10"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        call()  # type: ignore[operator]
