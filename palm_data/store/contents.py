"""The contents of a version, known before a byte of it is written: every file's path, size, digest and origin."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.documents import papers
from palm_data.report.papers.facts import ReleaseFacts, origin_of, read_tables
from palm_data.store import labels, shard
from palm_data.store.documents import default_terms
from palm_data.store.label_contents import LabelContents, Scalar, gather_labels
from palm_data.store.label_tables import CONVENTION_FILE
from palm_data.store.merkle import merkle_root
from palm_data.store.places import place_at
from palm_data.store.plan import ReleasePlan
from palm_data.store.splits import assign_splits
from palm_data.store.tables import concatenated, rows_bytes, table_bytes
from palm_data.store.workspace import StageRecord, Workspace
from schemas.arrays import TIERED
from schemas.capture import CaptureIndex, Gesture
from schemas.errors import SettingsError, StoreError
from schemas.ids import Sha256, SubjectId
from schemas.publisher import Origin
from schemas.release import (
    MONO_MODELS,
    CameraRow,
    CaptureRow,
    FileRow,
    GestureRow,
    ImageRow,
    SplitRow,
    SubjectRow,
)
from schemas.settings import Settings

_IMAGE_MODALITIES = tuple(TIERED)
_ROOT = "zarr.json"


@dataclass(frozen=True)
class Entry:
    """One file to publish: what it has to be, and where its content comes from."""

    row: FileRow
    source: Path | bytes


@dataclass(frozen=True)
class ReleaseContents:
    """Everything that the merkle root stands for."""

    entries: tuple[Entry, ...]
    """Sorted by path."""
    splits: tuple[SplitRow, ...]
    counts: dict[str, int]
    settings: dict[str, Scalar]
    """What shaped the bytes, by dotted names."""

    @property
    def rows(self) -> tuple[FileRow, ...]:
        """The files, sorted by path."""
        return tuple(entry.row for entry in self.entries)

    @property
    def merkle_root(self) -> Sha256:
        """The identity of the version."""
        return merkle_root(self.rows)


def gather(plan: ReleasePlan, workspace: Workspace, settings: Settings) -> ReleaseContents:
    """All files of the planned version: shards from the workspace, tables and texts made here.

    Raises:
        StoreError: if the plan has no subject, or two subjects' indexes describe one gesture differently.
        IntegrityError: if a subject's tables are damaged.
    """
    if not plan.included:
        reasons = "; ".join(f"{one.subject_id}: {', '.join(one.reasons)}" for one in plan.left_out)
        raise StoreError(
            f"version {plan.version}: expected at least one subject that may be released, found none "
            f"({reasons or 'the workspace has no subject'})."
        )
    subjects = [index.subject for index in plan.included]
    splits = assign_splits(subjects, {row.subject_id: row for row in plan.parent_splits}, plan.version)
    records = {one.subject_id: workspace.require(shard.STAGE, one.subject_id) for one in subjects}
    folders = {one.subject_id: workspace.output(shard.STAGE, one.subject_id) for one in subjects}
    captures = concatenated("captures", CaptureRow, records, folders)
    images = concatenated("images", ImageRow, records, folders)
    cameras = concatenated("cameras", CameraRow, records, folders)
    mono = _mono_tables(records, folders) if settings.shard.mono else {}
    labelled = gather_labels([*records], workspace, settings) if settings.release.labels else None
    tables = {
        "subjects": rows_bytes(SubjectRow, [_subject_row(index) for index in plan.included]),
        "gestures": rows_bytes(GestureRow, _gestures(plan.included)),
        "captures": table_bytes(captures),
        "images": table_bytes(images),
        "cameras": table_bytes(cameras),
        "splits": rows_bytes(SplitRow, splits),
        **{name: table_bytes(table) for name, table in mono.items()},
        **(labelled.tables if labelled else {}),
    }
    counts = {
        "subjects": len(subjects),
        "captures": captures.num_rows,
        "images": sum(images["present"].to_pylist()),
        **({"mono_images": sum(mono["mono_images"]["present"].to_pylist())} if mono else {}),
        "subjects_left_out": len(plan.left_out),
        "captures_quarantined": sum(item.whole_capture for item in plan.quarantined),
        **(labelled.counts if labelled else {}),
    }
    entries = [
        *(document(f"tables/{name}.parquet", content, "table") for name, content in tables.items()),
        document("LICENSE", terms(settings), "document"),
        document("report/left_out.json", _left_out(plan), "document"),
        *(entry for one, record in records.items() for entry in array_entries(shard.SHARD, record, folders[one])),
        *(_label_entries(labelled) if labelled else ()),
    ]
    origin = settings.release.origin or origin_of(plan.included)
    entries += paper_entries(plan, entries, read_tables(tables), counts, settings, origin=origin)
    entries.sort(key=lambda entry: entry.row.path.encode())
    counts |= {"files": len(entries), "bytes": sum(entry.row.bytes for entry in entries)}
    recorded = {
        **shard.recorded_settings(settings),
        "release.labels": settings.release.labels,
        "release.origin": origin,
    }
    return ReleaseContents(
        entries=tuple(entries),
        splits=splits,
        counts=counts,
        settings=recorded | dict(labelled.settings if labelled else {}),
    )


def paper_entries(
    plan: ReleasePlan,
    entries: Iterable[Entry],
    tables: Mapping[str, pa.Table],
    counts: Mapping[str, int],
    settings: Settings,
    *,
    origin: Origin | None,
) -> list[Entry]:
    """What people read of a version: made from its other files, so that it says nothing that they do not.

    Raises:
        IntegrityError: if a file that a picture is made from is damaged, or the parent is.
    """
    sources = {entry.row.path: entry for entry in entries}
    facts = ReleaseFacts(
        plan=plan, publisher=settings.release, quality=settings.quality, tables=tables, origin=origin,
        files=tuple(sources[path].row for path in sorted(sources, key=str.encode)), counts=dict(counts),
        parent=place_at(settings.releases).files(plan.parent) if plan.parent else None,
    )  # fmt: skip
    written = papers(facts, Arrays(sources), settings.hand_model)
    return [document(path, content, "document") for path, content in written.items()]


def _mono_tables(records: Mapping[SubjectId, StageRecord], folders: Mapping[SubjectId, Path]) -> dict[str, pa.Table]:
    return {name: concatenated(name, model, records, folders) for name, model in MONO_MODELS.items()}


def _subject_row(index: CaptureIndex) -> SubjectRow:
    one = index.subject
    return SubjectRow(
        subject_id=one.subject_id, sex=one.sex, age_band=one.age_band, height_band=one.height_band,
        skin_tone=one.skin_tone, captures=len(index.captures),
    )  # fmt: skip


def _gestures(indexes: Iterable[CaptureIndex]) -> list[GestureRow]:
    """The gestures that any released capture shows, sorted."""
    known: dict[str, tuple[Gesture, SubjectId]] = {}
    for index in indexes:
        for gesture in index.gestures:
            first, since = known.setdefault(gesture.gesture, (gesture, index.subject.subject_id))
            if first != gesture:
                raise StoreError(
                    f"gestures.csv: {gesture.gesture}: expected one description, found {first.description!r} at the "
                    f"ingest of {since} and {gesture.description!r} at that of {index.subject.subject_id}. "
                    "Ingest both again."
                )
    return [GestureRow(**known[name][0].model_dump()) for name in sorted(known)]


def _label_entries(labelled: LabelContents) -> Iterable[Entry]:
    """The masks, in the subjects' groups, whose own metadata is the shard's; and the convention of all hands."""
    yield document(f"tables/{CONVENTION_FILE}", labelled.convention, "metadata")
    for subject_id, record in labelled.records.items():
        for entry in array_entries(labels.LABELS, record, labelled.folders[subject_id]):
            if entry.row.path != f"shards/{subject_id}.zarr/{_ROOT}":
                yield entry


def array_entries(group: str, record: StageRecord, folder: Path) -> Iterable[Entry]:
    """The files of a stage's Zarr group, where a subject's group has them."""
    prefix, subject_id = f"{group}/", record.key
    for item in record.outputs:
        if item.path.startswith(prefix):
            inner = item.path.removeprefix(prefix)
            modality, tier = file_kind(inner)
            row = FileRow(
                path=f"shards/{subject_id}.zarr/{inner}", bytes=item.bytes, sha256=item.sha256,
                subject_id=subject_id, modality=modality, tier=tier,
            )  # fmt: skip
            yield Entry(row=row, source=folder / item.path)


def file_kind(path: str) -> tuple[str, str | None]:
    """Modality and tier of a file of a subject's group."""
    first, *rest = path.split("/")
    if first in _IMAGE_MODALITIES and len(rest) > 1:
        return first, rest[0]
    return (first, None) if first in (*_IMAGE_MODALITIES, "scan") and rest else ("metadata", None)


