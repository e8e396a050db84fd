import json
from pathlib import Path

import numpy as np
import pytest

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import load_index, subject_digest
from palm_data.maps.surface import build_surface
from palm_model.detector.annotations import read_annotations
from palm_model.detector.crops import CropBox, cut_crop, hand_vertices, scan_box
from palm_model.detector.dataset import Session, load_examples, stored_points
from palm_model.detector.views import ViewReader
from schemas.errors import BadInputError
from schemas.hand import JOINT_NAMES
from tests.palm_data.calibration.sessions import Ingested, withdraw
from tests.palm_model.detector.sessions import ROWS, annotated


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    return annotated(tmp_path_factory.mktemp("detector"), pods=7)


def test_marks_of_a_distorted_turned_image_lie_on_the_projected_joint(made: Ingested) -> None:
    marked = {item.path: item for item in read_annotations(made.session.raw)}
    cameras = {camera.camera_id: camera for camera in load_cameras(made.workspace, made.calibration_id)}
    assert {camera.turn_deg for camera in cameras.values()} != {0}
    for capture in load_index(made.workspace, "0001").captures:
        joints = made.session.surfaces["0001", capture.gesture].vertices[ROWS]
        for image in capture.images:
            camera = cameras[image.camera_id]
            points_px, _ = stored_points(marked[image.raw.path], camera)
            expected, _ = project(undistorted(camera), joints)
            assert np.abs(points_px - expected).max() < 0.06


def test_a_file_that_counts_from_pixel_centres_is_moved_by_half_a_pixel(made: Ingested, tmp_path: Path) -> None:
    coco = json.loads((made.session.raw / "annotations" / "hand.json").read_text())
    (tmp_path / "annotations").mkdir()
    for info in ({}, {"pixel_origin": "centre"}):
        (tmp_path / "annotations" / "a.json").write_text(json.dumps({**coco, "info": info}))
        ours, theirs = read_annotations(made.session.raw), read_annotations(tmp_path)
        assert np.allclose(theirs[3].points_px - ours[3].points_px, 0.5)


def test_joints_of_a_file_are_put_in_our_order(made: Ingested, tmp_path: Path) -> None:
    coco = json.loads((made.session.raw / "annotations" / "hand.json").read_text())
    coco["categories"][0]["keypoints"] = list(reversed(JOINT_NAMES))
    for item in coco["annotations"]:
        item["keypoints"] = np.array(item["keypoints"]).reshape(-1, 3)[::-1].ravel().tolist()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text(json.dumps(coco))
    for ours, theirs in zip(read_annotations(made.session.raw), read_annotations(tmp_path), strict=True):
        assert np.allclose(ours.points_px, theirs.points_px)
        assert (ours.labelled == theirs.labelled).all()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda coco: coco.pop("images"), "images"),
        (lambda coco: coco["annotations"][0].update(keypoints=[1.0] * 60), "keypoints"),
        (lambda coco: coco["annotations"][0].update(image_id=10**6), "image_id"),
        (lambda coco: coco["categories"][0].update(keypoints=["nose"]), "categories"),
        (lambda coco: coco["info"].update(pixel_origin="somewhere"), "pixel_origin"),
    ],
)
def test_a_file_that_is_not_ours_to_read_is_named(made: Ingested, tmp_path: Path, change: object, field: str) -> None:
    coco = json.loads((made.session.raw / "annotations" / "hand.json").read_text())
    change(coco)  # type: ignore[operator]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text(json.dumps(coco))
    with pytest.raises(BadInputError) as error:
        read_annotations(tmp_path)
    assert field in error.value.field
    assert error.value.source.endswith("a.json")


def test_not_a_number_is_not_a_place(made: Ingested, tmp_path: Path) -> None:
    text = (made.session.raw / "annotations" / "hand.json").read_text()
    coco = json.loads(text)
    coco["annotations"][0]["keypoints"][0] = float("nan")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text(json.dumps(coco))
    with pytest.raises(BadInputError):
        read_annotations(tmp_path)


def test_examples_show_what_was_marked(made: Ingested) -> None:
    examples = load_examples([Session(made.session.raw, made.workspace)], made.settings)
    assert len(examples) == 2 * 21
    assert examples.subjects == (subject_digest(load_index(made.workspace, "0001")),)
    assert examples.left_out == 0
    assert int((~examples.labelled).sum()) == 7
    size = examples.crops.shape[1]
    assert (examples.points_px[examples.labelled] > 0).all()
    assert (examples.points_px[examples.labelled] < size).all()
    lit = [
        crop[int(y), int(x)].max() > 30
        for crop, points in zip(examples.crops, examples.points_px, strict=True)
        for x, y in points
    ]
    assert np.mean(lit) > 0.9  # on the surface, not on the black around it


