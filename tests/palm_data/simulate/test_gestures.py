import numpy as np
import pytest

from palm_data.simulate.contact import ALLOWED_DEPTH_M, pressed_depths
from palm_data.simulate.gestures import GESTURES, joint_rotations, within_limits
from palm_data.simulate.hand import gesture_named
from palm_data.simulate.template import capture_template
from schemas.errors import GeometryError
from schemas.hand import JOINT_NAMES
from tests.palm_data.simulate.people import capture


def test_there_are_enough_gestures_with_distinct_names() -> None:
    names = [spec.name for spec in GESTURES]
    assert len(names) >= 12
    assert len(set(names)) == len(names)


def test_the_first_five_hold_simple_closed_and_touching_hands() -> None:
    first = GESTURES[:5]
    assert sum(spec.gesture.simple for spec in first) >= 2
    assert {"fist", "pinch"} <= {spec.name for spec in first}


def test_an_unknown_gesture_is_refused_by_name() -> None:
    with pytest.raises(GeometryError, match="found 'vulcan'"):
        gesture_named("vulcan")


@pytest.mark.parametrize("spec", GESTURES, ids=lambda spec: spec.name)
def test_angles_stay_within_what_a_hand_can_do(spec: object) -> None:
    for seed in range(20):
        angles = spec.angles(np.random.default_rng(seed))  # type: ignore[attr-defined]
        np.testing.assert_array_equal(within_limits(angles), angles)


def test_flexion_bends_fingers_towards_the_palm() -> None:
    anatomy = capture_template().anatomy
    angles = np.zeros((5, 5))
    angles[1:, 0] = 30.0
    turns = joint_rotations(anatomy, angles).reshape(15, 3)
    for name in ("index", "middle", "ring", "pinky"):
        bones = anatomy.fingers[name]
        turn = turns[bones.joint_ids[0] - 1]
        assert np.linalg.norm(turn) == pytest.approx(np.radians(30.0))
        assert np.cross(turn, bones.points[1] - bones.points[0]) @ anatomy.palm_normal > 0


def test_a_fist_is_closed_and_a_flat_hand_is_open() -> None:
    tip, wrist = JOINT_NAMES.index("middle_tip"), JOINT_NAMES.index("wrist")
    flat, fist = capture(1, "flat").joints, capture(1, "fist").joints
    open_reach, closed_reach = (np.linalg.norm(joints[tip] - joints[wrist]) for joints in (flat, fist))
    assert closed_reach < 0.65 * open_reach


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_pinching_fingers_meet(number: int) -> None:
    joints = capture(number, "pinch").joints
    gap = joints[JOINT_NAMES.index("thumb_tip")] - joints[JOINT_NAMES.index("index_tip")]
    assert np.linalg.norm(gap) < 0.028  # the tips are finger ends; the pads below them touch


@pytest.mark.parametrize("gesture", ["fist", "pinch", "point"])
@pytest.mark.parametrize("number", [1, 4])
def test_fingers_press_no_deeper_than_flesh_gives_way(number: int, gesture: str) -> None:
    template = capture_template()
    posed = capture(number, gesture).vertices[: len(template.base_vertices)]
    assert pressed_depths(template, posed).max() < 3 * ALLOWED_DEPTH_M


def test_open_hands_touch_nothing() -> None:
    template = capture_template()
    posed = capture(1, "flat").vertices[: len(template.base_vertices)]
    assert pressed_depths(template, posed).max() == 0.0
