"""Making a small release from a release."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc

from palm_data.mini.choice import Chosen, choose
from palm_data.mini.shard import TIER, write_subset
from palm_data.report.papers.facts import read_tables
from palm_data.store.atomic import file_sha256
from palm_data.store.contents import Entry, ReleaseContents, document, file_kind, left_out_bytes, paper_entries
from palm_data.store.label_contents import Scalar
from palm_data.store.label_tables import CONVENTION_FILE, LABEL_MODELS, convention_bytes
from palm_data.store.plan import ReleasePlan
from palm_data.store.release import Publication, publish_contents
from palm_data.store.tables import rows_bytes, table_bytes
from schemas.errors import StoreError
from schemas.publisher import Origin
from schemas.release import FileRow, Manifest, SplitRow
from schemas.settings import Settings

if TYPE_CHECKING:
    from palm_data.loader.release import Release

MAX_BYTES = 30_000_000
CAPTURES = 4
_README = "README.md"
_BY_CAPTURE = ("images", *LABEL_MODELS)


def publish_mini(
    release: "Release",
    releases: Path,
    *,
    settings: Settings | None = None,
    max_bytes: int = MAX_BYTES,
    captures: int = CAPTURES,
) -> Manifest:
    """Publish a small release with the number of the one it is made from: one person of each split, a few captures.

    It is a release like others, of its own identity; `mini.of_merkle_root` of its settings says what it was made from.

    Args:
        releases: the folder to publish in; not that of the release itself.
        settings: what the publisher says of it.
        max_bytes: what all files together may take; as many captures of each person as fit are taken.
        captures: how many of each person at most.

    Raises:
        ConflictError: if the folder holds a version of this number with other contents.
        StoreError: if there are too few people, or one capture of each takes more than it may.
        IntegrityError: if something of the release is damaged.
    """
    most = max(map(len, choose(release, captures).frames.values()))
    found = 0
    for count in range(most, 0, -1):
        with tempfile.TemporaryDirectory(prefix="palm-mini-") as folder:
            contents, plan = _contents(release, choose(release, count), Path(folder), settings or Settings())
            found = sum(entry.row.bytes for entry in contents.entries)
            if found <= max_bytes:
                publication = Publication(
                    version=plan.version, parent=None, schema_version=release.manifest.schema_version
                )
                return publish_contents(publication, contents, releases)
    raise StoreError(
        f"{release}: expected three captures that take at most {max_bytes / 1e6:.0f} MB, found {found / 1e6:.0f} MB. "
        "Allow more with --max-mb."
    )


def _contents(
    release: "Release", chosen: Chosen, folder: Path, settings: Settings
) -> tuple[ReleaseContents, ReleasePlan]:
    plan = ReleasePlan(
        version=release.version, parent=None, parent_splits=(), included=(), left_out=(), withdrawn=()
    )  # fmt: skip
    splits = _splits(release, chosen)
    tables = _tables(release, chosen)
    counts = {
        "subjects": len(splits),
        "captures": tables["captures"].num_rows,
        "images": sum(tables["images"]["present"].to_pylist()),
        "subjects_left_out": 0,
        "captures_quarantined": 0,
    }
    if release.labelled:
        counts |= {"hands": tables["hands"].num_rows, "captures_ok": sum(tables["quality"]["quality_ok"].to_pylist())}
    encoded = {name: table_bytes(table) for name, table in tables.items()} | {"splits": rows_bytes(SplitRow, splits)}
    entries = [
        *(document(f"tables/{name}.parquet", content, "table") for name, content in encoded.items()),
        document("LICENSE", release.document("LICENSE"), "document"),
        document("report/left_out.json", left_out_bytes([], [], withdrawn=0), "document"),
        *_shards(release, chosen, folder),
    ]
    if release.labelled:
        entries.append(document(f"tables/{CONVENTION_FILE}", convention_bytes(release.hand_convention), "metadata"))
    origin = cast("Origin | None", release.manifest.settings.get("release.origin"))
    for entry in paper_entries(plan, entries, read_tables(encoded), counts, settings, origin=origin):
        entries.append(entry if entry.row.path != _README else _with_origin(entry, release, chosen))
    entries.sort(key=lambda entry: entry.row.path.encode())
    counts |= {"files": len(entries), "bytes": sum(entry.row.bytes for entry in entries)}
    made_from = {"mini.of_version": release.version, "mini.of_merkle_root": release.manifest.merkle_root}
    kept: dict[str, Scalar] = {"shard.tiers": TIER, "shard.mono": False}
    recorded = {**release.manifest.settings, **kept, **made_from}
    return ReleaseContents(entries=tuple(entries), splits=splits, counts=counts, settings=recorded), plan


def _splits(release: "Release", chosen: Chosen) -> tuple[SplitRow, ...]:
    rows = {one: release.tables.rows("splits", SplitRow, one)[0] for one in chosen.splits}
    return tuple(rows[one].model_copy(update={"split": split}) for one, split in chosen.splits.items())


def _tables(release: "Release", chosen: Chosen) -> dict[str, pa.Table]:
    """The rows of the chosen captures, of every table but the splits."""
    subjects = pc.field("subject_id").isin(list(chosen.splits))
    captures = _of_captures(release.tables["captures"], chosen)
    counted = [len(chosen.frames[one]) for one in chosen.splits]
    rows = [row for one in chosen.splits for row in range(len(chosen.frames[one]))]
    tables = {
        "subjects": _with(release.tables["subjects"].filter(subjects).sort_by("subject_id"), "captures", counted),
        "gestures": release.tables["gestures"].filter(pc.field("gesture").isin(captures["gesture"].unique())),
        "captures": _with(captures, "array_index", rows),
        "cameras": release.tables["cameras"].filter(subjects),
    }
    names = _BY_CAPTURE if release.labelled else ("images",)
    return tables | {name: _of_captures(release.tables[name], chosen) for name in names}


def _of_captures(table: pa.Table, chosen: Chosen) -> pa.Table:
    keys = zip(table["subject_id"].to_pylist(), table["frame"].to_pylist(), strict=True)
    return table.filter(pa.array([frame in chosen.frames.get(subject, ()) for subject, frame in keys], pa.bool_()))


def _with(table: pa.Table, column: str, values: list[int]) -> pa.Table:
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(at), pa.array(values, pa.int64()))


def _shards(release: "Release", chosen: Chosen, folder: Path) -> Iterator[Entry]:
    for subject_id, frames in chosen.frames.items():
        group = folder / f"{subject_id}.zarr"
        write_subset(group, release, subject_id, frames)
        for path in sorted(one for one in group.rglob("*") if one.is_file()):
            inner = path.relative_to(group).as_posix()
            modality, tier = file_kind(inner)
            yield Entry(
                row=FileRow(
                    path=f"shards/{subject_id}.zarr/{inner}", bytes=path.stat().st_size, subject_id=subject_id,
                    sha256=file_sha256(path), modality=modality, tier=tier,
                ),
                source=path,
            )  # fmt: skip


def _with_origin(readme: Entry, release: "Release", chosen: Chosen) -> Entry:
    text = readme.source.read_bytes() if isinstance(readme.source, Path) else readme.source
    return document(_README, text + _origin(release, chosen).encode(), "document")


def _origin(release: "Release", chosen: Chosen) -> str:
    """What the text of a small release says about where it comes from."""
    moved = _listed(
        f"{subject} stands for {chosen.splits[subject]} here and is in {split} there"
        for subject, split in chosen.moved.items()
    )
    return f"""
## A small release

Made from release {release.version} (merkle root {release.manifest.merkle_root}): one person of each split, a few of
their good captures, at the same resolution. It is there to try things with; do not report figures on it.
{moved}"""


def _listed(sentences: Iterable[str]) -> str:
    lines = list(sentences)
    return f"\nThat release had nobody in some split: {'; '.join(lines)}.\n" if lines else ""
