"""What changed from one version to another, and the least version number that may say so.

PATCH: the same data, packed or described otherwise. MINOR: something was added. MAJOR: something that a user may rely on
was changed or removed. Below 1.0.0 a MAJOR change may be published as the next 0.y.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.array_changes import changed_arrays
from palm_data.store.side import Scalar, Side
from palm_data.store.table_changes import ColumnChange, changed_rows, changed_table, frames_by_subject
from schemas.ids import Slug, SubjectId, VersionId
from schemas.release import FileRow

Level = Literal["major", "minor", "patch"]
LEVELS: tuple[Level, ...] = ("patch", "minor", "major")
_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)
_CONVENTION = "tables/hand_convention.json"
_TERMS = "LICENSE"


class SubjectChanges(BaseModel):
    """What changed about a subject that both versions have."""

    model_config = _FROZEN

    subject_id: SubjectId
    frames_added: tuple[int, ...] = ()
    frames_removed: tuple[int, ...] = ()
    frames_changed: Annotated[tuple[int, ...], Field(description="Captures of both whose data differ.")] = ()
    touched: Annotated[tuple[str, ...], Field(description="Tables and arrays that differ, where both have them.")] = ()


class SettingChange(BaseModel):
    """A recorded setting with another value; null: not recorded."""

    model_config = _FROZEN

    name: str
    before: Scalar
    after: Scalar


class FileChanges(BaseModel):
    """Files of one modality by content: in both versions, only in the later, only in the earlier."""

    model_config = _FROZEN

    modality: str
    files_shared: int = 0
    bytes_shared: int = 0
    files_added: int = 0
    bytes_added: int = 0
    files_removed: int = 0
    bytes_removed: int = 0


class Reason(BaseModel):
    """One thing that changed, and how large a step of the version number it asks for."""

    model_config = _FROZEN

    level: Level
    text: Annotated[str, Field(description="What the later version does, e.g. `removes subject 0007`.")]


class ReleaseChanges(BaseModel):
    """What the later of two versions changed. Captures are named by their frames."""

    model_config = _FROZEN

    before: VersionId
    after: VersionId
    schema_before: str
    schema_after: str
    subjects_added: tuple[SubjectId, ...]
    subjects_removed: tuple[SubjectId, ...]
    subjects_changed: tuple[SubjectChanges, ...]
    gestures_changed: Annotated[tuple[Slug, ...], Field(description="Gestures of both that are described otherwise.")]
    tables_added: tuple[str, ...]
    tables_removed: tuple[str, ...]
    columns: tuple[ColumnChange, ...]
    arrays_added: Annotated[tuple[str, ...], Field(description="In the groups of subjects that both versions have.")]
    arrays_removed: tuple[str, ...]
    convention_changed: Annotated[bool, Field(description="Whether the numbers of hands are to be read otherwise.")]
    settings: tuple[SettingChange, ...]
    documents: Annotated[tuple[str, ...], Field(description="Texts and reports that were added, changed or removed.")]
    files: tuple[FileChanges, ...]
    reasons: Annotated[tuple[Reason, ...], Field(description="Largest first; empty: the same data.")] = ()

    @property
    def level(self) -> Level:
        """The least step of the version number that says what changed."""
        return max((reason.level for reason in self.reasons), key=LEVELS.index, default="patch")


def changes(before: Side, after: Side) -> ReleaseChanges:
    """Compare two versions; only what differs by digest is read.

    Raises:
        IntegrityError: if a file that has to be read is damaged.
    """
    earlier, later = frames_by_subject(before), frames_by_subject(after)
    both = sorted(earlier.keys() & later.keys())
    tables = {name: changed_table(name, before, after, both) for name in sorted(set(before.tables) & set(after.tables))}
    arrays = {one: changed_arrays(one, before, after, earlier[one], later[one]) for one in both}
    subjects = [
        _subject(one, earlier[one].keys(), later[one].keys(), {
            **arrays[one].frames, **{name: found.frames[one] for name, found in tables.items() if one in found.frames},
        }) for one in both
    ]  # fmt: skip
    made = ReleaseChanges(
        before=before.version,
        after=after.version,
        schema_before=before.schema_version,
        schema_after=after.schema_version,
        subjects_added=tuple(sorted(later.keys() - earlier.keys())),
        subjects_removed=tuple(sorted(earlier.keys() - later.keys())),
        subjects_changed=tuple(one for one in subjects if one != SubjectChanges(subject_id=one.subject_id)),
        gestures_changed=changed_rows("gestures", "gesture", before, after),
        tables_added=tuple(sorted(set(after.tables) - set(before.tables))),
        tables_removed=tuple(sorted(set(before.tables) - set(after.tables))),
        columns=tuple(one for found in tables.values() for one in found.columns),
        arrays_added=tuple(sorted(frozenset().union(*(one.added for one in arrays.values())))),
        arrays_removed=tuple(sorted(frozenset().union(*(one.removed for one in arrays.values())))),
        convention_changed=_differs(_CONVENTION, before, after) and before.json(_CONVENTION) != after.json(_CONVENTION),
        settings=_settings(before.settings, after.settings),
        documents=_documents(before, after),
        files=_files(before.rows.values(), after.rows.values()),
    )
    terms = _differs(_TERMS, before, after)
    return made.model_copy(update={"reasons": tuple(_reasons(made, terms=terms))})


def _subject(
    subject_id: SubjectId, earlier: Collection[int], later: Collection[int], found: Mapping[str, frozenset[int]]
) -> SubjectChanges:
    """What changed about a subject, given the captures of both versions and, by table or array, those that differ."""
    known, new = frozenset(earlier), frozenset(later)
    return SubjectChanges(
        subject_id=subject_id,
        frames_added=tuple(sorted(new - known)),
        frames_removed=tuple(sorted(known - new)),
        frames_changed=tuple(sorted(frozenset().union(*found.values()) & known & new)),
        touched=tuple(sorted(name for name, frames in found.items() if not frames or frames & known & new)),
    )


def _differs(path: str, before: Side, after: Side) -> bool:
    """Whether both have the file, and not the same."""
    return path in before.rows and path in after.rows and before.rows[path].sha256 != after.rows[path].sha256


def _settings(before: Mapping[str, Scalar], after: Mapping[str, Scalar]) -> tuple[SettingChange, ...]:
    return tuple(
        SettingChange(name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _documents(before: Side, after: Side) -> tuple[str, ...]:
    texts = [{p: row.sha256 for p, row in side.rows.items() if row.modality == "document"} for side in (before, after)]
    return tuple(sorted(path for path in texts[0] | texts[1] if texts[0].get(path) != texts[1].get(path)))


def _files(before: Iterable[FileRow], after: Iterable[FileRow]) -> tuple[FileChanges, ...]:
    earlier, later = list(before), list(after)
    known, kept = {row.sha256 for row in earlier}, {row.sha256 for row in later}
    counts: dict[str, Counter[str]] = {}
    told = [(row, "shared" if row.sha256 in known else "added") for row in later]
    told += [(row, "removed") for row in earlier if row.sha256 not in kept]
    for row, kind in told:
        counter = counts.setdefault(row.modality, Counter())
        counter[f"files_{kind}"] += 1
        counter[f"bytes_{kind}"] += row.bytes
    return tuple(FileChanges(modality=name, **counts[name]) for name in sorted(counts))


def _reasons(made: ReleaseChanges, *, terms: bool) -> list[Reason]:
    """Everything that asks for a step of the version number, largest first."""
    major, minor, patch = _major(made), _minor(made), [f"changes {path}" for path in made.documents if path != _TERMS]
    if terms:
        minor.append("changes the terms of use (LICENSE)")
    if made.schema_before != made.schema_after:
        text = f"goes from schema {made.schema_before} to {made.schema_after}"
        old, new = made.schema_before.split("."), made.schema_after.split(".")
        (major if old[0] != new[0] else minor if old[1:2] != new[1:2] else patch).append(text)
    patch += [f"records other settings: {', '.join(one.name for one in made.settings)}"] if made.settings else []
    levels: tuple[tuple[Level, list[str]], ...] = (("major", major), ("minor", minor), ("patch", patch))
    return [Reason(level=level, text=text) for level, texts in levels for text in texts]


def _major(made: ReleaseChanges) -> list[str]:
    found = [f"removes {_named('subject', made.subjects_removed)}"] if made.subjects_removed else []
    for one in made.subjects_changed:
        if one.frames_removed:
            found.append(f"removes {_count('capture', one.frames_removed)} of {one.subject_id}")
        if one.touched:
            what = _count("capture", one.frames_changed) if one.frames_changed else "what is known"
            found.append(f"changes {what} of {one.subject_id} ({', '.join(one.touched)})")
    found += [f"changes {_named('gesture', made.gestures_changed)}"] if made.gestures_changed else []
    found += [f"removes {_named('table', made.tables_removed)}"] if made.tables_removed else []
    found += [f"removes {_named('array', made.arrays_removed)}"] if made.arrays_removed else []
    found += [one.text for one in made.columns if one.breaking]
    return found + (["changes the convention of hands"] if made.convention_changed else [])


def _minor(made: ReleaseChanges) -> list[str]:
    found = [f"adds {_named('subject', made.subjects_added)}"] if made.subjects_added else []
    for one in made.subjects_changed:
        if one.frames_added:
            found.append(f"adds {_count('capture', one.frames_added)} of {one.subject_id}")
    found += [f"adds {_named('table', made.tables_added)}"] if made.tables_added else []
    found += [f"adds {_named('array', made.arrays_added)}"] if made.arrays_added else []
    return found + [one.text for one in made.columns if not one.breaking]


def _named(noun: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}"


def _count(noun: str, items: tuple[int, ...]) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
