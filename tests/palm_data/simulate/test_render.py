import sys

import numpy as np
import pytest

from palm_data.camera.tsai import project_tsai, undistort_tsai_points
from palm_data.simulate.environment import LIGHT_MAP, LIGHT_MAP_SHA256
from palm_data.simulate.hand import CapturedHand, pose_captured_hand
from palm_data.simulate.render import RenderSurface, Studio, joined_surface, load_mitsuba, undistorted
from palm_data.simulate.rig import SimulatedRig, make_rig
from palm_data.simulate.sensor import colour_image, noise_free
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.subject import make_subject
from palm_data.store.atomic import file_sha256
from schemas.camera import TsaiCamera
from schemas.errors import SettingsError

SCALE = 0.0625


@pytest.fixture(scope="module")
def rig() -> SimulatedRig:
    return make_rig(7, SCALE)


@pytest.fixture(scope="module")
def studio(rig: SimulatedRig) -> Studio:
    return Studio(rig, threads=2)


@pytest.fixture(scope="module")
def hand() -> CapturedHand:
    return pose_captured_hand(make_subject(7, 1), "spread")


@pytest.fixture(scope="module")
def surface(hand: CapturedHand) -> RenderSurface:
    return joined_surface(hand.vertices, hand.normals, hand.faces, hand.uv, hand.uv_faces)


def plain_skin() -> SkinTextures:
    texels = np.full((8, 8), 0.35, np.float32)
    return SkinTextures(np.stack([texels * 1.2, texels, texels * 0.8], axis=2), texels, texels)


def test_rays_go_where_the_calibration_says(studio: Studio, rig: SimulatedRig) -> None:
    rng = np.random.default_rng(0)
    for camera in rig.cameras:
        points_px = rng.uniform(0, 1, (500, 2)) * camera.image_size_px
        rays = studio.centre_rays(camera, points_px)
        origin, direction = (np.array(part).T.astype(np.float64) for part in (rays.o, rays.d))
        for distance in (0.6, 1.1):
            back = project_tsai(camera, origin + distance * direction)
            assert np.abs(back - points_px).max() < 0.01


def test_the_polynomial_is_the_one_that_reads_calibrations(rig: SimulatedRig) -> None:
    camera = rig.cameras[4]
    points_px = np.random.default_rng(1).uniform(0, 1, (100, 2)) * camera.image_size_px
    sensor_mm = (points_px - camera.principal_point_px) * camera.pixel_size_mm
    x, y = undistorted(sensor_mm[:, 0], sensor_mm[:, 1], camera.radial_k, camera.radial_k2)
    assert np.allclose(np.stack([x, y], axis=1) / camera.focal_mm, undistort_tsai_points(camera, points_px), atol=1e-12)


def test_the_mask_is_where_the_hand_projects(
    studio: Studio, rig: SimulatedRig, surface: RenderSurface, hand: CapturedHand
) -> None:
    only = studio.only_hand(surface)
    for name in ("01_C", "04_C", "06_A"):
        camera = rig.camera(name)
        mask = studio.silhouette(only, camera)
        assert mask.shape == camera.image_size_px[::-1]
        pixels = project_tsai(camera, hand.vertices[hand.is_hand])
        for axis in (0, 1):
            covered = np.flatnonzero(mask.any(axis=axis)) + 0.5
            assert abs(covered.min() - pixels[:, axis].min()) < 1.0 or covered.min() < pixels[:, axis].min()
        columns, rows = np.floor(pixels.T).astype(int)
        assert mask[rows, columns].mean() > 0.85


def test_equal_seeds_render_equal_bytes_on_one_thread_or_two(
    studio: Studio, rig: SimulatedRig, surface: RenderSurface
) -> None:
    camera, pixels = rig.camera("02_C"), np.arange(2000, 6000)

    def rendered(maker: Studio, seed: int) -> np.ndarray:
        return maker.radiance(maker.with_hand(surface, plain_skin()), camera, pixels, spp=4, seed=seed)

    first, again, other = rendered(studio, 1), rendered(studio, 1), rendered(studio, 2)
    single = rendered(Studio(rig, threads=1), 1)
    Studio(rig, threads=2)  # back to two for whoever comes next
    assert np.array_equal(first, again)
    assert np.array_equal(first, single)
    assert not np.array_equal(first, other)


def test_joints_have_a_little_flesh_before_them_or_a_hand(
    studio: Studio, rig: SimulatedRig, surface: RenderSurface, hand: CapturedHand
) -> None:
    only = studio.only_hand(surface)
    palm_side, back_side = (studio.depth_before(only, rig.camera(name), hand.joints) for name in ("06_C", "03_C"))
    assert (np.minimum(palm_side, back_side) < 0.03).all()
    outside = studio.depth_before(only, rig.camera("06_C"), np.array([[0.3, 0.3, 0.3]]))
    assert outside[0] == 0.0


def test_softboxes_hang_above_the_hand(studio: Studio) -> None:
    light = studio.surroundings(studio.empty(), 16, spp=4, seed=1)
    assert light.shape == (16, 32, 3)
    assert (light >= 0).all()
    assert light[:4].max() > 3.0


@pytest.mark.slow
def test_colour_images_are_clean_at_the_default_quality(
    studio: Studio, rig: SimulatedRig, surface: RenderSurface
) -> None:
    textures = make_subject(7, 1).textures(512)
    scene, only = studio.with_hand(surface, textures), studio.only_hand(surface)
    decibels = [
        _psnr(studio, scene, rig.camera(name), np.flatnonzero(studio.silhouette(only, rig.camera(name))))
        for name in ("01_C", "03_C", "06_C")
    ]
    assert np.median(decibels) >= 30.0, decibels


def _psnr(studio: Studio, scene: object, camera: TsaiCamera, pixels: np.ndarray) -> float:
    reference = noise_free(studio.radiance(scene, camera, pixels, spp=1024, seed=1)[None])
    image = colour_image(studio.radiance(scene, camera, pixels, spp=128, seed=2)[None], np.random.default_rng(3))
    return float(-10.0 * np.log10(np.mean((image / 255.0 - reference) ** 2)))


def test_without_mitsuba_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(SettingsError, match=r"palm-factory\[simulate\]"):
        load_mitsuba()


def test_the_light_map_is_the_file_that_was_chosen() -> None:
    assert file_sha256(LIGHT_MAP) == LIGHT_MAP_SHA256
    assert LIGHT_MAP.with_suffix(".LICENSE").read_text().startswith("Creative Commons Legal Code")
