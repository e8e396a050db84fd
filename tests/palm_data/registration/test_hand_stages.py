"""The stages on a whole subject: what cannot be fitted costs itself alone."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.registration.hand_pose import HANDS_FILE, make_hand_pose
from palm_data.registration.hand_pose import STAGE as HAND_POSE
from palm_data.registration.hand_shape import STAGE as HAND_SHAPE
from palm_data.registration.hand_shape import load_betas, make_hand_shape
from palm_data.registration.picture import ERROR_TOP_MM, error_colours
from palm_data.registration.unfit import load_unfit
from palm_data.store.tables import read_rows
from schemas.errors import BadInputError, ConsentError, StoreError
from schemas.hand import HandRow
from tests.palm_data.calibration.sessions import Ingested, withdraw
from tests.palm_data.registration.sessions import detect, hand_session


@pytest.fixture
def made(tmp_path: Path) -> Ingested:
    return hand_session(tmp_path)


def hands(made: Ingested) -> dict[int, HandRow]:
    rows = read_rows(made.workspace.output(HAND_POSE, "0001") / HANDS_FILE, HandRow)
    return {row.frame: row for row in rows}


def test_a_capture_with_two_joints_costs_itself_alone(made: Ingested) -> None:
    detect(made)
    make_hand_shape("0001", made.workspace, made.settings)
    whole = make_hand_pose("0001", made.workspace, made.settings)
    before = hands(made)
    assert sorted(before) == [1, 2]
    assert whole.figures["captures_unfit"] == 0
    assert load_unfit(made.workspace, HAND_POSE, "0001") == {}
    simple = json.loads((made.workspace.output(HAND_SHAPE, "0001") / "shape.json").read_bytes())["frames"]
    other = ({1, 2} - set(simple)).pop()

    detect(made, seen={other: 2})
    assert make_hand_shape("0001", made.workspace, made.settings).figures["captures_unfit"] == 1
    report = make_hand_pose("0001", made.workspace, made.settings)
    assert (report.figures["captures"], report.figures["captures_unfit"]) == (1, 1)
    assert hands(made) == {frame: before[frame] for frame in simple}
    reason = load_unfit(made.workspace, HAND_POSE, "0001")[other]
    assert "at least 3 of 21" in reason
    assert "found 2" in reason
    assert report.picture is not None
    assert cv2.imread(str(report.picture)).std() > 10


def test_without_a_simple_gesture_that_fits_the_shape_comes_from_what_does(made: Ingested) -> None:
    detect(made, seen={1: 2, 2: 21})
    first = fitted_frames(made)
    detect(made, seen={1: 21, 2: 2})
    assert (first, fitted_frames(made)) == ([2], [1])


def fitted_frames(made: Ingested) -> list[int]:
    make_hand_shape("0001", made.workspace, made.settings)
    return list(json.loads((made.workspace.output(HAND_SHAPE, "0001") / "shape.json").read_bytes())["frames"])


def test_a_subject_without_any_hand_that_fits_is_set_aside_with_reasons(made: Ingested) -> None:
    detect(made)
    make_hand_shape("0001", made.workspace, made.settings)
    detect(made, seen={1: 2, 2: 0})
    for make in (make_hand_shape, make_hand_pose):
        with pytest.raises(BadInputError, match=r"frame 1: joints: .* found 2; frame 2: joints: .* found 0"):
            make("0001", made.workspace, made.settings)


def test_joints_on_a_line_are_no_hand(made: Ingested, monkeypatch: pytest.MonkeyPatch) -> None:
    detect(made)
    make_hand_shape("0001", made.workspace, made.settings)
    from palm_data.registration import measured

    joints = measured.joints

    def flattened(*arguments: object) -> tuple[np.ndarray, np.ndarray]:
        points, covariance = joints(*arguments)  # type: ignore[arg-type]
        points[1] = np.linspace(0, 0.1, 21)[:, None]
        return points, covariance

    monkeypatch.setattr(measured, "joints", flattened)
    make_hand_pose("0001", made.workspace, made.settings)
    assert sorted(hands(made)) == [1]
    assert "on a line" in load_unfit(made.workspace, HAND_POSE, "0001")[2]


def test_the_shape_of_another_hand_model_is_refused(made: Ingested, tmp_path: Path) -> None:
    detect(made)
    make_hand_shape("0001", made.workspace, made.settings)
    model = load_hand_model()
    arrays = dict(np.load(SHIPPED_MODEL))
    arrays["v_template"] = arrays["v_template"] * 1.01
    np.savez(tmp_path / "larger.npz", **arrays)
    other = load_hand_model(tmp_path / "larger.npz")
    assert load_betas(made.workspace, "0001", model).shape == (10,)
    with pytest.raises(StoreError, match="Materialize hand_shape again"):
        load_betas(made.workspace, "0001", other)


def test_nothing_is_fitted_of_a_person_who_withdrew(made: Ingested) -> None:
    detect(made)
    made.rewrite_index("0001", withdraw)
    for make in (make_hand_shape, make_hand_pose):
        with pytest.raises(ConsentError):
            make("0001", made.workspace, made.settings)


def test_errors_run_from_blue_to_red_and_unknown_ones_are_grey() -> None:
    none, most, beyond, unknown = error_colours(np.array([0.0, ERROR_TOP_MM, 99.0, np.nan]))
    assert none[2] > none[0]
    assert most[0] > most[2]
    assert np.array_equal(most, beyond)
    assert len(set(unknown.tolist())) == 1
