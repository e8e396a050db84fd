import numpy as np
import pytest

from palm_model.detector.augment import augmented, centred

SIZE, KEPT = 64, 104


def marked(points_px: np.ndarray) -> np.ndarray:
    """A black crop with a bright blob about each point."""
    x, y = np.meshgrid(np.arange(KEPT) + 0.5, np.arange(KEPT) + 0.5)
    blobs = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18.0) for px, py in points_px]
    return np.repeat((255 * np.max(blobs, axis=0))[..., None], 3, axis=2).astype(np.uint8)


def brightest(crop: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Centre of mass of what is bright within a few pixels of a place."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    weight = crop[..., 0] * (np.hypot(x - near[0], y - near[1]) < 5.0)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_the_middle_of_a_crop_keeps_its_places() -> None:
    points = np.tile([[60.0, 45.0]], (21, 1))
    crop, moved = centred(marked(points), points, SIZE, SIZE / 80)
    assert crop.shape == (SIZE, SIZE, 3)
    assert np.allclose(moved[0], (points[0] - KEPT / 2) * SIZE / 80 + SIZE / 2)
    assert np.abs(brightest(crop, moved[0]) - moved[0]).max() < 0.15


@pytest.mark.parametrize("seed", range(12))
def test_what_is_marked_moves_with_the_picture(seed: int) -> None:
    points = np.tile([[54.0, 49.0]], (21, 1))
    crop, moved = augmented(marked(points), points, SIZE, SIZE / 80, np.random.default_rng(seed))
    off = np.abs(brightest(crop, moved[0]) - moved[0]).max()
    assert off < 1.5  # something may stand in the way of a part of it


def test_the_same_generator_gives_the_same_crop_and_another_one_another() -> None:
    points = np.tile([[54.0, 49.0]], (21, 1))
    stored = marked(points)
    first, second, other = (augmented(stored, points, SIZE, 0.8, np.random.default_rng(n)) for n in (5, 5, 6))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert (first[0] != other[0]).any()
