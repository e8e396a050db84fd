from collections import Counter
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from palm_data.store.splits import SPLITS, assign_splits, stratum
from schemas.capture import Subject
from schemas.release import SplitRow

TENTHS = {"train": 8, "val": 1, "test": 1}


def subject(number: int, sex: str, age_band: str, skin_tone: str) -> Subject:
    return Subject(
        subject_id=f"{number:04d}",
        sex=sex,
        age_band=age_band,
        height_band="171-180",
        skin_tone=skin_tone,
        consent="granted",
        consent_date=date(2025, 1, 1),
    )


SUBJECTS = st.lists(
    st.builds(
        subject,
        st.integers(0, 9999),
        st.sampled_from(["female", "male"]),
        st.sampled_from(["21-30", "31-40"]),
        st.sampled_from(["light", "dark"]),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda one: one.subject_id,
)


def by_id(rows: tuple[SplitRow, ...]) -> dict[str, SplitRow]:
    return {row.subject_id: row for row in rows}


@given(SUBJECTS, st.integers(0, 60))
def test_a_new_subject_never_moves_an_old_one(subjects: list[Subject], first: int) -> None:
    before = by_id(assign_splits(subjects[:first], {}, "1.0.0"))
    after = by_id(assign_splits(subjects, before, "1.1.0"))
    assert {one: after[one] for one in before} == before
    assert {row.since for one, row in after.items() if one not in before} <= {"1.1.0"}


@given(SUBJECTS, st.randoms())
def test_the_order_of_subjects_does_not_matter(subjects: list[Subject], random: object) -> None:
    shuffled = list(subjects)
    random.shuffle(shuffled)
    assert assign_splits(subjects, {}, "1.0.0") == assign_splits(shuffled, {}, "1.0.0")


@given(SUBJECTS)
def test_every_subject_is_in_one_split_and_the_first_trains(subjects: list[Subject]) -> None:
    rows = assign_splits(subjects, {}, "1.0.0")
    assert [row.subject_id for row in rows] == sorted(one.subject_id for one in subjects)
    assert "train" in {row.split for row in rows}


@given(SUBJECTS)
def test_the_whole_stays_near_its_shares(subjects: list[Subject]) -> None:
    counts = Counter(row.split for row in assign_splits(subjects, {}, "1.0.0"))
    strata = len({stratum(one) for one in subjects})
    for split in SPLITS:
        assert abs(counts[split] - TENTHS[split] * len(subjects) / 10) <= strata + 1


@given(SUBJECTS)
def test_a_stratum_divides_as_evenly_as_it_can(subjects: list[Subject]) -> None:
    rows = by_id(assign_splits(subjects, {}, "1.0.0"))
    for group in {stratum(one) for one in subjects}:
        members = [one for one in subjects if stratum(one) == group]
        counts = Counter(rows[one.subject_id].split for one in members)
        for split in SPLITS:
            share = TENTHS[split] * len(members)
            assert share // 10 - 1 <= counts[split] <= -(-share // 10)


def test_263_people_divide_80_10_10() -> None:
    ages, tones = ("21-30", "31-40", "41-50", "51-60", "61-70"), ("light", "medium", "tan", "dark")
    people = [
        subject(number, ("female", "male")[number % 2], ages[number % 5], tones[number * 7 % 4])
        for number in range(263)
    ]
    counts = Counter(row.split for row in assign_splits(people, {}, "1.0.0"))
    assert abs(counts["train"] - 210) <= 4
    assert abs(counts["val"] - 26) <= 3
    assert abs(counts["test"] - 26) <= 3


def test_four_people_of_four_strata_leave_one_to_hold_out() -> None:
    people = [subject(n, ("female", "male")[n % 2], "21-30", ("light", "dark")[n // 2]) for n in range(4)]
    counts = Counter(row.split for row in assign_splits(people, {}, "1.0.0"))
    assert counts["train"] == 3
