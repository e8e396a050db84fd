"""Joint orders: permutations that invert, and that agree with what each source publishes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from palm_data.hand.joints import JOINT_ORDERS, JointOrder, from_order, rows_in_order, to_order
from schemas.errors import GeometryError
from schemas.hand import JOINT_NAMES

ORDERS = st.sampled_from(JointOrder)
JOINTS = arrays.arrays(
    np.float64,
    arrays.array_shapes(min_dims=0, max_dims=2, max_side=3).map(lambda batch: (*batch, 21, 3)),
    elements=st.floats(-1, 1),
)


@pytest.mark.parametrize("order", JointOrder)
def test_every_order_is_a_permutation_of_ours(order: JointOrder) -> None:
    assert sorted(JOINT_ORDERS[order]) == sorted(JOINT_NAMES)
    assert sorted(rows_in_order(order)) == list(range(21))


@given(order=ORDERS, joints=JOINTS)
def test_there_and_back_changes_nothing(order: JointOrder, joints: np.ndarray) -> None:
    np.testing.assert_array_equal(from_order(to_order(joints, order), order), joints)
    np.testing.assert_array_equal(to_order(from_order(joints, order), order), joints)


@given(order=ORDERS)
def test_a_joint_keeps_its_name_on_the_way(order: JointOrder) -> None:
    names = np.array(JOINT_NAMES)[:, None]
    assert to_order(names, order)[:, 0].tolist() == list(JOINT_ORDERS[order])


def test_openpose_and_mediapipe_are_the_published_permutation_of_mano_with_tips() -> None:
    published = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
    assert rows_in_order(JointOrder.OPENPOSE) == rows_in_order(JointOrder.MEDIAPIPE) == published


def test_interhand_goes_from_tip_to_root_and_ends_at_the_wrist() -> None:
    names = JOINT_ORDERS[JointOrder.INTERHAND]
    assert names[:4] == ("thumb_tip", "thumb3", "thumb2", "thumb1")
    assert names[16:] == ("pinky_tip", "pinky3", "pinky2", "pinky1", "wrist")


def test_our_order_is_left_alone() -> None:
    assert rows_in_order(JointOrder.PALM) == tuple(range(21))


@pytest.mark.parametrize("shape", [(42, 3), (3,), (21,), (21, 3, 2)])
def test_anything_but_21_joints_is_refused(shape: tuple[int, ...]) -> None:
    for convert in (to_order, from_order):
        with pytest.raises(GeometryError, match="21"):
            convert(np.zeros(shape), JointOrder.OPENPOSE)