def document(path: str, content: bytes, modality: str) -> Entry:
    """A file whose content is known already."""
    digest = hashlib.sha256(content).hexdigest()
    return Entry(row=FileRow(path=path, bytes=len(content), sha256=digest, modality=modality), source=content)


def _left_out(plan: ReleasePlan) -> bytes:
    """Who withdrew is counted and not named: a version holds nothing of them, their number included."""
    named = [one for one in plan.left_out if one.subject_id not in plan.consent_withdrawn]
    return left_out_bytes(
        [one.model_dump(mode="json") for one in named],
        [item.model_dump(mode="json") for item in plan.quarantined],
        withdrawn=len(plan.consent_withdrawn),
    )


def left_out_bytes(subjects: Sequence[object], quarantined: Sequence[object], *, withdrawn: int) -> bytes:
    """The content of `report/left_out.json`."""
    report = {"subjects": subjects, "quarantined": quarantined, "consent_withdrawn": withdrawn}
    return (json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def terms(settings: Settings) -> bytes:
    """LICENSE: the publisher's text, or that there is none.

    Raises:
        SettingsError: if the text that the settings name is not readable.
    """
    if settings.release.terms is None:
        return default_terms().encode()
    try:
        return settings.release.terms.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"settings: release.terms: expected a readable text file, found {error.strerror}: {settings.release.terms}."
        ) from error
