from pathlib import Path

import numpy as np
import pytest

from palm_data.camera.tsai import camera_from_tsai, project_tsai
from palm_data.camera.turn import common_turns
from palm_data.capture.tka import format_tka, read_tka
from palm_data.simulate.hand import pose_captured_hand
from palm_data.simulate.rig import PORTRAIT_POD, focus_distance, is_colour, is_portrait, make_rig
from palm_data.simulate.subject import make_subject
from schemas.ids import camera_id_from_raw

PLACES = np.random.default_rng(0).uniform(-0.09, 0.09, (200, 3))


def test_there_are_seven_pods_of_two_mono_cameras_and_a_colour_camera() -> None:
    rig = make_rig(7, 0.125)
    assert [camera.raw_name for camera in rig.cameras] == [
        f"{pod:02d}_{letter}" for pod in range(1, 8) for letter in "ABC"
    ]
    assert sum(is_colour(camera) for camera in rig.cameras) == 7
    assert [camera.raw_name for camera in rig.calibrated] == [camera.raw_name for camera in rig.cameras]


def test_full_scale_gives_the_sensors_own_size() -> None:
    sizes = {camera.raw_name: camera.image_size_px for camera in make_rig(7, 1.0).cameras}
    assert sizes.pop("04_C") == (2048, 2448)
    assert sizes["01_C"] == (2448, 2048)


@pytest.mark.parametrize("scale", [0.03, 0.125, 0.5])
def test_a_scale_changes_pixels_and_no_direction(scale: float) -> None:
    for full, small in zip(make_rig(7, 1.0).cameras, make_rig(7, scale).cameras, strict=True):
        assert np.allclose(project_tsai(full, PLACES) * scale, project_tsai(small, PLACES), atol=1e-9)


def test_one_pod_stands_portrait_and_turns_upright_like_the_rest() -> None:
    rig = make_rig(7, 0.125)
    assert {camera.raw_name[:2] for camera in rig.cameras if is_portrait(camera)} == {f"{PORTRAIT_POD:02d}"}
    ours = [
        camera_from_tsai(camera, camera_id=camera_id_from_raw(camera.raw_name), calibration_id="a")
        for camera in rig.calibrated
    ]
    turned = {camera_id for camera_id, turn in common_turns(ours).items() if turn}
    assert turned == {"MCU_04", "MCU_04_A", "MCU_04_B"}
    assert set(common_turns(ours).values()) == {0, 90}


def test_cameras_stand_around_the_hand_at_arm_s_length() -> None:
    rig = make_rig(7, 1.0)
    centres = np.array([camera.centre_mm for camera in rig.cameras]) / 1000.0
    distances = np.linalg.norm(centres, axis=1)
    assert distances.min() > 0.6
    assert distances.max() < 1.0
    azimuths = np.sort(np.degrees(np.arctan2(centres[2::3, 1], centres[2::3, 0])))
    assert np.diff([*azimuths, azimuths[0] + 360.0]).max() < 60.0
    baselines = np.linalg.norm(centres[0::3] - centres[1::3], axis=1)
    assert ((baselines > 0.1) & (baselines < 0.15)).all()
    assert all(0.7 < focus_distance(camera) < 1.0 for camera in rig.cameras)


def test_every_camera_has_its_own_lens() -> None:
    cameras = make_rig(7, 1.0).cameras
    assert len({camera.focal_mm for camera in cameras}) == 21
    assert len({camera.radial_k for camera in cameras}) == 21
    offsets = np.array([camera.principal_point_px for camera in cameras]) - np.array(
        [np.array(camera.image_size_px) / 2 for camera in cameras]
    )
    assert 5.0 < np.abs(offsets).mean() < 40.0


def test_every_camera_sees_the_whole_hand_of_the_largest_and_the_smallest_of_many_people() -> None:
    lengths = {number: make_subject(7, number).person.hand_length_mm for number in range(1, 25)}
    rig = make_rig(7, 1.0)
    for number in (max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)):
        for gesture in ("flat", "spread"):
            hand = pose_captured_hand(make_subject(7, number), gesture)
            for camera in rig.cameras:
                pixels = project_tsai(camera, hand.vertices[hand.is_hand])
                assert (pixels > 0).all(), camera.raw_name
                assert (pixels < camera.image_size_px).all(), camera.raw_name


def test_calibration_files_read_back_as_written(tmp_path: Path) -> None:
    for camera in make_rig(7, 0.125).calibrated:
        path = tmp_path / f"{camera.raw_name}.tka"
        path.write_bytes(format_tka(camera).encode("ascii"))
        read = read_tka(path)
        assert np.abs(project_tsai(read, PLACES) - project_tsai(camera, PLACES)).max() < 1e-3
        assert read.image_size_px == camera.image_size_px


def test_the_calibration_is_a_fraction_of_a_pixel_off_the_truth() -> None:
    rig = make_rig(7, 1.0)
    offsets = [
        np.linalg.norm(project_tsai(stated, PLACES) - project_tsai(true, PLACES), axis=1).mean()
        for stated, true in zip(rig.calibrated, rig.cameras, strict=True)
    ]
    assert 0.05 < np.mean(offsets) < 0.6


def test_another_seed_is_another_rig() -> None:
    assert make_rig(7, 1.0) == make_rig(7, 1.0)
    assert make_rig(7, 1.0).cameras != make_rig(8, 1.0).cameras
