"""A version without some of its people: made from the version itself, whatever has become of the workspace."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from palm_data.store.contents import Entry, ReleaseContents, document, left_out_bytes
from palm_data.store.documents import readme
from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import read_manifest
from palm_data.store.plan import CONSENT_WITHDRAWN, ReleasePlan
from palm_data.store.side import SHARDS, Side, published_side
from palm_data.store.tables import table_bytes
from schemas.arrow import table_to_rows
from schemas.errors import ConsentError, StoreError
from schemas.ids import SubjectId, VersionId
from schemas.release import SplitRow

_LEFT_OUT, _README = "report/left_out.json", "README.md"
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


def reduced_contents(plan: ReleasePlan, parent: Files) -> ReleaseContents:
    """All files of the parent but those about the people who are gone; tables without their rows, texts written anew.

    Raises:
        ConsentError: if nobody would be left.
        StoreError: if the parent is not published, or has none of these people.
        IntegrityError: if a table of the parent is damaged.
    """
    side, manifest, gone = published_side(parent), read_manifest(parent), plan.withdrawn
    tables = {name: _without(side.table(name), gone) for name in side.tables}
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
    counts = {**manifest.counts, **_counts(tables)}
    counts["subjects_left_out"] = counts.get("subjects_left_out", 0) + len(gone)
    counts["captures_quarantined"] = sum(bool(item["whole_capture"]) for item in left_out.quarantined)
    texts = {
        _LEFT_OUT: left_out_bytes(left_out.subjects, left_out.quarantined, withdrawn=left_out.withdrawn),
        _README: readme(plan, counts, splits, labels="hands" in tables).encode(),
    }
    entries = [*_kept(side, parent, gone, tables), *(document(path, text, "document") for path, text in texts.items())]
    entries.sort(key=lambda entry: entry.row.path.encode())
    counts |= {"files": len(entries), "bytes": sum(entry.row.bytes for entry in entries)}
    return ReleaseContents(entries=tuple(entries), splits=splits, counts=counts, settings=dict(manifest.settings))


class _LeftOut(NamedTuple):
    """What `report/left_out.json` says."""

    subjects: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]
    withdrawn: int


def _kept(side: Side, parent: Files, gone: Collection[SubjectId], tables: Mapping[str, pa.Table]) -> Iterator[Entry]:
    """The parent's files as they are, and its tables as they are without the people."""
    for path, row in side.rows.items():
        if row.subject_id in gone or any(path.startswith(f"{SHARDS}{one}.zarr/") for one in gone):
            continue
        name = path.removeprefix("tables/").removesuffix(".parquet")
        if path == f"tables/{name}.parquet" and tables[name].num_rows != side.table(name).num_rows:
            yield document(path, table_bytes(tables[name]), row.modality)
        elif row.modality != "document" or path in _KEPT_TEXTS:
            yield Entry(row=row, source=_source(parent, path))


def _source(parent: Files, path: str) -> Path | bytes:
    """Where a file that the new version shares comes from; a store copies it by itself, and asks for no content."""
    return parent.root / path if isinstance(parent, LocalFiles) else Path(parent.name) / path


def _without(table: pa.Table, gone: Collection[SubjectId]) -> pa.Table:
    """The rows that are about nobody of them."""
    if "subject_id" not in table.column_names:
        return table
    return table.filter(pc.invert(pc.is_in(table["subject_id"], pa.array(sorted(gone)))))


def _counts(tables: Mapping[str, pa.Table]) -> dict[str, int]:
    counts = {
        "subjects": tables["subjects"].num_rows,
        "captures": tables["captures"].num_rows,
        "images": sum(tables["images"]["present"].to_pylist()),
    }
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
