from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.camera.pinhole import project
from palm_data.camera.tsai import camera_from_tsai, project_tsai, undistort_tsai_points
from palm_data.capture.tka import read_tka
from schemas.camera import PixelOrigin, TsaiCamera
from schemas.errors import BadInputError, GeometryError
from tests.palm_data.camera.cameras import tsai_cameras

EXAMPLE = read_tka(Path(__file__).parents[1] / "capture" / "tka" / "synthetic_04_C.tka")


def frame_grid(camera: TsaiCamera, steps: int = 25) -> np.ndarray:
    """Pixels all over the frame, its corners included."""
    width, height = camera.image_size_px
    x, y = np.meshgrid(np.linspace(0, width, steps), np.linspace(0, height, steps))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def behind(camera: TsaiCamera, normalised: np.ndarray, depth_m: float) -> np.ndarray:
    """World points (m) at the given undistorted normalised coordinates."""
    in_camera = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1) * depth_m
    return in_camera @ np.linalg.inv(np.asarray(camera.rotation)).T + np.asarray(camera.centre_mm) / 1000


@given(tsai_cameras(), st.sampled_from(PixelOrigin), st.floats(0.3, 3.0))
@settings(max_examples=60)
def test_pixels_come_back_through_undistortion_and_projection(
    camera: TsaiCamera, origin: PixelOrigin, depth_m: float
) -> None:
    pixels = frame_grid(camera)
    points = behind(camera, undistort_tsai_points(camera, pixels, origin), depth_m)
    np.testing.assert_allclose(project_tsai(camera, points, origin), pixels, atol=1e-5)


@given(tsai_cameras(), st.sampled_from(PixelOrigin))
@settings(max_examples=60)
def test_our_camera_agrees_with_tsais_within_a_twentieth_pixel_over_the_frame(
    camera: TsaiCamera, origin: PixelOrigin
) -> None:
    ours = camera_from_tsai(camera, camera_id="MCU_04", calibration_id="rig", origin=origin)
    points = behind(camera, undistort_tsai_points(camera, frame_grid(camera), origin), 1.0)
    pixels, depth = project(ours, points)
    assert np.abs(pixels - project_tsai(camera, points, origin)).max() < 0.05
    np.testing.assert_allclose(depth, 1.0, rtol=1e-9)


def test_the_stated_formula_holds_on_the_sensor() -> None:
    # x_u = x_d (1 + K r_d² + K2 r_d⁴) in millimetres, by hand for one pixel
    pixel = np.array([[2100.0, 300.0]])
    distorted_mm = (pixel - EXAMPLE.principal_point_px) * EXAMPLE.pixel_size_mm
    squared = (distorted_mm**2).sum()
    expected = distorted_mm * (1 + EXAMPLE.radial_k * squared + EXAMPLE.radial_k2 * squared**2) / EXAMPLE.focal_mm
    np.testing.assert_allclose(undistort_tsai_points(EXAMPLE, pixel), expected, rtol=1e-13)


def test_tsai_coefficients_are_not_opencvs() -> None:
    # Several public parsers pass K straight on; in the corner that is off by dozens of pixels.
    ours = camera_from_tsai(EXAMPLE, camera_id="MCU_04", calibration_id="rig")
    assert ours.distortion.k1 == pytest.approx(-EXAMPLE.radial_k * EXAMPLE.focal_mm**2, rel=0.02)
    assert np.sign(ours.distortion.k1) != np.sign(EXAMPLE.radial_k)


def test_a_centre_convention_moves_pixels_by_half_a_pixel() -> None:
    points = np.array([[0.01, 0.02, 0.0], [-0.05, 0.0, 0.03]])
    corner = project_tsai(EXAMPLE, points, PixelOrigin.CORNER)
    centre = project_tsai(EXAMPLE, points, PixelOrigin.CENTRE)
    np.testing.assert_allclose(centre - corner, 0.5, atol=1e-9)
    ours = [
        camera_from_tsai(EXAMPLE, camera_id="MCU_04", calibration_id="rig", origin=origin)
        for origin in (PixelOrigin.CORNER, PixelOrigin.CENTRE)
    ]
    assert (ours[1].cx - ours[0].cx, ours[1].cy - ours[0].cy) == (0.5, 0.5)


