"""Who and what goes into a small release."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palm_data.store.splits import SPLITS
from schemas.errors import StoreError
from schemas.ids import SubjectId
from schemas.release import SplitName

if TYPE_CHECKING:
    from palm_data.loader.release import Release


@dataclass(frozen=True)
class Chosen:
    """The captures of a small release."""

    splits: Mapping[SubjectId, SplitName]
    """One person of each split, sorted by person."""
    frames: Mapping[SubjectId, tuple[int, ...]]
    """Their captures, ascending."""
    moved: Mapping[SubjectId, SplitName]
    """Who is in another split than in the release, because it had nobody there; and where they were."""


def choose(release: "Release", captures: int) -> Chosen:
    """One person of each split, with up to so many good captures each; of gestures that all three show, if they do.

    Good means `quality_ok`; without labels every capture is. Nothing is drawn by chance.

    Raises:
        StoreError: if there are fewer than three people with a good capture.
    """
    good = _good(release)
    by_number = sorted(good, key=lambda subject: (-len(good[subject]), subject))
    if len(by_number) < len(SPLITS):
        raise StoreError(
            f"{release}: expected at least {len(SPLITS)} people with a good capture (one of each split), found "
            f"{len(by_number)}. Make the small release from a larger one."
        )
    splits: dict[SubjectId, SplitName] = {}
    for split in SPLITS:
        first = next((subject for subject in by_number if release.split_of(subject) == split), None)
        if first is not None:
            splits[first] = split
    moved = {}
    for split in SPLITS:
        if split not in splits.values():
            stand_in = next(subject for subject in by_number if subject not in splits)
            splits[stand_in], moved[stand_in] = split, release.split_of(stand_in)
    shared = set.intersection(*({gesture for gesture, _ in good[subject]} for subject in splits))
    frames = {}
    for subject in splits:
        ordered = sorted(good[subject], key=lambda one: (one[0] not in shared, one[0], one[1]))
        frames[subject] = tuple(sorted(frame for _, frame in ordered[:captures]))
    return Chosen(splits=dict(sorted(splits.items())), frames=frames, moved=moved)


def _good(release: "Release") -> dict[SubjectId, list[tuple[str, int]]]:
    """Each person's good captures as (gesture, frame)."""
    kept = release.filtered(where={"quality_ok": True}) if release.labelled else release
    good: dict[SubjectId, list[tuple[str, int]]] = {}
    columns = (kept.captures[name].to_pylist() for name in ("subject_id", "gesture", "frame"))
    for subject, gesture, frame in zip(*columns, strict=True):
        good.setdefault(subject, []).append((gesture, frame))
    return good
