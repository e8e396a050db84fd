import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from palm_model.prior.canonical import MARGIN_M, CanonicalBox, canonical_box, canonical_joints, canonical_vertices
from tests.palm_model.prior.hands import MODEL, hand_layer, shapes

BOX = canonical_box(MODEL)
PLACES = st.tuples(*[st.floats(-0.5, 0.5)] * 3)


@given(PLACES, PLACES, st.floats(0.01, 1.0))
def test_to_unit_and_back_is_the_same_place(
    place: tuple[float, ...], centre: tuple[float, ...], half_side: float
) -> None:
    box = CanonicalBox(torch.tensor(centre), half_side)
    point = torch.tensor([place], dtype=torch.float64)
    torch.testing.assert_close(box.from_unit(box.to_unit(point)), point, rtol=0, atol=1e-12)
    inside = bool(((point - box.centre).abs() <= half_side).all())
    assert box.contains(point).item() == inside


def test_the_cubes_corners_are_zero_and_one() -> None:
    corners = torch.stack([BOX.centre - BOX.half_side, BOX.centre + BOX.half_side])
    torch.testing.assert_close(BOX.to_unit(corners), torch.tensor([[0.0] * 3, [1.0] * 3]))
    assert BOX.contains(corners * 0.999 + BOX.centre * 0.001).all()
    assert not BOX.contains(corners * 1.001 - BOX.centre * 0.001).any()


@given(st.integers(0, 1000))
def test_everybody_within_reach_fits_with_the_margin(seed: int) -> None:
    betas = shapes(20, seed)
    betas = 3.0 * betas / betas.norm(dim=1, keepdim=True)
    beyond = (canonical_vertices(MODEL, betas) - BOX.centre).abs().max()
    assert beyond <= BOX.half_side - MARGIN_M + 1e-6


def test_the_cube_is_about_as_small_as_that_allows() -> None:
    flat = torch.from_numpy(MODEL.v_template.copy())
    longest = float((flat.max(dim=0).values - flat.min(dim=0).values).max())
    assert BOX.half_side < 0.5 * longest * 1.35


def test_canonical_space_is_absolute_zero_pose_not_the_mean_pose() -> None:
    betas = shapes(2)
    zero = torch.zeros(2, 3)
    flat = torch.from_numpy(-np.tile(MODEL.hands_mean, (2, 1)))
    hand = hand_layer()(zero, flat, betas, zero)
    torch.testing.assert_close(canonical_vertices(MODEL, betas), hand.vertices, rtol=0, atol=1e-6)
    torch.testing.assert_close(canonical_joints(MODEL, betas), hand.joints[:, :16], rtol=0, atol=1e-6)
    bent = hand_layer()(zero, torch.zeros(2, 45), betas, zero)
    assert (canonical_vertices(MODEL, betas) - bent.vertices).abs().max() > 0.01
