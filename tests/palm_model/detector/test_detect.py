import numpy as np
import pytest
import torch

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import load_index
from palm_data.triangulation.keypoints import Detections, load_keypoints_2d
from palm_data.triangulation.stage import triangulate_subject
from palm_model.detector.checkpoint import current_checkpoint, load_checkpoint
from palm_model.detector.dataset import Session, load_examples
from palm_model.detector.detect import detect_subject
from palm_model.detector.selection import disagreement, images_to_annotate
from palm_model.detector.stage import make_detector
from schemas.errors import ConsentError, IntegrityError
from schemas.settings import DetectorSettings, DetectorTrainingSettings
from tests.palm_data.calibration.sessions import Ingested, withdraw
from tests.palm_model.detector.sessions import ROWS, annotated

TRAINING = DetectorTrainingSettings(steps=30, batch=6, learning_rate=3e-3, robust_from=1.0, held_out_people_percent=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    torch.set_num_threads(1)
    found = annotated(tmp_path_factory.mktemp("detect"))
    settings = found.settings.model_copy(update={"detector": DetectorSettings(input_px=64, training=TRAINING)})
    ready = Ingested(found.session, found.workspace, settings)
    make_detector(load_examples([Session(ready.session.raw, ready.workspace)], settings), ready.workspace, settings)
    detect_subject("0001", ready.workspace, settings)
    return ready


def test_every_joint_of_every_image_has_a_row(made: Ingested) -> None:
    rows = load_keypoints_2d(made.workspace, "0001")
    assert len(rows) == 2 * 12 * 21
    assert [(row.frame, row.camera_id, row.joint) for row in rows] == sorted(
        (row.frame, row.camera_id, row.joint) for row in rows
    )
    report = detect_subject("0001", made.workspace, made.settings)
    assert not report.ran
    assert report.figures["images"] == 24
    assert report.picture is not None


def test_what_was_learned_is_found_in_the_undistorted_image(made: Ingested) -> None:
    cameras = {camera.camera_id: camera for camera in load_cameras(made.workspace, made.calibration_id)}
    captures = {capture.frame: capture for capture in load_index(made.workspace, "0001").captures}
    errors = []
    for row in load_keypoints_2d(made.workspace, "0001"):
        joints = made.session.surfaces["0001", captures[row.frame].gesture].vertices[ROWS]
        expected, _ = project(undistorted(cameras[row.camera_id]), joints[row.joint : row.joint + 1])
        errors.append(np.hypot(*(expected[0] - (row.x_px, row.y_px))))
    assert np.median(errors) < 20  # of a hand of 100 px: learned, though in thirty steps only


def test_colour_cameras_alone_when_the_settings_say_so(made: Ingested) -> None:
    detector = made.settings.detector.model_copy(update={"mono": False})
    settings = made.settings.model_copy(update={"detector": detector})
    assert detect_subject("0001", made.workspace, settings).figures["images"] == 8
    assert detect_subject("0001", made.workspace, made.settings).figures["images"] == 24


def test_a_detector_that_is_named_is_used(made: Ingested, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("none") / "detector.safetensors"
    detector = made.settings.detector.model_copy(update={"checkpoint": path})
    with pytest.raises(IntegrityError, match=r"detector\.safetensors"):
        detect_subject("0001", made.workspace, made.settings.model_copy(update={"detector": detector}))


def test_the_network_sees_neither_seed_nor_threads(made: Ingested) -> None:
    path = current_checkpoint(made.workspace, made.settings)
    first, second = load_checkpoint(path)[0], load_checkpoint(path)[0]
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(first(image), second(image))


def test_images_in_which_the_views_contradict_each_other_come_first(made: Ingested) -> None:
    triangulate_subject("0001", made.workspace, made.settings)
    found = images_to_annotate(made.workspace, ["0001"], 5)
    assert 1 <= len(found) <= 2
    assert len({(item.subject_id, item.frame) for item in found}) == len(found)
    assert [item.disagreement for item in found] == sorted((item.disagreement for item in found), reverse=True)
    rest = images_to_annotate(made.workspace, ["0001"], 5, frozenset({found[0].path}))
    assert found[0].path not in {item.path for item in rest}


def test_disagreement_grows_with_the_error_up_to_a_limit(made: Ingested) -> None:
    camera = load_cameras(made.workspace, made.calibration_id)[0]
    joints = made.session.surfaces["0001", "flat"].vertices[ROWS]
    exact, _ = project(undistorted(camera), joints)
    values = []
    for error in (0.0, 1.0, 4.0, 1000.0):
        seen = Detections(points_px=np.add(exact, [error, 0.0])[None, None], confidence=np.ones((1, 1, 21)))
        values.append(disagreement(seen, joints, camera, 0, 0))
    assert values[0] < 1e-9
    assert values == sorted(values)
    assert values[-1] == pytest.approx(0.25)
    assert disagreement(seen, np.full((21, 3), np.nan), camera, 0, 0) == 0.25


def test_a_person_who_withdrew_is_not_looked_at(made: Ingested) -> None:
    made.rewrite_index("0001", withdraw)
    with pytest.raises(ConsentError):
        detect_subject("0001", made.workspace, made.settings)
