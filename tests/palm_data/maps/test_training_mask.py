import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from palm_data.maps.training_mask import MaskSides, fused_mask, mask_sides, near_hand
from schemas.settings import TrainingMaskSettings

SHAPE = (9, 11)
MASKS = arrays(bool, SHAPE)
SIDES = st.builds(MaskSides, reach=st.sampled_from([1, 3, 5]), core=st.sampled_from([1, 3]), smooth=st.sampled_from([1, 3, 7]))  # fmt: skip


def windows(mask: np.ndarray, side: int) -> list[list[list[bool]]]:
    """The pixels of the square about each pixel, as far as they lie in the image."""
    half = side // 2
    height, width = mask.shape
    return [
        [
            [
                bool(mask[y, x])
                for y, x in itertools.product(
                    range(row - half, row + half + 1), range(column - half, column + half + 1)
                )
                if 0 <= y < height and 0 <= x < width
            ]
            for column in range(width)
        ]
        for row in range(height)
    ]


def grown(mask: np.ndarray, side: int) -> np.ndarray:
    return np.array([[any(seen) for seen in row] for row in windows(mask, side)])


def shrunk(mask: np.ndarray, side: int) -> np.ndarray:
    return np.array([[all(seen) for seen in row] for row in windows(mask, side)])


def median(mask: np.ndarray, side: int) -> np.ndarray:
    """The majority of the square about each pixel, the outermost pixels repeated beyond the border."""
    half = side // 2
    padded = np.pad(mask, half, mode="edge")
    inner = [row[half : half + mask.shape[1]] for row in windows(padded, side)[half : half + mask.shape[0]]]
    return np.array([[2 * sum(seen) > len(seen) for seen in row] for row in inner])


def reference(scan: np.ndarray, hand: np.ndarray, sides: MaskSides) -> np.ndarray:
    near = grown(grown(hand, sides.reach), sides.reach)
    core = shrunk(shrunk(hand, sides.core), sides.core)
    return median((scan & near) | core, sides.smooth)


@given(MASKS, MASKS, SIDES)
def test_the_fused_mask_is_what_its_definition_says_pixel_by_pixel(
    scan: np.ndarray, hand: np.ndarray, sides: MaskSides
) -> None:
    np.testing.assert_array_equal(fused_mask(scan, hand, sides), reference(scan, hand, sides))


@given(MASKS, SIDES)
def test_without_a_hand_there_is_no_training_mask(scan: np.ndarray, sides: MaskSides) -> None:
    assert not fused_mask(scan, np.zeros(SHAPE, bool), sides).any()


@given(MASKS, MASKS, MASKS, SIDES)
def test_more_scan_or_more_hand_never_takes_a_pixel_away(
    scan: np.ndarray, hand: np.ndarray, more: np.ndarray, sides: MaskSides
) -> None:
    first = fused_mask(scan, hand, sides)
    assert fused_mask(scan | more, hand, sides)[first].all()
    assert fused_mask(scan, hand | more, sides)[first].all()


@given(MASKS, SIDES)
def test_what_is_near_the_hand_holds_the_hand(hand: np.ndarray, sides: MaskSides) -> None:
    assert near_hand(hand, sides)[hand].all()


def test_the_forearm_is_cut_and_holes_in_the_core_are_filled() -> None:
    scan = np.zeros((300, 200), bool)
    scan[40:300, 60:140] = True  # a hand with a forearm that leaves the image
    hand = np.zeros_like(scan)
    hand[40:160, 60:140] = True
    scan[90:100, 95:105] = False  # a hole of the reconstruction
    fused = fused_mask(scan, hand, mask_sides(TrainingMaskSettings(), 2448, 2048))
    assert fused[90:100, 95:105].all()
    assert fused[160:169, 70:130].all()  # ten pixels beyond the hand, less what the median rounds off
    assert not fused[171:].any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2448, 2048), MaskSides(11, 21, 7)),
        ((2048, 2448), MaskSides(11, 21, 7)),
        ((1224, 1024), MaskSides(7, 11, 5)),
        ((612, 512), MaskSides(3, 7, 3)),
        ((306, 256), MaskSides(3, 3, 1)),
        ((96, 80), MaskSides(1, 1, 1)),
    ],
)
def test_the_squares_scale_with_the_image_and_stay_odd(size: tuple[int, int], expected: MaskSides) -> None:
    assert mask_sides(TrainingMaskSettings(), *size) == expected


def test_a_square_without_a_middle_is_refused() -> None:
    with pytest.raises(ValidationError, match="odd"):
        TrainingMaskSettings(reach_px=10)
