"""The score: between 0 and 1, never better for a worse part, ½ at a limit, 0 for what is not there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_data.quality.parts import PART_NAMES, Parts, part_scores, reasons, score
from schemas.settings import FrameLimits

LIMITS = FrameLimits()
SHARES = {"coverage", "silhouette_iou", "capture_iou"}
PERFECT = Parts(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
AT_LIMIT = Parts(
    coverage=LIMITS.min_coverage,
    reprojection_px=LIMITS.max_reprojection_px,
    fit_mm=LIMITS.max_fit_mm,
    model_to_scan_mm=LIMITS.max_model_to_scan_mm,
    scan_to_model_mm=LIMITS.max_scan_to_model_mm,
    silhouette_iou=LIMITS.min_fit_silhouette_iou,
    capture_iou=LIMITS.min_capture_iou,
)

errors = st.floats(0, 1e4)
shares = st.floats(0, 1)


@st.composite
def any_parts(draw: st.DrawFn) -> Parts:
    values = {name: draw(shares if name in SHARES else errors) for name in PART_NAMES}
    unknown = draw(st.sets(st.sampled_from([name for name in PART_NAMES if name != "coverage"]), max_size=2))
    return Parts(**{name: None if name in unknown else value for name, value in values.items()})


@given(any_parts(), st.floats(0.05, 2.0))
def test_a_score_is_between_0_and_1_and_so_are_its_parts(parts: Parts, scale: float) -> None:
    found = part_scores(parts, LIMITS, scale=scale)
    assert all(0.0 <= value <= 1.0 for value in found.values())
    assert min(found.values()) - 1e-9 <= score(parts, LIMITS, scale=scale) <= max(found.values()) + 1e-9


@given(any_parts(), st.sampled_from(PART_NAMES), st.floats(0, 1))
def test_a_worse_part_never_gives_a_better_score(parts: Parts, name: str, share: float) -> None:
    value = getattr(parts, name)
    if value is None:
        return
    worse = replace(parts, **{name: value * share if name in SHARES else value + share * 100.0})
    assert score(worse, LIMITS, scale=1.0) <= score(parts, LIMITS, scale=1.0) + 1e-12
    assert len(reasons(worse, LIMITS, scale=1.0)) >= len(reasons(parts, LIMITS, scale=1.0))


@given(any_parts(), st.sampled_from([name for name in PART_NAMES if name not in ("coverage", "capture_iou")]))
def test_a_part_that_should_be_there_and_is_not_leaves_no_score(parts: Parts, name: str) -> None:
    lacking = replace(parts, **{name: None})
    assert score(lacking, LIMITS, scale=1.0) == 0.0
    assert f"{name} not measured" in reasons(lacking, LIMITS, scale=1.0)


def test_nothing_wrong_scores_1_and_everything_at_its_limit_one_half() -> None:
    assert score(PERFECT, LIMITS, scale=1.0) == 1.0
    assert score(AT_LIMIT, LIMITS, scale=1.0) == pytest.approx(0.5)
    assert part_scores(AT_LIMIT, LIMITS, scale=1.0) == pytest.approx(dict.fromkeys(PART_NAMES, 0.5))
    assert reasons(AT_LIMIT, LIMITS, scale=1.0) == ()


@pytest.mark.parametrize("name", PART_NAMES)
def test_a_part_beyond_its_limit_is_named_with_what_was_found_and_the_limit(name: str) -> None:
    limit = getattr(AT_LIMIT, name)
    beyond = replace(PERFECT, **{name: limit * 0.9 if name in SHARES else limit * 1.5})
    (reason,) = reasons(beyond, LIMITS, scale=1.0)
    assert reason == f"{name} {getattr(beyond, name):.3g} {'<' if name in SHARES else '>'} {limit:.3g}"


def test_without_images_the_capture_is_not_blamed() -> None:
    assert score(replace(PERFECT, capture_iou=None), LIMITS, scale=1.0) == 1.0
    assert reasons(replace(PERFECT, capture_iou=None), LIMITS, scale=1.0) == ()


def test_pixels_count_for_more_in_a_small_image() -> None:
    parts = replace(PERFECT, reprojection_px=5.0)
    assert score(parts, LIMITS, scale=0.125) < score(parts, LIMITS, scale=1.0)
    assert reasons(parts, LIMITS, scale=1.0) == ()
    assert reasons(parts, LIMITS, scale=0.125) == ("reprojection_px 5 > 3.12",)


def test_a_limit_that_asks_for_perfection_gives_all_or_nothing() -> None:
    strict = FrameLimits(min_coverage=1.0)
    assert score(PERFECT, strict, scale=1.0) == 1.0
    assert score(replace(PERFECT, coverage=0.99), strict, scale=1.0) == 0.0