def test_the_optical_axis_hits_the_principal_point_even_without_distortion() -> None:
    plain = EXAMPLE.model_copy(update={"radial_k": 0.0, "radial_k2": 0.0})
    for camera in (plain, EXAMPLE):
        points = behind(camera, np.zeros((1, 2)), 0.7)
        np.testing.assert_allclose(project_tsai(camera, points), [camera.principal_point_px], atol=1e-6)


def test_points_behind_or_past_the_fold_have_no_image() -> None:
    behind_camera = np.asarray(EXAMPLE.centre_mm)[None] / 1000 - np.asarray(EXAMPLE.rotation)[2]
    assert np.isnan(project_tsai(EXAMPLE, behind_camera)).all()
    folding = EXAMPLE.model_copy(update={"radial_k": -0.01, "radial_k2": 0.0})
    assert np.isnan(project_tsai(folding, behind(folding, np.array([[3.0, 0.0]]), 1.0))).all()
    assert np.isfinite(project_tsai(folding, behind(folding, np.array([[0.05, 0.0]]), 1.0))).all()


def test_scale_stretches_columns_only() -> None:
    stretched = EXAMPLE.model_copy(update={"scale": 1.02})
    points = np.array([[0.03, 0.02, 0.0]])
    before, after = (project_tsai(camera, points)[0] - EXAMPLE.principal_point_px for camera in (EXAMPLE, stretched))
    np.testing.assert_allclose(after, before * (1.02, 1.0), rtol=1e-12)


def test_skew_is_refused_not_ignored() -> None:
    skewed = EXAMPLE.model_copy(update={"skew": 1e-4})
    for call in (
        lambda: project_tsai(skewed, np.zeros((1, 3))),
        lambda: undistort_tsai_points(skewed, np.zeros((1, 2))),
        lambda: camera_from_tsai(skewed, camera_id="MCU_04", calibration_id="rig"),
    ):
        with pytest.raises(BadInputError, match=r"04_C\.tka: %c: expected 0"):
            call()


@pytest.mark.parametrize(("radial_k", "radial_k2"), [(-0.02, 0.0), (0.0, -4e-4), (0.06, -1.1e-3)])
def test_distortion_that_cannot_be_followed_is_refused(radial_k: float, radial_k2: float) -> None:
    wild = EXAMPLE.model_copy(update={"radial_k": radial_k, "radial_k2": radial_k2})
    with pytest.raises(GeometryError, match=r"04_C\.tka"):
        camera_from_tsai(wild, camera_id="MCU_04", calibration_id="rig")


@pytest.mark.parametrize("change", [
    {"radial_k2": 1e308}, {"focal_mm": 1e308}, {"focal_mm": 1e-300}, {"pixel_size_mm": (5e-324, 0.003)},
    {"principal_point_px": (0.0, -1e308)}, {"centre_mm": (1e308, 0.0, 0.0)}, {"scale": 1e300},
])  # fmt: skip
def test_numbers_that_no_camera_has_are_refused_before_they_overflow(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(GeometryError, match=rf"04_C\.tka: {name}: expected magnitudes"):
        camera_from_tsai(EXAMPLE.model_copy(update=change), camera_id="MCU_04", calibration_id="rig")


def test_the_example_converts_far_better_than_asked() -> None:
    ours = camera_from_tsai(EXAMPLE, camera_id="MCU_04", calibration_id="rig")
    pixels = frame_grid(EXAMPLE)
    points = behind(EXAMPLE, undistort_tsai_points(EXAMPLE, pixels), 1.2)
    assert np.abs(project(ours, points)[0] - pixels).max() < 0.001
    np.testing.assert_allclose(ours.centre(), np.asarray(EXAMPLE.centre_mm) / 1000, atol=1e-8)
