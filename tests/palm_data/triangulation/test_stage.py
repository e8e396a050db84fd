from pathlib import Path

import numpy as np
import pytest

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import load_index
from palm_data.report.skeletons import bones, draw_skeleton
from palm_data.store.tables import write_rows
from palm_data.triangulation.keypoints import (
    KEYPOINTS_2D,
    KEYPOINTS_2D_FILE,
    detections,
    joints,
    load_keypoints_2d,
    load_keypoints_3d,
)
from palm_data.triangulation.picture import worst_capture
from palm_data.triangulation.stage import triangulate_detections, triangulate_subject, used_cameras, without_implausible
from schemas.annotation import Keypoint2DRow
from schemas.errors import ConsentError, StoreError
from schemas.settings import Keypoints3DSettings
from tests.palm_data.calibration.sessions import Ingested, ingested, withdraw

ROWS = np.linspace(0, 800, 21).astype(int)
BLIND = 5
"""This joint is seen by one camera only."""


def places(made: Ingested, gesture: str) -> np.ndarray:
    """Where the joints are: as close together as a hand's, in the scan's middle."""
    vertices = made.session.surfaces["0001", gesture].vertices
    middle = vertices.mean(axis=0)
    return middle + 0.2 * (vertices[ROWS] - middle)


def detected(made: Ingested, *, wrong: str | None = None) -> None:
    """The stage before, with exact detections; one camera's are wrong if it is named."""
    index = load_index(made.workspace, "0001")
    rows = []
    for capture in index.captures:
        points = places(made, capture.gesture)
        for camera in load_cameras(made.workspace, made.calibration_id):
            px, _ = project(undistorted(camera), points)
            px = px + (30.0 if camera.camera_id == wrong else 0.0)
            for joint, (x, y) in enumerate(px.tolist()):
                seen = joint != BLIND or camera.camera_id == "MCU_01"
                rows.append(
                    Keypoint2DRow(
                        subject_id="0001", frame=capture.frame, camera_id=camera.camera_id, joint=joint,
                        x_px=x, y_px=y, confidence=0.9 if seen else 0.0,
                    )
                )  # fmt: skip

    def work(folder: Path) -> None:
        write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, rows)

    made.workspace.run_stage(KEYPOINTS_2D, "0001", code_version="test", settings={"wrong": wrong}, inputs={}, work=work)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    session = ingested(tmp_path_factory.mktemp("triangulation"), subjects=1, gestures=2)
    session.calibrate()
    detected(session)
    return session


def test_exact_detections_give_the_joints(made: Ingested) -> None:
    report = triangulate_subject("0001", made.workspace, made.settings)
    index = load_index(made.workspace, "0001")
    frames = [capture.frame for capture in index.captures]
    points, covariance = joints(load_keypoints_3d(made.workspace, "0001"), frames)
    truth = np.stack([places(made, capture.gesture) for capture in index.captures])
    found = np.arange(21) != BLIND
    assert np.abs(points[:, found] - truth[:, found]).max() < 1e-6
    assert np.linalg.eigvalsh(covariance[:, found]).min() > 0
    assert report.figures["cameras"] == 21
    assert report.figures["joints"] == 42
    assert report.picture is not None


def test_a_joint_that_one_camera_sees_is_missing_and_says_so(made: Ingested) -> None:
    report = triangulate_subject("0001", made.workspace, made.settings)
    rows = [row for row in load_keypoints_3d(made.workspace, "0001") if row.joint == BLIND]
    assert all(row.x is None and row.cov_zz is None and row.reprojection_px is None and row.views == 0 for row in rows)
    assert report.figures["joints_missing"] == len(rows) == 2
    assert report.figures["coverage"] == pytest.approx(40 / 42, abs=1e-4)


def test_the_stage_runs_once(made: Ingested) -> None:
    triangulate_subject("0001", made.workspace, made.settings)
    assert not triangulate_subject("0001", made.workspace, made.settings).ran


def test_colour_cameras_alone_when_the_settings_say_so(made: Ingested) -> None:
    settings = made.settings.model_copy(update={"keypoints_3d": Keypoints3DSettings(mono=False)})
    assert triangulate_subject("0001", made.workspace, settings).figures["cameras"] == 7


