import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.calibration.cameras import load_cameras
from palm_data.calibration.verification import Verification, load_verification
from palm_data.calibration.verify import choose_captures, verify_calibration
from palm_data.capture.ingest import ingest_subject
from palm_data.store.workspace import Workspace
from schemas.errors import BadInputError
from tests.palm_data.calibration.sessions import SIZE, Ingested, ingested, moved, turned, withdraw


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    made = ingested(tmp_path_factory.mktemp("good"), subjects=2, gestures=2)
    made.calibrate()
    return made


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    """One camera a pod is wrong, in another way each."""
    made = ingested(tmp_path_factory.mktemp("wrong"), subjects=2, gestures=2)
    made.rewrite_tka("01_C", lambda camera: turned(camera, 1.0, 0))
    made.rewrite_tka("02_A", lambda camera: turned(camera, 1.0, 1))
    made.rewrite_tka("03_C", lambda camera: turned(camera, 1.0, 2))
    made.rewrite_tka("04_B", lambda camera: moved(camera, 10.0, 0))
    made.rewrite_tka("05_C", lambda camera: moved(camera, 10.0, 1))
    made.rewrite_tka("06_C", lambda camera: moved(camera, -25.0, 2))
    made.rewrite_tka("07_B", lambda camera: moved(camera, -10.0, 0))
    made.calibrate()
    return load_verification(made.workspace, made.calibration_id)


def test_a_true_calibration_agrees_in_all_views(good: Ingested) -> None:
    verification = load_verification(good.workspace, good.calibration_id)
    assert len(verification.cameras) == 21
    assert {camera.status for camera in verification.cameras} == {"agrees"}
    assert min(camera.silhouette_iou or 0 for camera in verification.cameras) > 0.95
    assert max(camera.motion_px or 9 for camera in verification.cameras) < 0.5


def test_a_camera_turned_by_one_degree_or_moved_by_ten_millimetres_is_flagged(wrong: Verification) -> None:
    expected = ("MCU_01", "MCU_02_A", "MCU_03", "MCU_04_B", "MCU_05", "MCU_06", "MCU_07_B")
    assert wrong.flagged == expected
    assert all(camera.reason for camera in wrong.cameras if camera.status == "flagged")


def test_the_fitted_motion_says_what_is_wrong(wrong: Verification) -> None:
    rolls = [view.roll_deg for view in wrong.views if view.camera_id == "MCU_03"]
    assert np.abs(np.median([roll for roll in rolls if roll is not None])) == pytest.approx(1.0, abs=0.25)
    scales = [view.scale for view in wrong.views if view.camera_id == "MCU_06"]
    # The file says 25 mm too far, at 700 mm: what it expects is smaller than what the image shows.
    assert np.median([scale for scale in scales if scale is not None]) == pytest.approx(1 + 25 / 700, abs=0.006)


def test_ten_millimetres_along_the_view_show_at_half_of_the_full_size(tmp_path: Path) -> None:
    """They move the contour by a hundredth of its radius: less than a pixel in the small images of the other tests."""
    made = ingested(tmp_path, subjects=1, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=(1224, 1024))
    made.rewrite_tka("02_C", lambda camera: moved(camera, 10.0, 2))
    made.calibrate()
    assert load_verification(made.workspace, made.calibration_id).flagged == ("MCU_02",)


def test_the_picture_shows_every_camera(good: Ingested) -> None:
    folder = good.workspace.output("calibration", good.calibration_id)
    picture = cv2.imread(str(folder / "picture.png"))
    assert picture.shape[0] > 4 * SIZE[1]
    assert picture.shape[1] > 6 * SIZE[0]
    figures = json.loads((folder / "figures.json").read_bytes())
    assert (figures["cameras"], figures["cameras_flagged"], figures["views_measured"]) == (21, 0, 63)


def test_the_same_inputs_give_the_same_bytes(good: Ingested, tmp_path: Path) -> None:
    again = Workspace(tmp_path / "again")
    for subject_id in good.session.subject_ids:
        content = (good.workspace.output("capture_index", subject_id) / "index.json").read_bytes()

        def copy(folder: Path, content: bytes = content) -> None:
            (folder / "index.json").write_bytes(content)

        again.run_stage("capture_index", subject_id, code_version="1", settings={}, inputs={}, work=copy)
    report = verify_calibration(good.calibration_id, again, good.settings)
    assert report.ran
    assert report.digest == good.workspace.require("calibration", good.calibration_id).digest


def test_a_second_run_has_nothing_to_do_and_a_new_subject_changes_nothing_once_there_are_enough(
    tmp_path: Path,
) -> None:
    made = ingested(tmp_path, subjects=3, gestures=1, pods=2, mono=False, portrait_pod=None)
    made.workspace.forget("capture_index", "0003")
    settings = made.settings.model_copy(
        update={"calibration": made.settings.calibration.model_copy(update={"captures_per_calibration": 2})}
    )
    first = verify_calibration(made.calibration_id, made.workspace, settings)
    ingest_subject("0003", made.workspace, settings)
    second = verify_calibration(made.calibration_id, made.workspace, settings)
    assert (first.ran, second.ran) == (True, False)


def test_captures_are_spread_over_subjects_and_gestures_and_leave_out_withdrawn_people(tmp_path: Path) -> None:
    made = ingested(tmp_path, subjects=3, gestures=3, pods=2, mono=False, portrait_pod=None, image_size=(96, 80))
    made.rewrite_index("0002", withdraw)
    chosen = choose_captures(made.workspace, made.calibration_id, 3)
    assert [capture.subject_id for capture in chosen] == ["0001", "0001", "0003"]
    assert len({capture.gesture for capture in chosen}) == 3
    assert choose_captures(made.workspace, "another", 3) == ()


def test_a_missing_camera_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    made = ingested(tmp_path, gestures=1, pods=3, portrait_pod=None)
    folder = made.session.raw / "calibrations" / made.calibration_id
    (folder / "02_A.tka").unlink()
    (folder / "03_B.tka").write_bytes(b"\xff\xfe")
    made.calibrate()
    verification = load_verification(made.workspace, made.calibration_id)
    assert [Path(problem.source).stem for problem in verification.problems] == ["03_B", "02_A"]
    assert len(load_cameras(made.workspace, made.calibration_id)) == 7


def test_a_calibration_that_nobody_used_is_imported_unmeasured(tmp_path: Path) -> None:
    made = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, withdrawn=["0001"])
    report = verify_calibration(made.calibration_id, made.workspace, made.settings)
    verification = load_verification(made.workspace, made.calibration_id)
    assert {camera.status for camera in verification.cameras} == {"unmeasured"}
    assert report.figures["views_measured"] == 0
    assert report.picture is not None


def test_a_raw_image_changed_after_ingest_is_refused(tmp_path: Path) -> None:
    made = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None)
    path = made.session.image_path("0001", "flat", "MCU_02")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInputError, match="sha256"):
        made.calibrate()
