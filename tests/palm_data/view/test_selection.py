import pytest

from palm_data.loader.release import Release
from palm_data.testing.tiny_labels import UNFITTED
from palm_data.view.selection import entries, start
from schemas.errors import StoreError


def test_next_and_previous_lead_through_every_capture_and_around(release: Release) -> None:
    selection = start(release)
    seen = []
    for _ in range(len(release)):
        assert selection.current is not None
        seen.append((selection.current.subject_id, selection.current.frame))
        selection = selection.stepped(1)
    assert seen == [(sample.subject_id, sample.frame) for sample in release]
    assert selection == start(release)
    assert selection.stepped(-1).stepped(1) == selection
    assert selection.stepped(-1).position == (len(release), len(release))


def test_worst_first_begins_with_the_lowest_score(release: Release) -> None:
    selection = start(release).filtered(order="worst first")
    assert selection.current is not None
    assert (selection.current.subject_id, selection.current.frame) == UNFITTED
    scores = [one.score for one in selection.chosen]
    assert scores == sorted(scores)  # type: ignore[type-var]


def test_a_filter_keeps_the_capture_that_passes_it_and_leaves_one_that_does_not(release: Release) -> None:
    selection = start(release)
    assert selection.filtered(quality="ok").current == selection.current
    bad = selection.filtered(quality="not ok")
    assert [(one.subject_id, one.frame) for one in bad.chosen] == [UNFITTED]
    assert bad.current == bad.chosen[0]
    split = release.split_of("0003")
    assert {one.split for one in selection.filtered(split=split).chosen} == {split}


def test_a_filter_that_nothing_passes_shows_nothing_and_can_be_undone(release: Release) -> None:
    unused = next(name for name in ("train", "val", "test") if not release.manifest.splits[name])
    nothing = start(release).filtered(split=unused)
    assert (nothing.current, nothing.position, dict(nothing.of_subject)) == (None, (0, 0), {})
    assert nothing.stepped(1) == nothing
    assert nothing.filtered(split="all").current is not None


def test_another_subject_keeps_the_gesture_if_they_show_it(release: Release) -> None:
    for one in entries(release):
        for other in release.subject_ids:
            begun = start(release, one.subject_id, one.gesture)
            found = begun.of(other).current
            assert found is not None
            assert found.subject_id == other
            shown = {sample.gesture for sample in release.subject(other)}
            assert found.gesture == one.gesture or one.gesture not in shown


def test_the_pickers_label_leads_to_its_capture(release: Release) -> None:
    selection = start(release, "0002")
    for label, entry in selection.of_subject.items():
        assert selection.labelled_as(label).current == entry
    assert selection.labelled_as("99 · gone") == selection


def test_who_or_what_is_not_there_is_named_with_what_is(release: Release) -> None:
    with pytest.raises(StoreError, match=r"expected one of 0001, 0002, 0003, found '0009'"):
        start(release, "0009")
    with pytest.raises(StoreError, match=r"subject 0001: gesture: expected one of .*, found 'wave'"):
        start(release, "0001", "wave")
    with pytest.raises(StoreError, match="gesture: expected one of fist, flat, pinch, found 'wave'"):
        start(release, gesture="wave")


def test_captures_without_labels_have_no_scores(captures_only: Release) -> None:
    selection = start(captures_only)
    assert not selection.labelled
    assert selection.position == (1, len(captures_only))
    assert selection.filtered(order="worst first").chosen == selection.chosen