def test_a_camera_that_is_wrong_is_outvoted(tmp_path: Path) -> None:
    made = ingested(tmp_path, subjects=1, gestures=1, mono=False)
    made.calibrate()
    detected(made, wrong="MCU_02")
    triangulate_subject("0001", made.workspace, made.settings)
    index = load_index(made.workspace, "0001")
    points, _ = joints(load_keypoints_3d(made.workspace, "0001"), [1])
    truth = places(made, index.captures[0].gesture)
    found = np.arange(21) != BLIND
    assert np.abs(points[0, found] - truth[found]).max() < 1e-6
    assert {row.views for row in load_keypoints_3d(made.workspace, "0001") if row.joint != BLIND} == {6}


def test_a_joint_that_all_views_see_at_an_impossible_place_is_missing(tmp_path: Path) -> None:
    made = ingested(tmp_path, subjects=1, gestures=1, mono=False)
    made.calibrate()
    detected(made)
    index = load_index(made.workspace, "0001")
    cameras = used_cameras(load_cameras(made.workspace, made.calibration_id), made.settings.keypoints_3d)
    seen = detections(load_keypoints_2d(made.workspace, "0001"), [1], [camera.camera_id for camera in cameras])
    away = places(made, index.captures[0].gesture)[20] + (0.0, 0.09, 0.0)
    for column, camera in enumerate(cameras):
        seen.points_px[0, column, 20] = project(undistorted(camera), away[None])[0][0]
    found, refused = without_implausible(triangulate_detections(seen, cameras, made.settings.keypoints_3d))
    assert refused == 1
    assert np.flatnonzero(np.isnan(found.points[:, 0].numpy())).tolist() == [BLIND, 20]
    assert not found.inliers[20].any()


def test_thresholds_grow_with_the_image(made: Ingested) -> None:
    index = load_index(made.workspace, "0001")
    frames = [capture.frame for capture in index.captures]
    cameras = used_cameras(load_cameras(made.workspace, made.calibration_id), Keypoints3DSettings())
    seen = detections(load_keypoints_2d(made.workspace, "0001"), frames, [camera.camera_id for camera in cameras])
    moved = seen.points_px.copy()
    moved[:, 0] += 5.0  # of 40 px at full size, a twelfth here
    shifted = type(seen)(points_px=moved, confidence=seen.confidence)
    assert not triangulate_detections(shifted, cameras, Keypoints3DSettings()).inliers[0, 0]
    larger = [
        camera.model_copy(
            update={name: getattr(camera, name) * 12 for name in ("width", "height", "fx", "fy", "cx", "cy")}
        )
        for camera in cameras
    ]
    scaled = type(seen)(
        points_px=np.concatenate([moved[:, :1], seen.points_px[:, 1:]], axis=1) * 12, confidence=seen.confidence
    )
    scaled.points_px[:, 0] = (seen.points_px[:, 0]) * 12 + 5.0
    assert triangulate_detections(scaled, larger, Keypoints3DSettings()).inliers[0, 0]


def test_a_person_who_withdrew_is_left_alone(tmp_path: Path) -> None:
    made = ingested(tmp_path, subjects=1, gestures=1, mono=False)
    made.calibrate()
    detected(made)
    made.rewrite_index("0001", withdraw)
    with pytest.raises(ConsentError):
        triangulate_subject("0001", made.workspace, made.settings)


def test_detections_of_a_capture_that_is_gone_are_refused(made: Ingested) -> None:
    with pytest.raises(StoreError, match="frame"):
        detections(load_keypoints_2d(made.workspace, "0001"), [1], ["MCU_01"])


def test_the_worst_capture_misses_most_joints() -> None:
    error = np.full((3, 21), 1.0)
    error[1, :4] = np.nan
    error[2, :] = 9.0
    assert worst_capture(error) == 1
    assert worst_capture(error[[0, 2]]) == 1


def test_a_skeleton_is_drawn_where_the_joints_are() -> None:
    assert len(bones()) == 20
    image = np.zeros((64, 64), np.uint8)
    points = np.full((21, 2), np.nan)
    assert not draw_skeleton(image, points).any()
    points[0] = (20.5, 30.5)
    drawn = draw_skeleton(image, points)
    rows, columns = np.nonzero(drawn.sum(axis=2))
    assert abs(rows.mean() - 30.0) < 0.3
    assert abs(columns.mean() - 20.0) < 0.3
