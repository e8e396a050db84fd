import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.camera.pinhole import project, undistort_image, undistorted
from palm_data.camera.turn import common_turns, turn_camera, turn_image
from schemas.camera import Camera
from schemas.errors import GeometryError
from tests.palm_data.camera.cameras import pinholes, points_in_frame, rotation

turns = st.sampled_from([0, 90, 180, 270])


def turned_pixels(pixels: np.ndarray, width: int, height: int, turn_deg: int) -> np.ndarray:
    """Where a clockwise turn puts points of an image."""
    x, y = pixels.T
    table = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}
    return np.stack(table[turn_deg], axis=1)


@given(pinholes())
@settings(max_examples=30)
def test_four_quarter_turns_are_none(camera: Camera) -> None:
    turned = camera
    for _ in range(4):
        turned = turn_camera(turned, 90)
    assert turned.model_dump(exclude={"cx", "cy"}) == camera.model_dump(exclude={"cx", "cy"})
    np.testing.assert_allclose([turned.cx, turned.cy], [camera.cx, camera.cy], atol=1e-12)


@given(pinholes(), turns, turns)
@settings(max_examples=30)
def test_turns_add_up(camera: Camera, first: int, second: int) -> None:
    both = turn_camera(turn_camera(camera, first), second)
    once = turn_camera(camera, (first + second) % 360)
    assert (both.width, both.height, both.turn_deg) == (once.width, once.height, once.turn_deg)
    np.testing.assert_allclose(both.projection(), once.projection(), atol=1e-9)


@given(pinholes(), turns)
@settings(max_examples=60)
def test_projecting_into_the_turned_camera_is_turning_the_projection(camera: Camera, turn_deg: int) -> None:
    points = points_in_frame(camera)
    pixels, depth = project(camera, points)
    turned, turned_depth = project(turn_camera(camera, turn_deg), points)
    np.testing.assert_allclose(turned, turned_pixels(pixels, camera.width, camera.height, turn_deg), atol=1e-8)
    np.testing.assert_allclose(turned_depth, depth, rtol=1e-12)


@given(pinholes(), turns)
@settings(max_examples=40)
def test_a_point_shows_in_the_pixel_of_the_turned_image_that_it_projects_to(camera: Camera, turn_deg: int) -> None:
    pixels, _ = project(camera, points_in_frame(camera))
    image = np.zeros((camera.height, camera.width), dtype=np.uint8)
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
    edge = np.abs(pixels - np.rint(pixels)).min(axis=1) < 1e-6
    for index in np.flatnonzero(inside & ~edge):
        image[:] = 0
        image[row[index], column[index]] = 255
        there = project(turn_camera(camera, turn_deg), points_in_frame(camera)[index : index + 1])[0][0]
        turned_column, turned_row = np.floor(there).astype(int)
        assert turn_image(image, turn_deg)[turned_row, turned_column] == 255


def test_turning_and_undistorting_commute() -> None:
    camera = Camera(
        camera_id="MCU_07", calibration_id="rig", width=64, height=80, fx=150, fy=151, cx=31, cy=41,
        rotation=rotation((0.1, 0.2, 0.3)), translation=(0, 0, 1), distortion={"k1": -0.2, "k2": 0.1, "p1": 0.01, "p2": -0.02},
    )  # fmt: skip
    x, y = np.meshgrid(np.arange(64), np.arange(80))
    image = (127 + 60 * np.sin(x / 3) + 60 * np.cos(y / 4)).astype(np.uint8)
    turned_first = undistort_image(turn_image(image, 90), turn_camera(camera, 90)).astype(int)
    turned_last = turn_image(undistort_image(image, camera), 90).astype(int)
    assert np.abs(turned_first - turned_last).max() <= 2  # positions are rounded to 1/32 px
    assert undistorted(turn_camera(camera, 90)) == turn_camera(undistorted(camera), 90)


@given(turns, turns)
def test_images_turn_clockwise_and_keep_their_kind(first: int, second: int) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(
        turn_image(turn_image(image, first), second), turn_image(image, (first + second) % 360)
    )
    quarter = turn_image(image, 90)
    np.testing.assert_array_equal(quarter[0, -1], image[0, 0])
    assert quarter.shape == (4, 2, 3)
    assert quarter.flags.c_contiguous


def test_other_turns_are_refused() -> None:
    with pytest.raises(GeometryError, match="found 45"):
        turn_image(np.zeros((2, 2)), 45)


def upright(name: str, azimuth: float, *, roll_deg: int = 0, size: tuple[int, int] = (24, 20)) -> Camera:
    """A camera on a ring, world +y up in its image; rolled, it lies on its side."""
    forward = -np.array([np.cos(azimuth), 0.2, np.sin(azimuth)])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rows = np.stack([right, np.cross(forward, right), forward])
    camera = Camera(
        camera_id=name, calibration_id="rig", width=size[0], height=size[1], fx=70, fy=70, cx=size[0] / 2, cy=size[1] / 2,
        rotation=tuple(map(tuple, rows.tolist())), translation=(0, 0, 1),
    )  # fmt: skip
    return turn_camera(camera, roll_deg).model_copy(update={"turn_deg": 0})


@pytest.mark.parametrize(("roll", "back"), [(90, 270), (270, 90)])
def test_the_odd_portrait_camera_is_turned_upright_either_way_it_fell(roll: int, back: int) -> None:
    cameras = [upright(f"MCU_0{n}", n) for n in range(1, 7)] + [upright("MCU_07", 7, roll_deg=roll)]
    assert common_turns(cameras) == {**{f"MCU_0{n}": 0 for n in range(1, 7)}, "MCU_07": back}
    stood_up = turn_camera(cameras[-1], back)
    np.testing.assert_allclose(stood_up.rotation, upright("MCU_07", 7).rotation, atol=1e-12)


def test_a_rig_of_portrait_cameras_turns_its_landscape_one() -> None:
    cameras = [upright(f"MCU_0{n}", n, size=(20, 24)) for n in range(1, 4)]
    cameras.append(upright("MCU_04", 4, roll_deg=90, size=(20, 24)))
    assert common_turns(cameras)["MCU_04"] == 270


def test_square_images_turn_nowhere_and_a_tie_is_landscape() -> None:
    square = upright("MCU_01", 1, size=(20, 20))
    assert common_turns([square]) == {"MCU_01": 0}
    tie = [upright("MCU_01", 1), upright("MCU_02", 2, roll_deg=90)]
    assert common_turns(tie) == {"MCU_01": 0, "MCU_02": 270}


def test_a_camera_that_could_fall_either_way_is_refused() -> None:
    flat = upright("MCU_02", 2)
    standing = Camera(**{**flat.model_dump(), "camera_id": "MCU_03", "width": 20, "height": 24})
    down = np.asarray(flat.rotation)[1]
    sideways = np.stack([np.cross(down, [0.3, 0.2, 0.9]), down, down])
    sideways[0] /= np.linalg.norm(sideways[0])
    sideways[2] = np.cross(sideways[0], sideways[1])
    standing = standing.model_copy(update={"rotation": tuple(map(tuple, sideways.tolist()))})
    with pytest.raises(GeometryError, match="MCU_03"):
        common_turns([flat, flat.model_copy(update={"camera_id": "MCU_01"}), standing])
