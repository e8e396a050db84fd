"""Splits by person: 80 % train, 10 % val, 10 % test, in the whole and within each stratum as far as it divides.

A subject keeps the split of the version that first had them. A new subject goes where their stratum (sex, age band,
skin tone) has room: no split of a stratum gets more than its share rounded up while another has less than its share
rounded down. What rounding leaves open is decided by the whole release's most under-represented split, and an equal
shortage there by a hash of the subject's number. New subjects take their turn in the order of such a hash too, so
that numbering people by anything that matters does not shape the splits.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from schemas.capture import Subject
from schemas.ids import SubjectId, VersionId
from schemas.release import SplitName, SplitRow, SubjectRow

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
_TENTHS: dict[SplitName, int] = {"train": 8, "val": 1, "test": 1}

Stratum = tuple[str | None, str | None, str | None]


def stratum(subject: Subject | SubjectRow) -> Stratum:
    """What has to be spread evenly over the splits; people of whom it is not known are one stratum."""
    return subject.sex, subject.age_band, subject.skin_tone


def assign_splits(
    subjects: Sequence[Subject] | Sequence[SubjectRow], parent: Mapping[SubjectId, SplitRow], version: VersionId
) -> tuple[SplitRow, ...]:
    """The split of each subject, sorted by subject; those the parent has keep theirs.

    Args:
        parent: the splits of the version before; subjects that are not released any more have no say.
        version: recorded for the new subjects as the first version that had them.
    """
    rows = {one.subject_id: parent[one.subject_id] for one in subjects if one.subject_id in parent}
    overall: Counter[SplitName] = Counter(row.split for row in rows.values())
    strata: dict[Stratum, Counter[SplitName]] = {stratum(one): Counter() for one in subjects}
    for one in subjects:
        if one.subject_id in rows:
            strata[stratum(one)][rows[one.subject_id].split] += 1
    new = [one for one in subjects if one.subject_id not in rows]
    for one in sorted(new, key=lambda subject: _hash(subject.subject_id)):
        within = strata[stratum(one)]
        split = _fullest_need(one.subject_id, within, overall)
        within[split] += 1
        overall[split] += 1
        rows[one.subject_id] = SplitRow(subject_id=one.subject_id, split=split, since=version)
    return tuple(rows[subject_id] for subject_id in sorted(rows))


def _fullest_need(subject_id: SubjectId, within: Counter[SplitName], overall: Counter[SplitName]) -> SplitName:
    size = within.total() + 1
    below = [split for split in SPLITS if within[split] < _TENTHS[split] * size // 10]
    room = below or [split for split in SPLITS if within[split] < -(-_TENTHS[split] * size // 10)]
    whole = overall.total() + 1
    return max(room, key=lambda split: (_TENTHS[split] * whole - 10 * overall[split], _hash(f"{subject_id} {split}")))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
