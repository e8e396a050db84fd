"""What changed between versions, and which numbers may say so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zarr

from palm_data.store.arrays import create_image_array, create_row_array, write_frame
from palm_data.store.atomic import file_sha256
from palm_data.store.changes import ReleaseChanges, changes
from palm_data.store.contents import Entry
from palm_data.store.files import LocalFiles
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.numbers import next_version
from palm_data.store.release import publish_release
from palm_data.store.side import Side, planned_side, published_side
from palm_data.store.table_changes import schema_changes
from palm_data.store.tables import read_rows, table_bytes
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace, write_subjects
from schemas.arrow import arrow_schema
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandRow
from schemas.release import FileRow
from schemas.settings import Settings, without_labels

SCHEMA = arrow_schema(HandRow)
BETAS = SCHEMA.get_field_index("betas")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_workspace(tmp_path)


def compare(settings: Settings, before: str, after: str) -> ReleaseChanges:
    return changes(*(published_side(LocalFiles(settings.releases / one)) for one in (before, after)))


def texts(found: ReleaseChanges) -> list[str]:
    return [reason.text for reason in found.reasons if reason.level == found.level]


@pytest.mark.parametrize(
    ("change", "breaking", "text"),
    [
        (lambda s: s.remove(BETAS), True, "removes column hands.betas"),
        (lambda s: s.set(BETAS, pa.field("beta", s.field(BETAS).type, nullable=False)), True, "adds column hands.beta"),
        (lambda s: s.set(BETAS, pa.field("betas", pa.list_(pa.float32()), nullable=False)), True, "makes column hands.betas"),
        (lambda s: s.set(BETAS, s.field(BETAS).with_nullable(True)), True, "may be null (was list"),
        (lambda s: s.append(pa.field("new", pa.int64())), False, "adds column hands.new (int64, may be null)"),
        (lambda s: s.set(len(s) - 1, s.field(len(s) - 1).with_nullable(False)), False, "(was double, may be null)"),
    ],
)  # fmt: skip
def test_a_column_that_is_lost_renamed_retyped_or_may_be_null_breaks(
    change: Callable[[pa.Schema], pa.Schema], breaking: bool, text: str
) -> None:
    found = schema_changes("hands", SCHEMA, change(SCHEMA))
    assert any(one.breaking for one in found) is breaking
    assert any(text in one.text for one in found)


def test_order_and_descriptions_of_columns_are_no_change() -> None:
    assert (
        schema_changes("hands", SCHEMA, pa.schema([field.with_metadata(None) for field in reversed(list(SCHEMA))]))
        == []
    )


@pytest.mark.parametrize(
    ("before", "level", "least"),
    [
        ("1.2.3", "patch", "1.2.4"), ("1.2.3", "minor", "1.3.0"), ("1.2.3", "major", "2.0.0"),
        ("0.2.3", "patch", "0.2.4"), ("0.2.3", "minor", "0.3.0"), ("0.2.3", "major", "0.3.0"),
    ],
)  # fmt: skip
def test_the_next_number_follows_from_what_changed(before: str, level: str, least: str) -> None:
    assert next_version(before, level) == least  # type: ignore[arg-type]


def test_a_new_person_is_minor_and_shares_the_rest(tiny: Tiny) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003"])
    add_subject(tiny.workspace, tiny.settings, "0003")
    with pytest.raises(
        StoreError,
        match=r"expected 1\.1\.0 or higher after 1\.0\.0, found 1\.0\.1, which adds subject 0003: that is MINOR",
    ):
        publish_release("1.0.1", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == ["1.0.0"]
    publish_release("1.1.0", tiny.workspace, tiny.settings)
    found = compare(tiny.settings, "1.0.0", "1.1.0")
    assert (found.level, found.subjects_added, found.subjects_changed) == ("minor", ("0003",), ())
    rgb = next(one for one in found.files if one.modality == "rgb")
    assert (rgb.files_removed, rgb.files_added) == (0, 2)
    assert ReleaseChanges.model_validate_json(found.model_dump_json()) == found


def test_a_person_who_is_gone_is_major(tiny: Tiny) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    tiny.workspace.forget("subject_shard", "0002")
    with pytest.raises(
        StoreError, match=r"found 1\.5\.0, which removes subject 0002: that is MAJOR\. Publish as 2\.0\.0"
    ):
        publish_release("1.5.0", tiny.workspace, tiny.settings)
    publish_release("2.0.0", tiny.workspace, tiny.settings)


def test_below_1_the_second_number_takes_what_breaks(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    add_subject(tiny.workspace, tiny.settings, "0002", seed=5)
    with pytest.raises(StoreError, match=r"changes 2 captures of 0002 \(.*rgb/full.*\): that is MAJOR \(below 1\.0\.0"):
        publish_release("0.1.1", tiny.workspace, tiny.settings)
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    found = compare(tiny.settings, "0.1.0", "0.2.0")
    (one,) = found.subjects_changed
    assert (one.subject_id, one.frames_changed, one.frames_added) == ("0002", (1, 2), ())
    assert {"rgb/full", "captures", "hands", "keypoints_2d"} <= set(one.touched)
    assert sum(len(subject.frames_changed) for subject in found.subjects_changed) == 2


def test_labels_are_an_addition_and_their_loss_is_not(tiny: Tiny) -> None:
    publish_release("1.0.0", tiny.workspace, without_labels(tiny.settings))
    publish_release("1.1.0", tiny.workspace, tiny.settings)
    found = compare(tiny.settings, "1.0.0", "1.1.0")
    assert found.level == "minor"
    assert found.tables_added == ("hands", "keypoints_2d", "keypoints_3d", "quality")
    assert found.arrays_added == ("hand_mask/full", "training_mask/full")
    back = compare(tiny.settings, "1.1.0", "1.0.0")
    assert (back.level, back.tables_removed) == ("major", found.tables_added)


def test_other_terms_are_no_patch_and_the_same_again_is(tiny: Tiny, tmp_path: Path) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    publish_release("1.0.1", tiny.workspace, tiny.settings)
    assert compare(tiny.settings, "1.0.0", "1.0.1").level == "patch"
    (tmp_path / "terms.txt").write_text("Only on Tuesdays.\n")
    release = tiny.settings.release.model_copy(update={"terms": tmp_path / "terms.txt"})
    with pytest.raises(StoreError, match="changes the terms of use"):
        publish_release("1.0.2", tiny.workspace, tiny.settings.model_copy(update={"release": release}))


def test_tiles_of_another_size_repackage_the_same_data(tiny: Tiny, tmp_path: Path) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "1.0.0"
    before = published_side(LocalFiles(folder))
    same = edited(folder, tmp_path / "same", lambda name, pixels: pixels, tile_px=4)
    found = changes(before, same)
    assert (found.level, found.subjects_changed) == ("patch", ())
    assert next(one for one in found.files if one.modality == "rgb").files_added == 3
    other = edited(folder, tmp_path / "other", lambda name, pixels: pixels ^ _one(pixels), tile_px=4)
    (one,) = changes(before, other).subjects_changed
    assert (one.subject_id, one.frames_changed, one.touched) == ("0001", (2,), ("rgb/full",))


def test_a_capture_that_is_gone_moves_the_others_and_changes_none(tiny: Tiny, tmp_path: Path) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "1.0.0"
    before, after = published_side(LocalFiles(folder)), without_first_capture(folder, tmp_path / "less")
    (one,) = changes(before, after).subjects_changed
    assert (one.frames_removed, one.frames_changed, one.frames_added, one.touched) == ((1,), (), (), ())
    (back,) = changes(after, before).subjects_changed
    assert (back.frames_added, back.frames_changed, changes(after, before).level) == ((1,), (), "minor")


def test_a_damaged_table_of_the_parent_is_named(tiny: Tiny) -> None:
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    path = tiny.settings.releases / "1.0.0/tables/captures.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match=r"captures\.parquet of 1\.0\.0: expected sha256"):
        published_side(LocalFiles(path.parents[1])).table("captures")


def _one(pixels: np.ndarray) -> np.ndarray:
    """One pixel of the second capture."""
    mark = np.zeros_like(pixels)
    mark[1, 0, 0, 0] = 1
    return mark


def edited(folder: Path, out: Path, edit: Callable[[str, np.ndarray], np.ndarray], *, tile_px: int) -> Side:
    """A version whose colour images of 0001 went through an edit, in other tiles."""
    shutil.copytree(folder, out, copy_function=shutil.copyfile)
    name, group = "rgb/full", out / "shards/0001.zarr"
    pixels = np.asarray(zarr.open_array(group / name)[:])
    shutil.rmtree(group / name)
    _write_images(zarr.open_group(group), name, edit(name, pixels), tile_px=tile_px)
    return as_published(out)


def without_first_capture(folder: Path, out: Path) -> Side:
    """A version in which the second capture of 0001 is the only one: row 0 of all their arrays."""
    shutil.copytree(folder, out, copy_function=shutil.copyfile)
    group = out / "shards/0001.zarr"
    arrays = {path.parent.relative_to(group).as_posix(): np.asarray(zarr.open_array(path.parent)[:])
              for path in group.rglob("zarr.json") if json.loads(path.read_bytes())["node_type"] == "array"}  # fmt: skip
    meta = {name: json.loads((group / name / "zarr.json").read_bytes())["attributes"] for name in arrays}
    for name, values in arrays.items():
        shutil.rmtree(group / name)
        if values.ndim >= 4:
            _write_images(zarr.open_group(group), name, values[1:], tile_px=8, attributes=meta[name])
        else:
            half = values[:2] if name.endswith("_offsets") else values[len(values) // 2 :]
            create_row_array(zarr.open_group(group), name, half)
    for path in (out / "tables").glob("*.parquet"):
        table = pq.read_table(path, use_threads=False)
        if "frame" in table.column_names:
            table = table.filter((pc.field("subject_id") != "0001") | (pc.field("frame") != 1))
        if path.stem == "captures":
            rows = [0 if one["subject_id"] == "0001" else one["array_index"] for one in table.to_pylist()]
            at = table.column_names.index("array_index")
            table = table.set_column(at, table.schema.field(at), pa.array(rows, pa.int64()))
        path.write_bytes(table_bytes(table))
    return as_published(out)


def _write_images(group: zarr.Group, name: str, pixels: np.ndarray, **how: Any) -> None:
    array = create_image_array(group, name, pixels.shape, pixels.dtype, **how)
    for row, frame in enumerate(pixels):
        write_frame(array, row, frame)


def as_published(folder: Path) -> Side:
    """What a folder would be as a version."""
    manifest = read_manifest(folder)
    known = {row.path: row for row in read_rows(folder / "files.parquet", FileRow)}
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in ("manifest.json", "files.parquet"):
            size, modality = path.stat().st_size, known[name].modality if name in known else "metadata"
            row = FileRow(path=name, bytes=size, sha256=file_sha256(path), modality=modality)
            files.append(Entry(row=row, source=path))
    return planned_side("9.0.0", manifest.settings, files)
