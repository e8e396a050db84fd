from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.report.pictures import (
    as_rgb,
    colourise,
    contact_sheet,
    draw_contours,
    fit_within,
    framed,
    normals_to_rgb,
    overlay_mask,
    write_png,
)
from schemas.errors import BadInputError


def test_a_written_picture_reads_back_and_carries_no_metadata(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    write_png(tmp_path / "b.png", image)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], image)
    kinds, position = [], 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kinds.append(content[position + 4 : position + 8])
        position += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_an_overlay_changes_masked_pixels_only_and_not_its_input() -> None:
    image = np.full((4, 5), 100, dtype=np.uint8)
    mask = np.zeros((4, 5), dtype=np.uint8)
    mask[1, 2] = 255
    picture = overlay_mask(image, mask, (255, 0, 0), opacity=0.5)
    assert picture[1, 2].tolist() == [178, 50, 50]
    picture[1, 2] = 100
    assert (picture == 100).all()
    assert (image == 100).all()


def test_contours_follow_holes_too() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:18, 2:18] = True
    mask[8:12, 8:12] = False
    drawn = (draw_contours(np.zeros((20, 20), np.uint8), mask, (0, 255, 0)) == (0, 255, 0)).all(axis=-1)
    assert drawn[2, 2:18].all()
    assert drawn[8:12, 7].all()
    assert not drawn[4:6, 4:6].any()


def test_no_depth_is_black_and_near_is_warmer_than_far() -> None:
    depth = np.array([[0.0, 0.5, 1.0, np.nan]])
    colours = colourise(depth)[0].astype(int)
    assert (colours[[0, 3]] == 0).all()
    assert colours[1, 0] > colours[1, 2]
    assert colours[2, 2] > colours[2, 0]
    assert (colourise(np.zeros((3, 3))) == 0).all()


def test_normals_have_the_usual_colours() -> None:
    normals = np.array([[[0, 0, -1.0], [1.0, 0, 0], [0, -1.0, 0], [0, 0, 0]]])
    assert normals_to_rgb(normals)[0].tolist() == [[128, 128, 255], [255, 128, 128], [128, 255, 128], [0, 0, 0]]


def test_a_contact_sheet_holds_every_image_and_shrinks_large_ones() -> None:
    images = [np.full((10, 10), 200, np.uint8), np.full((100, 400, 3), 150, np.uint8), np.full((8, 4), 90, np.uint8)]
    sheet = contact_sheet(images, ["one", "two with a very long label indeed", "three"], 2, tile_px=40)
    assert sheet.shape[1] < 2 * 50
    for level in (200, 150, 90):
        assert (sheet == level).all(axis=-1).sum() >= 30


@pytest.mark.parametrize(("count", "labels", "columns"), [(0, 0, 2), (2, 1, 2), (1, 1, 0)])
def test_a_contact_sheet_needs_images_labels_and_columns(count: int, labels: int, columns: int) -> None:
    with pytest.raises(BadInputError, match="contact sheet"):
        contact_sheet([np.zeros((2, 2), np.uint8)] * count, ["x"] * labels, columns)


def test_images_are_scaled_down_never_up() -> None:
    assert fit_within(np.zeros((10, 20), np.uint8), 100, 100).shape == (10, 20, 3)
    assert fit_within(np.zeros((100, 200), np.uint8), 50, 50).shape == (25, 50, 3)


def test_a_frame_leaves_the_inside_alone() -> None:
    picture = framed(np.full((9, 9), 7, np.uint8), (1, 2, 3), border_px=2)
    assert (picture[2:-2, 2:-2] == 7).all()
    assert (picture[:2] == (1, 2, 3)).all()


@pytest.mark.parametrize("image", [np.zeros((2, 2)), np.zeros((0, 3), np.uint8), np.zeros((2, 2, 4), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="picture"):
        as_rgb(image)
