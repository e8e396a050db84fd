import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.camera.tsai import camera_from_tsai, project_tsai
from palm_data.camera.turn import common_turns
from palm_data.capture.tka import read_tka
from palm_data.testing.raw_session import RawSession, write_raw_session
from palm_data.testing.shapes import lobed_surface
from schemas.ids import camera_id_from_raw


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> RawSession:
    return write_raw_session(tmp_path_factory.mktemp("raw") / "raw", subjects=2)


def test_the_layout_is_a_rigs(session: RawSession) -> None:
    assert len(list(session.raw.glob("calibrations/rig_a/*.tka"))) == 21
    assert len(list(session.raw.glob("000?/*/*.png"))) == 2 * 2 * (21 + 1)
    assert session.scan_path("0001", "flat").name == "flat.000011.obj"
    assert session.scan_path("0002", "fist").name == "fist.000022.ply"
    assert session.image_path("0001", "flat", "MCU_03_B").exists()
    assert session.metres_per_unit == {"0001": 1.0, "0002": 0.001}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        write_raw_session(tmp_path / name, gestures=1, pods=2, image_size=(48, 40), portrait_pod=None)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append(
            [(path.relative_to(tmp_path / name), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
        )
    assert digests[0] == digests[1]


def test_calibration_files_hold_the_cameras(session: RawSession) -> None:
    for name, camera in session.cameras.items():
        assert read_tka(session.raw / "calibrations" / "rig_a" / f"{name}.tka") == camera


def test_every_surface_lies_inside_every_image(session: RawSession) -> None:
    for surface in session.surfaces.values():
        for camera in session.cameras.values():
            pixels = project_tsai(camera, surface.vertices)
            assert (pixels > 0).all()
            assert (pixels < camera.image_size_px).all()


def test_images_show_the_surface_where_it_projects(session: RawSession) -> None:
    for name, camera in session.cameras.items():
        image = cv2.imread(str(session.image_path("0001", "fist", camera_id_from_raw(name))), cv2.IMREAD_GRAYSCALE)
        painted = np.argwhere(image > 40)[:, ::-1] + 0.5
        pixels = project_tsai(camera, session.surfaces["0001", "fist"].vertices)
        np.testing.assert_allclose(painted.min(axis=0), pixels.min(axis=0), atol=1.6)
        np.testing.assert_allclose(painted.max(axis=0), pixels.max(axis=0), atol=1.6)


def test_only_the_portrait_pod_turns(session: RawSession) -> None:
    cameras = [
        camera_from_tsai(camera, camera_id=camera_id_from_raw(name), calibration_id="rig_a")
        for name, camera in session.cameras.items()
    ]
    turned = {camera_id for camera_id, turn in common_turns(cameras).items() if turn}
    assert turned == {"MCU_07", "MCU_07_A", "MCU_07_B"}


def test_the_shape_is_closed_and_faces_outwards() -> None:
    surface = lobed_surface(spread=0.7, turn_rad=0.4)
    corners = surface.vertices[surface.faces]
    volume = np.einsum("fi,fi->", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2]) / 6
    assert 5e-5 < volume < 1e-3
    edges = np.sort(surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