def test_the_same_annotations_have_the_same_digest_and_other_ones_another(made: Ingested, tmp_path: Path) -> None:
    session = Session(made.session.raw, made.workspace)
    first = load_examples([session], made.settings)
    assert load_examples([session, session], made.settings).digest == first.digest
    other = annotated(tmp_path, gestures=1)
    assert load_examples([Session(other.session.raw, other.workspace)], other.settings).digest != first.digest


def test_a_person_who_withdrew_teaches_nothing(tmp_path: Path) -> None:
    made = annotated(tmp_path, subjects=2, gestures=1)
    made.rewrite_index("0002", withdraw)
    examples = load_examples([Session(made.session.raw, made.workspace)], made.settings)
    assert len(examples) == examples.left_out == 12
    made.rewrite_index("0001", withdraw)
    with pytest.raises(BadInputError, match="annotated images"):
        load_examples([Session(made.session.raw, made.workspace)], made.settings)


def test_whole_people_are_held_out_and_somebody_is_always_learned_from(made: Ingested, tmp_path: Path) -> None:
    alone = load_examples([Session(made.session.raw, made.workspace)], made.settings)
    assert not alone.held_out(90).any()
    other = annotated(tmp_path, subjects=3, gestures=1)
    examples = load_examples([Session(other.session.raw, other.workspace)], other.settings)
    assert len(examples.subjects) == 3
    for percent, strangers in ((0, 0), (30, 1), (34, 2), (90, 2)):
        held = examples.held_out(percent)
        out = {person for person, is_out in zip(examples.people, held, strict=True) if is_out}
        assert len(out) == strangers
        assert held.sum() == sum(person in out for person in examples.people)
        assert {*examples.learned_from(percent)} == {*examples.subjects} - out


def test_the_scan_lies_in_its_box(made: Ingested) -> None:
    cameras = load_cameras(made.workspace, made.calibration_id)
    vertices = made.session.surfaces["0001", "flat"].vertices
    for camera in cameras:
        box = scan_box(vertices, camera, 1.2)
        assert box is not None
        points_px, _ = project(undistorted(camera), vertices)
        inside = ((points_px >= 0) & (points_px <= (camera.width, camera.height))).all(axis=1)
        crop_px = box.to_crop(points_px[inside], 128)
        assert crop_px.min() > 0
        assert crop_px.max() < 128
        assert np.allclose(box.to_image(crop_px, 128), points_px[inside])


def test_a_scan_outside_the_image_has_no_box(made: Ingested) -> None:
    camera = load_cameras(made.workspace, made.calibration_id)[0]
    behind = camera.centre() - 0.5 * np.asarray(camera.rotation)[2]
    assert scan_box(behind + np.eye(3), camera, 1.2) is None


def test_a_crop_keeps_places_and_is_black_beyond_the_image() -> None:
    image = np.zeros((40, 60), np.uint8)
    image[10:12, 20:22] = 200
    box = CropBox(left=-10, top=-20, side=64)
    crop = cut_crop(image, box, 128)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    place = box.to_image(np.array([columns.mean() + 0.5, rows.mean() + 0.5]), 128)
    assert np.allclose(place, [21.0, 11.0], atol=0.3)
    assert not crop[:38].any()


def test_a_view_is_the_undistorted_image(made: Ingested) -> None:
    capture = load_index(made.workspace, "0001").captures[0]
    reader = ViewReader(load_cameras(made.workspace, made.calibration_id), made.settings)
    views = list(reader.views(capture, {"MCU_01", "MCU_07", "MCU_07_A"}))
    assert [view.record.camera_id for view in views] == ["MCU_01", "MCU_07", "MCU_07_A"]
    assert {view.image.shape[:2] for view in views} == {(132, 160)}


def test_the_forearm_is_left_out_of_the_box() -> None:
    along, around = np.meshgrid(np.linspace(0.0, 0.5, 101), np.linspace(0.0, 2 * np.pi, 24, endpoint=False))
    vertices = np.stack([along, 0.03 * np.cos(around), 0.03 * np.sin(around)], axis=-1).reshape(-1, 3)
    vertices[along.ravel() == 0.5, 1:] = 0.0  # closed at the tips, open at the cut
    row, column = np.divmod(np.arange(24 * 100), 100)
    here, right = row * 101 + column, (row + 1) % 24 * 101 + column
    faces = np.concatenate([np.stack([here, right, here + 1], 1), np.stack([right, right + 1, here + 1], 1)])
    surface = build_surface(vertices, faces.astype(np.int32))
    hand = hand_vertices(surface, 0.2)
    assert hand[:, 0].min() == pytest.approx(0.3, abs=0.006)
    assert hand[:, 0].max() == pytest.approx(0.5)
    assert len(hand_vertices(surface, 9.0)) == len(surface.vertices)


def test_a_scan_that_is_cut_nowhere_counts_as_hand(made: Ingested) -> None:
    surface = made.session.surfaces["0001", "flat"]
    built = build_surface(surface.vertices, surface.faces)
    assert len(hand_vertices(built, 0.05)) == len(built.vertices)
