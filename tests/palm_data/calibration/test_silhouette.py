import cv2
import numpy as np
import pytest
from numpy import ndarray

from palm_data.calibration.contour import outline
from palm_data.calibration.morphology import grown, shrunk
from palm_data.calibration.silhouette import look_region, measure_agreement, segment_silhouette

HEIGHT, WIDTH = 120, 150
NOWHERE = np.zeros((HEIGHT, WIDTH), dtype=bool)


def paddle(shift: tuple[float, float] = (0.0, 0.0), roll_deg: float = 0.0, scale: float = 1.0) -> ndarray:
    """A hand-like shape: a palm and three fingers, painted at eight times the size."""
    side = 8
    canvas = np.zeros((HEIGHT * side, WIDTH * side), dtype=np.uint8)
    angle = np.radians(roll_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for middle, half in (((0, 12), (22, 18)), ((-14, -22), (5, 20)), ((2, -26), (5, 22)), ((18, -18), (5, 18))):
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + middle
        placed = (corners @ turn.T + np.array([75.0, 62.0]) + shift) * side - 0.5
        cv2.fillConvexPoly(canvas, np.rint(placed).astype(np.int32), 255)
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def photograph(coverage: ndarray, *, grey: bool = False, seed: int = 0) -> ndarray:
    """Skin with a shading gradient in front of a dark, uneven room, with noise."""
    rng = np.random.default_rng(seed)
    share = coverage.astype(np.float64)[..., None] / 255
    light = np.linspace(0.55, 1.0, WIDTH)[None, :, None]
    skin = np.array([210.0, 160.0, 130.0]) * light
    room = np.array([30.0, 32.0, 36.0]) * np.linspace(0.5, 1.6, HEIGHT)[:, None, None]
    image = share * skin + (1 - share) * room + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if grey else image


@pytest.mark.parametrize("grey", [False, True])
def test_a_true_projection_agrees_in_colour_and_in_grey(grey: bool) -> None:
    coverage = paddle()
    agreement = measure_agreement(photograph(coverage, grey=grey), coverage > 127, NOWHERE, edge_reach_px=5.0)
    assert agreement.iou is not None
    assert agreement.iou > 0.97
    assert agreement.contour is not None
    assert agreement.contour.offset_px < 0.6
    assert agreement.contour.motion_px < 0.4


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("shift", [(7.0, 0.0), (0.0, -8.0), (-5.0, 5.0)])
def test_a_projection_that_is_off_ends_at_the_image_not_at_itself(shift: tuple[float, float], grey: bool) -> None:
    """The seeds are wrong, and the outline that is found is right all the same."""
    image, projected = photograph(paddle(shift), grey=grey), paddle() > 127
    region = look_region(projected)
    found = segment_silhouette(image, projected, region).silhouette
    truth = (paddle(shift) > 127) & region
    iou_with_image = np.count_nonzero(found & truth) / np.count_nonzero(found | truth)
    agreement = measure_agreement(image, projected, NOWHERE, edge_reach_px=5.0)
    assert agreement.iou is not None
    assert iou_with_image > 0.93
    assert agreement.iou < 0.85


@pytest.mark.parametrize(
    ("shift", "roll_deg", "scale"),
    [((1.5, 0.0), 0.0, 1.0), ((0.0, 0.0), 1.5, 1.0), ((0.0, 0.0), 0.0, 1.03), ((-1.0, 0.5), -1.0, 0.98)],
)
def test_the_contour_fit_recovers_the_motion(shift: tuple[float, float], roll_deg: float, scale: float) -> None:
    image = photograph(paddle(shift, roll_deg, scale))
    contour = measure_agreement(image, paddle() > 127, NOWHERE, edge_reach_px=6.0).contour
    assert contour is not None
    assert contour.roll_deg == pytest.approx(roll_deg, abs=0.35)
    assert contour.scale == pytest.approx(scale, abs=0.01)
    if roll_deg == 0 and scale == 1:
        np.testing.assert_allclose(contour.shift_px, shift, atol=0.25)


def test_outward_normals_leave_the_mask() -> None:
    mask = paddle() > 127
    points, normals = outline(mask, NOWHERE, 3.0)
    assert len(points) > 100
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    for sign, expected in ((2.0, 0.0), (-2.0, 1.0)):
        columns, rows = np.rint(points + sign * normals).astype(int).T
        assert (mask[rows, columns] == expected).mean() > 0.95


def test_what_is_excluded_is_not_judged() -> None:
    """An arm that the scan does not have costs nothing once it is excluded."""
    coverage, arm = paddle(), np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    arm[90:, 60:90] = 255
    image = photograph(np.maximum(coverage, arm))
    excluded = np.zeros((HEIGHT, WIDTH), dtype=bool)
    excluded[86:] = True
    blind = measure_agreement(image, coverage > 127, NOWHERE, edge_reach_px=5.0)
    told = measure_agreement(image, coverage > 127, excluded, edge_reach_px=5.0)
    assert told.iou is not None
    assert blind.iou is not None
    assert told.iou > 0.97 > blind.iou


def test_nothing_to_see_is_not_measured() -> None:
    image = photograph(paddle())
    for projected, excluded in ((NOWHERE, NOWHERE), (paddle() > 127, ~NOWHERE)):
        agreement = measure_agreement(image, projected, excluded, edge_reach_px=5.0)
        assert agreement.iou is None
        assert agreement.contour is None
        assert not agreement.segmented.any()


def test_an_image_without_a_hand_agrees_with_nothing() -> None:
    empty = photograph(np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
    agreement = measure_agreement(empty, paddle() > 127, NOWHERE, edge_reach_px=5.0)
    assert agreement.iou is not None
    assert agreement.iou < 0.8


def test_a_large_image_is_segmented_at_a_smaller_size_with_the_same_answer() -> None:
    coverage = cv2.resize(paddle(), (WIDTH * 8, HEIGHT * 8), interpolation=cv2.INTER_LINEAR)
    image = cv2.resize(photograph(paddle()), (WIDTH * 8, HEIGHT * 8), interpolation=cv2.INTER_LINEAR)
    agreement = measure_agreement(image, coverage > 127, np.zeros(coverage.shape, dtype=bool), edge_reach_px=24.0)
    assert agreement.iou is not None
    assert agreement.iou > 0.97


def test_growing_and_shrinking_are_by_distance() -> None:
    dot = NOWHERE.copy()
    dot[50, 60] = True
    disc = grown(dot, 5.0)
    rows, columns = np.nonzero(disc)
    assert np.hypot(rows - 50, columns - 60).max() == 5.0
    assert shrunk(disc, 5.0)[50, 60]
    assert not shrunk(disc, 6.0).any()
    assert not grown(NOWHERE, 5.0).any()
    assert shrunk(~NOWHERE, 5.0).all()


def test_the_same_input_gives_the_same_answer() -> None:
    image, projected = photograph(paddle((2.0, 1.0))), paddle() > 127
    first = measure_agreement(image, projected, NOWHERE, edge_reach_px=5.0)
    second = measure_agreement(image, projected, NOWHERE, edge_reach_px=5.0)
    assert (first.iou, first.contour) == (second.iou, second.contour)
