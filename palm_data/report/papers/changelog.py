"""CHANGELOG.md of a version: what is other than in its parent, found by comparing the two versions' files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from palm_data.report.papers.facts import ReleaseFacts, plural, size_text
from palm_data.store.file_table import file_rows
from schemas.ids import SubjectId
from schemas.release import FileRow

_PAPERS = "document"
_NAMED = 40
_FRAME = "rgb/full/c/"


@dataclass(frozen=True)
class FileChanges:
    """How a version's files differ from its parent's, papers left out."""

    subjects_added: tuple[SubjectId, ...]
    subjects_removed: tuple[SubjectId, ...]
    captures: Mapping[SubjectId, tuple[int, int]]
    """Subjects in both whose number of captures changed → before, now."""
    changed: Mapping[str, tuple[int, int, int]]
    """Modality → files added, removed, replaced, of subjects that are in both; those without a change left out."""
    tables_added: tuple[str, ...]
    tables_removed: tuple[str, ...]
    bytes_shared: int
    bytes_new: int


def changelog(facts: ReleaseFacts) -> str:
    """CHANGELOG.md; the same contents and parent give the same bytes.

    Raises:
        IntegrityError: if the parent's manifest or files table is damaged.
    """
    lines = change_lines(facts)
    title = f"# Changes in {facts.title} release {facts.version}\n\n"
    if not lines:
        return title + "The first version: it has no parent.\n"
    return f"{title}Since {facts.plan.parent}, its parent:\n\n" + "".join(f"- {line}\n" for line in lines)


def change_lines(facts: ReleaseFacts) -> tuple[str, ...]:
    """What changed, a sentence or two each, names of arrays in backticks; none without a parent.

    Raises:
        IntegrityError: if the parent's manifest or files table is damaged.
    """
    changes = changes_since_parent(facts)
    return () if changes is None else tuple(_lines(facts, changes)) or ("Nothing but the texts.",)


def changes_since_parent(facts: ReleaseFacts) -> FileChanges | None:
    """The changes; None if there is no parent.

    Raises:
        IntegrityError: if the parent's manifest or files table is damaged.
    """
    if facts.parent is None:
        return None
    return compare(file_rows(facts.parent), facts.files)


def compare(before: Iterable[FileRow], now: Iterable[FileRow]) -> FileChanges:
    """How the files of two versions differ."""
    old = {row.path: row for row in before if row.modality != _PAPERS}
    new = {row.path: row for row in now if row.modality != _PAPERS}
    old_captures, new_captures = _captures(old.values()), _captures(new.values())
    both = old_captures.keys() & new_captures.keys()
    known = {row.sha256 for row in old.values()}
    shared = sum(row.bytes for row in new.values() if row.sha256 in known)
    return FileChanges(
        subjects_added=tuple(sorted(new_captures.keys() - both)),
        subjects_removed=tuple(sorted(old_captures.keys() - both)),
        captures={
            one: (old_captures[one], new_captures[one])
            for one in sorted(both)
            if old_captures[one] != new_captures[one]
        },
        changed=_modalities(old, new, both),
        tables_added=_tables(new.keys() - old.keys()),
        tables_removed=_tables(old.keys() - new.keys()),
        bytes_shared=shared,
        bytes_new=sum(row.bytes for row in new.values()) - shared,
    )


def _lines(facts: ReleaseFacts, changes: FileChanges) -> Iterator[str]:
    if changes.subjects_added:
        yield f"Added {plural(len(changes.subjects_added), 'subject')}: {_listed(changes.subjects_added)}."
    removed = tuple(one for one in changes.subjects_removed if one not in facts.plan.withdrawn)
    if removed:
        yield f"Removed {plural(len(removed), 'subject')}: {_listed(removed)}."
    if facts.plan.withdrawn:  # they are named beside the versions that show them, and nowhere in this one's texts
        yield (
            f"Withdrawn by themselves: {plural(len(facts.plan.withdrawn), 'subject')}. Delete your copies of their data from "
            "earlier versions, and tell whoever you gave them to: opening an earlier version says who they are."
        )
    moved = [f"{one} ({before} → {now})" for one, (before, now) in changes.captures.items()]
    if moved:
        yield f"Number of captures changed: {_listed(moved)}."
    if changes.tables_added:
        yield f"New tables: {', '.join(changes.tables_added)}."
    if changes.tables_removed:
        yield f"Tables no longer there: {', '.join(changes.tables_removed)}."
    for modality, counts in changes.changed.items():
        found = [f"{n} {verb}" for n, verb in zip(counts, ("added", "removed", "replaced"), strict=True) if n]
        yield f"Files of `{modality}`, subjects of both versions: {', '.join(found)}."
    yield f"{size_text(changes.bytes_new)} are new; {size_text(changes.bytes_shared)} are those of the parent, byte for byte."


def _captures(rows: Iterable[FileRow]) -> dict[SubjectId, int]:
    """Subject → captures, counted by their shard objects."""
    found = Counter(row.subject_id for row in rows if row.subject_id is not None and _FRAME in row.path)
    return {one: count for one, count in found.items() if one is not None}


def _modalities(
    old: Mapping[str, FileRow], new: Mapping[str, FileRow], both: Iterable[SubjectId]
) -> dict[str, tuple[int, int, int]]:
    inside = {*both, None}
    added, removed, replaced = (
        Counter(row.modality for row in rows if row.subject_id in inside)
        for rows in (
            [row for path, row in new.items() if path not in old],
            [row for path, row in old.items() if path not in new],
            [row for path, row in new.items() if path in old and old[path].sha256 != row.sha256],
        )
    )
    names = sorted({*added, *removed, *replaced})
    return {name: (added[name], removed[name], replaced[name]) for name in names}


def _tables(paths: Iterable[str]) -> tuple[str, ...]:
    names = sorted(paths)
    return tuple(path.removeprefix("tables/").removesuffix(".parquet") for path in names if path.endswith(".parquet"))


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
