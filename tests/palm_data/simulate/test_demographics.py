from collections import Counter

import numpy as np
import pytest

from palm_data.simulate.demographics import AGE_SHARES, HEIGHT_SHARES, SEX_SHARES, TONE_SHARES, draw_person


@pytest.mark.parametrize("seed", range(6))
def test_the_first_four_people_have_four_skin_tones_and_both_sexes(seed: int) -> None:
    rows = [draw_person(seed, number).subject for number in range(1, 5)]
    assert {row.skin_tone for row in rows} == set(TONE_SHARES)
    assert Counter(row.sex for row in rows) == {"female": 2, "male": 2}
    assert [row.subject_id for row in rows] == ["0001", "0002", "0003", "0004"]


def test_a_large_cohort_has_the_shares_of_the_paper() -> None:
    rows = [draw_person(7, number).subject for number in range(1, 201)]
    for field, shares in (
        ("age_band", AGE_SHARES), ("height_band", HEIGHT_SHARES), ("skin_tone", TONE_SHARES), ("sex", SEX_SHARES),
    ):  # fmt: skip
        counts = Counter(getattr(row, field) for row in rows)
        for band, share in shares.items():
            assert counts[band] == pytest.approx(200 * share, abs=1.01), (field, band)


def test_shares_are_whole() -> None:
    for shares in (AGE_SHARES, HEIGHT_SHARES, TONE_SHARES, SEX_SHARES):
        assert sum(shares.values()) == pytest.approx(1.0)


def test_stature_lies_in_its_band() -> None:
    for number in range(1, 41):
        person = draw_person(3, number)
        low, high = map(float, person.subject.height_band.split("-"))
        assert 10 * low <= person.stature_mm <= 10 * high


def test_taller_people_have_longer_hands_and_men_are_taller() -> None:
    people = [draw_person(7, number) for number in range(1, 121)]
    stature = np.array([person.stature_mm for person in people])
    length = np.array([person.hand_length_mm for person in people])
    male = np.array([person.subject.sex == "male" for person in people])
    assert np.corrcoef(stature, length)[0, 1] > 0.6
    assert stature[male].mean() > stature[~male].mean() + 30
    assert length.min() > 150
    assert length.max() < 235


def test_a_person_does_not_depend_on_who_was_drawn_before() -> None:
    assert draw_person(7, 9) == draw_person(7, 9)
    assert draw_person(7, 9) != draw_person(8, 9)
