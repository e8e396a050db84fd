import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model
from palm_data.triangulation.plausible import BONES, implausible
from schemas.hand import JOINT_NAMES


def rest_hand() -> np.ndarray:
    import torch

    layer = HandLayer(load_hand_model())
    zeros = [torch.zeros(1, size) for size in (3, 45, 10, 3)]
    return layer(*zeros).joints[0].detach().numpy().astype(np.float64)


HAND = rest_hand()
joints = st.integers(0, len(JOINT_NAMES) - 1)


def test_every_joint_but_the_wrist_hangs_on_one_bone() -> None:
    assert sorted(BONES[:, 1]) == list(range(1, 21))


@given(scale=st.floats(0.5, 1.1), missing=st.sets(joints))
def test_a_hand_of_any_persons_size_is_left_alone(scale: float, missing: set[int]) -> None:
    points = HAND * scale
    points[list(missing)] = np.nan
    assert not implausible(points).any()


@given(joint=joints.filter(lambda joint: joint != 0), direction=st.integers(0, 2**16))
def test_one_joint_far_away_is_the_one_to_go(joint: int, direction: int) -> None:
    points = HAND.copy()
    away = np.random.default_rng(direction).normal(size=3)
    points[joint] += 0.3 * away / np.linalg.norm(away)
    assert np.flatnonzero(implausible(points)).tolist() == [joint]


def test_a_tip_found_at_another_fingers_tip_goes() -> None:
    points = HAND.copy()
    thumb, pinky = JOINT_NAMES.index("thumb_tip"), JOINT_NAMES.index("pinky_tip")
    points[pinky] = points[thumb]
    assert np.flatnonzero(implausible(points)).tolist() == [pinky]


@given(seed=st.integers(0, 2**16))
def test_no_bone_is_too_long_afterwards(seed: int) -> None:
    points = HAND + np.random.default_rng(seed).normal(0, 0.05, HAND.shape)
    out = implausible(points)
    points[out] = np.nan
    assert not implausible(points).any()
