from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from palm_data.camera.pinhole import (
    pixel_rays,
    project,
    undistort_image,
    undistort_points,
    undistorted,
    undistortion_maps,
)
from palm_data.camera.turn import turn_camera
from schemas.camera import Camera, Distortion
from schemas.errors import GeometryError
from tests.palm_data.camera.cameras import pinholes, points_in_frame, rotation


def lens(**changes: object) -> Camera:
    """A camera with barrel distortion of about three pixels in the corners."""
    values = {
        "camera_id": "MCU_04", "calibration_id": "rig", "width": 160, "height": 128, "fx": 300.0, "fy": 303.0, "cx": 83.0,
        "cy": 62.0, "rotation": rotation((0.2, -0.4, 0.1)), "translation": (0.1, 0.0, 1.0),
        "distortion": Distortion(k1=-0.35, k2=0.6, p1=0.002, p2=-0.001, k3=-0.5),
    }  # fmt: skip
    return Camera(**{**values, **changes})


def pattern(pixels: np.ndarray) -> np.ndarray:
    """A smooth picture of known value everywhere, periods of 14 to 30 px."""
    x, y = pixels[..., 0], pixels[..., 1]
    return (
        127
        + 50 * np.sin(2 * np.pi * x / 14 + 0.3)
        + 40 * np.sin(2 * np.pi * y / 19)
        + 30 * np.sin(2 * np.pi * (x + y) / 30)
    )


def centres(camera: Camera) -> np.ndarray:
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([x, y], axis=-1)


def distorted_picture(camera: Camera) -> np.ndarray:
    """What the lens makes of the pattern that the undistorted camera sees, exactly."""
    return np.rint(pattern(seen_by_lens(camera))).astype(np.uint8)


def seen_by_lens(camera: Camera) -> np.ndarray:
    """Where each pixel of the distorted image looks in the undistorted one."""
    normalised = undistort_points(camera, centres(camera).reshape(-1, 2))
    return (normalised * (camera.fx, camera.fy) + (camera.cx, camera.cy)).reshape(camera.height, camera.width, 2)


@given(pinholes())
@settings(max_examples=60)
def test_projection_is_opencvs_but_for_the_half_pixel(camera: Camera) -> None:
    points = points_in_frame(camera)
    pixels, depth = project(camera, points)
    centre_based = camera.intrinsics()
    centre_based[:2, 2] -= 0.5  # OpenCV counts from the first pixel's centre
    theirs, _ = cv2.projectPoints(
        points, np.asarray(camera.rotation), np.asarray(camera.translation), centre_based, camera.distortion.opencv()
    )
    np.testing.assert_allclose(pixels - 0.5, theirs[:, 0], atol=1e-6)
    pose = camera.world_to_camera()
    np.testing.assert_allclose(depth, (points @ pose[:3, :3].T + pose[:3, 3])[:, 2])


def test_without_distortion_projection_is_the_matrix() -> None:
    camera = undistorted(lens())
    points = points_in_frame(camera)
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ camera.projection().T
    np.testing.assert_allclose(project(camera, points)[0], homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-9)


def test_points_without_image_are_nan_and_keep_their_depth() -> None:
    camera = lens(distortion=Distortion(k1=-0.3), rotation=rotation((0, 0, 0)), translation=(0, 0, 0))
    in_camera = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [2.0, 0.0, 1.0], [0.1, 0.0, 1.0]])
    pixels, depth = project(camera, in_camera)
    assert np.isnan(pixels).all(axis=1).tolist() == [True, True, True, False]  # 2.0 lies past the fold at 1.05
    np.testing.assert_array_equal(depth, in_camera[:, 2])


@given(pinholes())
@settings(max_examples=60)
def test_undistorting_points_undoes_projection(camera: Camera) -> None:
    points = points_in_frame(camera)
    pixels, _ = project(camera, points)
    seen = np.isfinite(pixels).all(axis=1)
    ideal, _ = project(undistorted(camera), points[seen])
    recovered = undistort_points(camera, pixels[seen]) * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    np.testing.assert_allclose(recovered, ideal, atol=1e-6)


def test_points_past_the_fold_cannot_be_undistorted() -> None:
    with pytest.raises(GeometryError, match="MCU_04"):
        undistort_points(lens(distortion=Distortion(k1=-0.3)), np.array([[900.0, 62.0]]))


def test_rays_leave_from_the_centre_and_hit_their_pixels() -> None:
    camera = lens()
    origin, directions = pixel_rays(camera)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0, atol=1e-12)
    pixels, depth = project(camera, (origin + 0.8 * directions).reshape(-1, 3))
    np.testing.assert_allclose(pixels.reshape(128, 160, 2), centres(camera), atol=1e-6)
    assert (depth > 0).all()
    np.testing.assert_allclose(origin, camera.centre())


