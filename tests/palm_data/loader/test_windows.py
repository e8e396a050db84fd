"""Parts of views: what they hold, where they lie, and that only their tiles are read."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.camera.pinhole import project
from palm_data.loader.release import Release
from palm_data.testing.tiny_labels import HEIGHT, TILE, WIDTH
from schemas.errors import IntegrityError, StoreError

ARRAYS = ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask")
WINDOWS = ((0, 0, 3, 4), (5, 3, 7, 7), (8, 8, 1, 1), (9, 0, 4, 10), (0, 0, WIDTH, HEIGHT))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_holds_what_the_view_holds_there(seen_release: Release, window: tuple[int, int, int, int]) -> None:
    x, y, width, height = window
    whole = seen_release[0].views[1]
    part = seen_release[0].views[1].window(*window)
    for name in ARRAYS:
        expected, found = getattr(whole, name)[y : y + height, x : x + width], getattr(part, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_point_in_space_lands_on_the_same_pixel_of_a_window(seen_release: Release) -> None:
    view = seen_release[0].views[2]
    part = view.window(4, 3, 6, 5)
    points = np.array([[0.1, 0.05, 0.2], [-0.2, 0.0, 0.4]])
    np.testing.assert_allclose(project(part.camera, points)[0], project(view.camera, points)[0] - (4, 3), atol=1e-12)
    assert (part.camera.width, part.camera.height) == (6, 5)
    np.testing.assert_allclose(part.keypoints_px, view.keypoints_px - (4, 3))


def test_a_window_of_a_window_is_one_of_the_view(seen_release: Release) -> None:
    view = seen_release[0].views[0]
    inner, direct = view.window(2, 1, 9, 8).window(3, 4, 4, 3), view.window(5, 5, 4, 3)
    np.testing.assert_array_equal(inner.rgb, direct.rgb)
    assert inner.camera == direct.camera
    np.testing.assert_allclose(inner.keypoints_px, direct.keypoints_px)


def test_values_at_pixels_are_those_of_the_view(seen_release: Release) -> None:
    view = seen_release[1].views[2]
    x, y = np.array([12, 3, 3, 8]), np.array([9, 0, 0, 7])
    for name in ARRAYS:
        np.testing.assert_array_equal(view.at(name, x, y), getattr(view, name)[y, x])
    part = view.window(3, 0, 10, 10)
    np.testing.assert_array_equal(part.at("rgb", x - 3, y), view.rgb[y, x])


@pytest.mark.parametrize("window", [(-1, 0, 3, 3), (0, 8, 3, 3), (11, 0, 3, 3), (0, 0, 0, 3), (0, 0, 14, 3)])
def test_a_window_that_leaves_the_image_is_refused(seen_release: Release, window: tuple[int, int, int, int]) -> None:
    with pytest.raises(StoreError, match="window: expected one inside an image of 13×10"):
        seen_release[0].views[0].window(*window)


def test_pixels_outside_a_view_and_no_pixels_are_refused(seen_release: Release) -> None:
    view = seen_release[0].views[0]
    with pytest.raises(StoreError, match="inside an image of 13×10"):
        view.at("mask", np.array([0, 13]), np.array([0, 0]))
    with pytest.raises(StoreError, match="mask: expected pixels, found none"):
        view.at("mask", np.array([], dtype=int), np.array([], dtype=int))


def test_a_damaged_tile_is_found_by_the_windows_that_touch_it_and_by_no_others(seen_folder: Path) -> None:
    path = seen_folder / "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    whole = path.read_bytes()
    views, rows, columns = 3, -(-HEIGHT // TILE), -(-WIDTH // TILE)
    tiles = list(itertools.product(range(views), range(rows), range(columns)))
    index = np.frombuffer(whole[-4 - 16 * len(tiles) : -4], dtype="<u8").reshape(-1, 2)
    for (view, row, column), (offset, size) in zip(tiles, index.tolist(), strict=True):
        damaged = bytearray(whole)
        damaged[offset + size // 2] ^= 1
        path.write_bytes(damaged)
        for x, y, width, height in WINDOWS:
            in_rows = y < (row + 1) * TILE and y + height > row * TILE
            in_columns = x < (column + 1) * TILE and x + width > column * TILE
            part = palm_data.open_release(seen_folder)[0].views[view].window(x, y, width, height)
            if in_rows and in_columns:
                with pytest.raises(IntegrityError, match=r"rgb/full/c/0/0/0/0/0.*damaged or edited"):
                    _ = part.rgb
            else:
                assert part.rgb.shape == (height, width, 3)


def test_a_window_of_a_missing_or_truncated_file_is_never_read_as_black(seen_folder: Path) -> None:
    path = seen_folder / "shards/0001.zarr/mask/full/c/0/0/0/0"
    whole = path.read_bytes()
    path.unlink()
    for content in (None, whole[:-1]):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(IntegrityError, match="mask/full/c/0/0/0/0"):
            _ = palm_data.open_release(seen_folder)[0].views[0].window(0, 0, 2, 2).mask
