import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from palm_data.camera.area import image_at
from palm_data.camera.pinhole import project
from palm_data.camera.tier import camera_at
from palm_data.colour import linear_from_srgb, srgb_from_linear
from schemas.camera import Camera
from schemas.tier import FACTORS, TIERS, Tier, in_order, tier_length

SMALLER: tuple[Tier, ...] = ("half", "quarter")


def camera(width: int, height: int) -> Camera:
    return Camera(
        camera_id="MCU_01", calibration_id="rig", width=width, height=height, fx=900.0, fy=910.0, cx=151.25, cy=129.5,
        rotation=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), translation=(0.01, -0.02, 0.7),
    )  # fmt: skip


def mean_of_light(image: np.ndarray, factor: int) -> np.ndarray:
    """Area by area, in double precision: the mean of the light of the pixels that are there."""
    linear = linear_from_srgb(image / 255.0)
    rows, columns = -(-image.shape[0] // factor), -(-image.shape[1] // factor)
    out = np.zeros((rows, columns, *image.shape[2:]))
    for row in range(rows):
        for column in range(columns):
            area = linear[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            out[row, column] = area.mean(axis=(0, 1))
    return srgb_from_linear(out) * 255.0


@pytest.mark.parametrize("tier", SMALLER)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pixels_are_the_mean_light_of_their_area(tier: Tier, image: np.ndarray) -> None:
    found = image_at(image, tier)
    expected = mean_of_light(image, FACTORS[tier])
    assert (found.dtype, found.shape) == (np.uint8, expected.shape)
    assert np.abs(found - expected).max() < 0.56  # rounding to a whole value, and a little for that of the light


@pytest.mark.parametrize("tier", TIERS)
def test_an_even_colour_stays_what_it_is(tier: Tier) -> None:
    for value in range(256):
        assert (image_at(np.full((5, 7), value, np.uint8), tier) == value).all()


def test_stripes_keep_their_light_and_not_their_mean_value() -> None:
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.unique(image_at(stripes, "half")).tolist() == [188]  # half the light of 255; a mean of values gives 128


@pytest.mark.parametrize(("tier", "size"), [("full", (307, 257)), ("half", (154, 129)), ("quarter", (77, 65))])
def test_sizes_are_rounded_up_and_the_last_pixels_are_means_of_what_there_is(tier: Tier, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (257, 307), dtype=np.uint8)
    small, factor = image_at(image, tier), FACTORS[tier]
    assert small.shape[::-1] == size == (tier_length(307, tier), tier_length(257, tier))
    corner = image[(size[1] - 1) * factor :, (size[0] - 1) * factor :]
    np.testing.assert_allclose(small[-1, -1], mean_of_light(corner, max(corner.shape))[0, 0], atol=0.56)


@pytest.mark.parametrize("tier", TIERS)
def test_a_point_projects_to_the_same_place_of_every_tier(tier: Tier) -> None:
    full, small = camera(307, 257), camera_at(camera(307, 257), tier)
    points = np.random.default_rng(1).normal(0, 0.05, (20, 3))
    np.testing.assert_allclose(project(small, points)[0] * FACTORS[tier], project(full, points)[0], atol=1e-9)
    assert small.world_to_camera().tolist() == full.world_to_camera().tolist()
    assert (small.width, small.height) == (tier_length(307, tier), tier_length(257, tier))


def test_tiers_are_put_in_order_each_once() -> None:
    assert in_order(["quarter", "full", "quarter", "table"]) == ("full", "quarter")