def test_a_known_picture_comes_out_of_its_distortion() -> None:
    camera = lens()
    found = undistort_image(distorted_picture(camera), camera).astype(float)
    error = np.abs(found - pattern(centres(camera)))[4:-4, 4:-4]
    assert error.mean() < 0.4  # rounding to whole numbers twice makes 0.35 of it
    assert error.max() < 2


def test_half_a_pixel_would_show() -> None:
    # The same with OpenCV's convention mistaken for ours: ten times the error
    camera = lens()
    maps = tuple(part + np.float32(0.5) for part in undistortion_maps(camera))
    found = undistort_image(distorted_picture(camera), camera, maps).astype(float)
    assert np.abs(found - pattern(centres(camera)))[4:-4, 4:-4].mean() > 5


def test_interpolation_is_nearer_than_linear_and_cubic() -> None:
    camera = lens()
    picture, ideal = distorted_picture(camera), pattern(centres(camera))[4:-4, 4:-4]
    ours = np.abs(undistort_image(picture, camera)[4:-4, 4:-4].astype(float) - ideal).mean()
    for method in (cv2.INTER_LINEAR, cv2.INTER_CUBIC):
        theirs = cv2.remap(picture, *undistortion_maps(camera), method)[4:-4, 4:-4].astype(float)
        assert ours < 0.7 * np.abs(theirs - ideal).mean()


def band(shortest_px: float, longest_px: float) -> Callable[[np.ndarray], np.ndarray]:
    """A picture of 200 waves in all directions, wavelengths within a band; mean 127, standard deviation about 45."""
    rng = np.random.default_rng(0)
    wavelengths = np.exp(rng.uniform(np.log(shortest_px), np.log(longest_px), 200))
    headings, phases = rng.uniform(0, np.pi, 200), rng.uniform(0, 2 * np.pi, 200)
    waves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * (2 * np.pi / wavelengths)[:, None]
    return lambda pixels: np.clip(127 + 4.5 * np.sin(pixels @ waves.T + phases).sum(axis=-1), 0, 255)


@pytest.mark.parametrize(("shortest_px", "longest_px", "least_db"), [(3, 6, 46), (5, 12, 50), (12, 40, 54)])
def test_fine_detail_survives(shortest_px: float, longest_px: float, least_db: float) -> None:
    # The figures that docs/undistortion.md quotes
    camera, picture = lens(), band(shortest_px, longest_px)
    ideal = picture(centres(camera))[4:-4, 4:-4]
    distorted = np.rint(picture(seen_by_lens(camera))).astype(np.uint8)

    def decibels(image: np.ndarray) -> float:
        return 20 * np.log10(255 / np.sqrt(((image[4:-4, 4:-4] - ideal) ** 2).mean()))

    ours = decibels(undistort_image(distorted, camera))
    cubic, linear = (
        decibels(cv2.remap(distorted, *undistortion_maps(camera), method))
        for method in (cv2.INTER_CUBIC, cv2.INTER_LINEAR)
    )
    assert ours > least_db, (ours, cubic, linear)
    assert ours > max(cubic, linear) + 2


def test_pixels_from_outside_the_image_are_black_and_those_inside_do_not_fade() -> None:
    pincushion = lens(distortion=Distortion(k1=0.6))
    found = undistort_image(np.full((128, 160, 3), 200, dtype=np.uint8), pincushion)
    map_x, map_y = undistortion_maps(pincushion)
    inside = (map_x >= -0.5) & (map_x <= 159.5) & (map_y >= -0.5) & (map_y <= 127.5)
    assert not inside.all()
    assert (found[~inside] == 0).all()
    assert (found[inside] == 200).all()


def test_without_distortion_nothing_changes() -> None:
    camera = undistorted(lens())
    picture = np.random.default_rng(0).integers(0, 256, (128, 160, 3)).astype(np.uint8)
    found = undistort_image(picture, camera)
    np.testing.assert_array_equal(found, picture)
    assert found is not picture


def test_undistortion_is_the_same_each_time_with_any_number_of_threads() -> None:
    camera, picture = lens(), np.random.default_rng(0).integers(0, 256, (128, 160, 3)).astype(np.uint8)
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 2):
            cv2.setNumThreads(count)
            results.append(undistort_image(picture, camera).tobytes())
    finally:
        cv2.setNumThreads(threads)
    assert results[0] == results[1]


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"expected an image of 160×128, found 128×160"):
        undistort_image(np.zeros((160, 128), dtype=np.uint8), lens())


def test_cameras_stay_as_they_were() -> None:
    camera = lens()
    turn_camera(camera, 90)
    undistorted(camera)
    assert camera == lens()
