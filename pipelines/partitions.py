"""Subjects as partitions, and how many go into one run.

Belongs here: the partition key space and its order. Does not belong here: what is made for a subject.
A key is never removed: a withdrawn or vanished subject stays as a tombstone, because Dagster's history refers to it.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import dagster as dg

from schemas.errors import BadInputError
from schemas.settings import Settings

SUBJECTS_PER_RUN = 25
"""A run of nothing takes about three seconds; a batch this size makes that a small part."""

subjects = dg.DynamicPartitionsDefinition(name="subjects")
subjects_per_run = dg.BackfillPolicy.multi_run(max_partitions_per_run=SUBJECTS_PER_RUN)


def heaviest_first(raw: Path, subject_ids: Iterable[str]) -> list[str]:
    """The subjects by raw bytes, largest first (ties by id): the last one to finish sets the wall time."""
    return sorted(subject_ids, key=lambda subject_id: (-raw_bytes(raw / subject_id), subject_id))


def raw_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if there is none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  # a quarter million files
    return total


def register_subjects(instance: dg.DagsterInstance, subject_ids: Iterable[str]) -> list[str]:
    """Add the subjects that have no partition yet, in the order given; returns those."""
    known = set(instance.get_dynamic_partitions(str(subjects.name)))
    new = [subject_id for subject_id in subject_ids if subject_id not in known]
    if new:
        instance.add_dynamic_partitions(str(subjects.name), new)
    return new


def runs_of(known: Sequence[str], chosen: Collection[str], *, at_most: int) -> list[dg.PartitionKeyRange]:
    """The chosen subjects as ranges of at most so many neighbours in `known`, the order Dagster keeps them in."""
    ranges: list[list[str]] = []
    neighbour = False
    for key in known:
        if key not in chosen:
            neighbour = False
            continue
        if neighbour and len(ranges[-1]) < at_most:
            ranges[-1].append(key)
        else:
            ranges.append([key])
        neighbour = True
    return [dg.PartitionKeyRange(keys[0], keys[-1]) for keys in ranges]


def tombstones(settings: Settings, subject_ids: Iterable[str]) -> dict[str, str]:
    """Those of the subjects that nothing is made of any more, with the reason: consent withdrawn, or folder gone.

    Raises:
        IntegrityError: if the ledger of withdrawals is not readable.
    """
    from palm_data.capture.tables import read_subjects
    from palm_data.store.places import place_at
    from palm_data.store.withdrawals import read_ledger
    from schemas.capture import Consent

    raw, ledger = settings.raw, read_ledger(place_at(settings.releases)).withdrawn
    try:
        people = read_subjects(raw).rows
    except BadInputError:  # then nobody's consent is known, and each subject's own stage says so
        people = {}
    found = {}
    for subject_id in subject_ids:
        person = people.get(subject_id)
        if subject_id in ledger:
            found[subject_id] = (
                f"consent withdrawn, as written down on {ledger[subject_id].recorded.date().isoformat()}"
            )
        elif person is not None and person.consent is Consent.WITHDRAWN:
            found[subject_id] = f"consent withdrawn on {person.consent_date.isoformat()}"
        elif not (raw / subject_id).is_dir():
            found[subject_id] = "no folder among the raw sessions any more"
    return found
