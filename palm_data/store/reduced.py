"""A version without some of its people: made from the version itself, whatever has become of the workspace."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc

from palm_data.store.atomic import write_bytes
from palm_data.store.contents import Entry, ReleaseContents, document, left_out_bytes, paper_entries
from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import read_manifest
from palm_data.store.plan import CONSENT_WITHDRAWN, LeftOut, ReleasePlan
from palm_data.store.side import SHARDS, Side, published_side
from palm_data.store.tables import table_bytes
from schemas.arrow import table_to_rows
from schemas.errors import ConsentError, StoreError
from schemas.ids import SubjectId, VersionId
from schemas.publisher import Origin
from schemas.release import FileRow, SplitRow
from schemas.settings import Settings

_LEFT_OUT = "report/left_out.json"
_KEPT_TEXTS = ("LICENSE",)


def reduced_plan(version: VersionId, parent: Files, gone: Collection[SubjectId]) -> ReleasePlan:
    """A version that is its parent without these people.

    Raises:
        StoreError: if the parent is not published.
        IntegrityError: if its manifest is damaged.
    """
    manifest = read_manifest(parent)
    return ReleasePlan(
        version=version, parent=manifest.version, parent_splits=(), included=(), left_out=(), withdrawn=tuple(sorted(gone)),
        schema_version=manifest.schema_version,
    )  # fmt: skip


def reduced_contents(plan: ReleasePlan, parent: Files, settings: Settings, scratch: Path) -> ReleaseContents:
    """All files of the parent but those about the people who are gone; tables without their rows, texts written anew.

    Args:
        plan: as `reduced_plan` made it.
        scratch: a folder for what has to be fetched, if the parent lies in a store.

    Raises:
        ConsentError: if nobody would be left.
        StoreError: if the parent is not published, or has none of these people.
        IntegrityError: if a table of the parent is damaged.
    """
    side, manifest, gone = published_side(parent), read_manifest(parent), plan.withdrawn
    whole = {name: side.table(name) for name in side.tables}
    tables = {name: _without(table, gone) for name, table in whole.items()}
    if "gestures" in tables:
        shown = pc.unique(tables["captures"]["gesture"])
        tables["gestures"] = tables["gestures"].filter(pc.is_in(tables["gestures"]["gesture"], shown))
    splits = tuple(table_to_rows(SplitRow, tables["splits"]))
    if not splits:
        raise ConsentError(
            f"{parent.name}: subjects: expected somebody who did not withdraw, found nobody: no version is left."
        )
    if len(splits) == sum(map(len, manifest.splits.values())):
        raise StoreError(f"{parent.name}: subjects: expected one of {', '.join(gone)}, found none of them.")
    left_out = _left_out(side, gone)
    counts = {**manifest.counts, **table_counts(tables)}
    counts["subjects_left_out"] = counts.get("subjects_left_out", 0) + len(gone)
    counts["captures_quarantined"] = sum(bool(item["whole_capture"]) for item in left_out.quarantined)
    told = plan.model_copy(update={"left_out": tuple(LeftOut(**one) for one in left_out.subjects)})
    listed = left_out_bytes(left_out.subjects, left_out.quarantined, withdrawn=left_out.withdrawn)
    cut = {name: table for name, table in tables.items() if table.num_rows != whole[name].num_rows}
    entries = [*_kept(side, parent, gone, cut, scratch), document(_LEFT_OUT, listed, "document")]
    origin = cast("Origin | None", manifest.settings.get("release.origin"))
    entries += paper_entries(told, entries, tables, counts, settings, origin=origin)
    entries.sort(key=lambda entry: entry.row.path.encode())
    counts |= {"files": len(entries), "bytes": sum(entry.row.bytes for entry in entries)}
    return ReleaseContents(entries=tuple(entries), splits=splits, counts=counts, settings=dict(manifest.settings))


class _LeftOut(NamedTuple):
    """What `report/left_out.json` says."""

    subjects: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]
    withdrawn: int


def _kept(
    side: Side, parent: Files, gone: Collection[SubjectId], cut: Mapping[str, pa.Table], scratch: Path
) -> Iterator[Entry]:
    """The parent's files as they are, and the tables that lost rows."""
    for path, row in side.rows.items():
        if row.subject_id in gone or any(path.startswith(f"{SHARDS}{one}.zarr/") for one in gone):
            continue
        name = path.removeprefix("tables/").removesuffix(".parquet")
        if path == f"tables/{name}.parquet" and name in cut:
            yield document(path, table_bytes(cut[name]), row.modality)
        elif row.modality != "document" or path in _KEPT_TEXTS:
            yield _shared(row, parent, scratch)


@dataclass(frozen=True)
class _Remote:
    """A file of a store that the new version shares: fetched only if its content is asked for, and then once."""

    row: FileRow
    files: Files
    scratch: Path

    @property
    def source(self) -> Path:
        """Where its content is now."""
        path = self.scratch / self.row.path
        if not path.exists():
            write_bytes(path, self.files.read(self.row.path))
        return path


def _shared(row: FileRow, parent: Files, scratch: Path) -> Entry:
    if isinstance(parent, LocalFiles):
        return Entry(row=row, source=parent.root / row.path)
    return cast("Entry", _Remote(row, parent, scratch))


def _without(table: pa.Table, gone: Collection[SubjectId]) -> pa.Table:
    """The rows that are about nobody of them."""
    if "subject_id" not in table.column_names:
        return table
    return table.filter(pc.invert(pc.is_in(table["subject_id"], pa.array(sorted(gone)))))


def table_counts(tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """What a manifest counts of a version's tables."""
    counts = {
        "subjects": tables["subjects"].num_rows,
        "captures": tables["captures"].num_rows,
        "images": sum(tables["images"]["present"].to_pylist()),
    }
    if "mono_images" in tables:
        counts["mono_images"] = sum(tables["mono_images"]["present"].to_pylist())
    if "hands" in tables:
        counts["hands"] = tables["hands"].num_rows
        counts["captures_ok"] = sum(tables["quality"]["quality_ok"].to_pylist())
    return counts


def _left_out(side: Side, gone: Collection[SubjectId]) -> _LeftOut:
    """The parent's list without the people, and without those who had withdrawn before it was published."""
    told = side.json(_LEFT_OUT) if _LEFT_OUT in side.rows else {}
    listed, known = told.get("subjects", []), told.get("consent_withdrawn", 0)
    subjects = [one for one in listed if one["subject_id"] not in gone and CONSENT_WITHDRAWN not in one["reasons"]]
    withdrawn = known + len(gone) + sum(CONSENT_WITHDRAWN in one["reasons"] for one in listed)
    quarantined = [item for item in told.get("quarantined", []) if item["subject_id"] not in gone]
    return _LeftOut(subjects=subjects, quarantined=quarantined, withdrawn=withdrawn)
