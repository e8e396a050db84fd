from pathlib import Path

import numpy as np
import pytest

from palm_data.calibration.cameras import cameras_json, colour_cameras, load_cameras, read_calibration
from palm_data.camera.pinhole import project
from palm_data.camera.tsai import project_tsai
from palm_data.store.workspace import Workspace
from palm_data.testing.raw_session import RawSession, write_raw_session
from schemas.errors import BadInputError, IntegrityError, StoreError
from schemas.ids import raw_from_camera_id
from schemas.settings import Settings


@pytest.fixture
def session(tmp_path: Path) -> RawSession:
    return write_raw_session(tmp_path / "raw", gestures=1, pods=3, portrait_pod=3)


def tka(session: RawSession, name: str) -> Path:
    return session.raw / "calibrations" / session.calibration_id / f"{name}.tka"


def test_every_camera_is_imported_turned_and_sorted(session: RawSession) -> None:
    cameras, problems = read_calibration(session.raw, session.calibration_id, Settings())
    assert problems == ()
    assert [camera.camera_id for camera in cameras] == sorted(camera.camera_id for camera in cameras)
    assert {(camera.width, camera.height) for camera in cameras} == {(96, 80)}
    assert {camera.camera_id for camera in cameras if camera.turn_deg} == {"MCU_03", "MCU_03_A", "MCU_03_B"}
    assert [camera.camera_id for camera in colour_cameras(cameras)] == ["MCU_01", "MCU_02", "MCU_03"]


def test_imported_cameras_see_what_the_rig_sees(session: RawSession) -> None:
    cameras, _ = read_calibration(session.raw, session.calibration_id, Settings())
    points = np.random.default_rng(0).uniform(-0.06, 0.06, (50, 3))
    for camera in cameras:
        if camera.turn_deg == 0:
            exact = project_tsai(session.cameras[raw_from_camera_id(camera.camera_id)], points)
            np.testing.assert_allclose(project(camera, points)[0], exact, atol=0.05)


def test_a_missing_and_a_corrupt_camera_cost_themselves_only(session: RawSession) -> None:
    tka(session, "01_A").unlink()
    tka(session, "02_B").write_text("not a camera", encoding="ascii")
    cameras, problems = read_calibration(session.raw, session.calibration_id, Settings())
    assert len(cameras) == 7
    assert [(Path(problem.source).name, problem.field) for problem in problems] == [
        ("02_B.tka", "line 1 (%M)"),
        ("01_A.tka", "file"),
    ]
    assert all(str(session.raw) not in problem.model_dump_json() for problem in problems)


def test_a_calibration_without_two_colour_cameras_is_refused(session: RawSession) -> None:
    tka(session, "01_C").unlink()
    tka(session, "02_C").unlink()
    with pytest.raises(BadInputError, match="at least 2 usable colour cameras, found 1"):
        read_calibration(session.raw, session.calibration_id, Settings())


def test_a_calibration_that_is_not_there_is_refused_by_name(session: RawSession) -> None:
    with pytest.raises(BadInputError, match="calibrations/rig_b"):
        read_calibration(session.raw, "rig_b", Settings())


def test_cameras_read_back_as_the_stage_wrote_them(session: RawSession, tmp_path: Path) -> None:
    cameras, _ = read_calibration(session.raw, session.calibration_id, Settings())
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(StoreError, match="calibration"):
        load_cameras(workspace, "rig_a")

    def work(folder: Path) -> None:
        (folder / "cameras.json").write_bytes(cameras_json(cameras))

    workspace.run_stage("calibration", "rig_a", code_version="1", settings={}, inputs={}, work=work)
    assert load_cameras(workspace, "rig_a") == cameras
    (workspace.output("calibration", "rig_a") / "cameras.json").write_text("[{}]")
    with pytest.raises(IntegrityError, match=r"cameras\.json"):
        load_cameras(workspace, "rig_a")
