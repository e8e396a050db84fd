import json
from pathlib import Path

import pytest

from palm_data.store.manifest import read_manifest, versions
from palm_data.store.release import publish_release
from palm_data.store.tables import read_rows
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace, write_subjects
from schemas.capture import CaptureIndex
from schemas.errors import BadInputError, ConflictError, IntegrityError, StoreError
from schemas.release import CameraRow, CaptureRow, FileRow, ImageRow, SplitRow, SubjectRow
from schemas.settings import QualitySettings


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_workspace(tmp_path)


def left_out(folder: Path) -> dict[str, list[str]]:
    report = json.loads((folder / "report" / "left_out.json").read_text())
    return {one["subject_id"]: one["reasons"] for one in report["subjects"]}


def test_a_published_version_is_whole_and_read_only(tiny: Tiny) -> None:
    manifest = publish_release("0.1.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "0.1.0"
    report = verify_release(folder)
    assert report.passed
    assert report.merkle_root == manifest.merkle_root
    assert manifest == read_manifest(folder)
    assert manifest.counts["subjects"] == 2
    assert manifest.counts["captures"] == 4
    assert manifest.counts["images"] == 10  # one view of each second capture is missing
    assert {path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.is_file()} == {0}
    assert list((tiny.settings.releases / ".partial").glob("0*")) == []


def test_the_tables_hold_every_subject_capture_image_and_camera(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    tables = tiny.settings.releases / "0.1.0" / "tables"
    assert sorted(path.stem for path in tables.glob("*.parquet")) == [
        "cameras", "captures", "gestures", "hands", "images", "keypoints_2d", "keypoints_3d", "quality", "splits", "subjects"
    ]  # fmt: skip
    assert [row.subject_id for row in read_rows(tables / "subjects.parquet", SubjectRow)] == ["0001", "0002"]
    assert [(row.subject_id, row.frame, row.array_index) for row in read_rows(tables / "captures.parquet", CaptureRow)] == [
        ("0001", 1, 0), ("0001", 2, 1), ("0002", 1, 0), ("0002", 2, 1)
    ]  # fmt: skip
    images = read_rows(tables / "images.parquet", ImageRow)
    assert [(row.subject_id, row.frame, row.camera_id) for row in images if not row.present] == [
        ("0001", 2, "MCU_02"), ("0002", 2, "MCU_02")
    ]  # fmt: skip
    cameras = read_rows(tables / "cameras.parquet", CameraRow)
    assert [row.camera_id for row in cameras] == ["MCU_01", "MCU_02", "MCU_03"] * 2
    assert {row.raw_distortion for row in cameras} == {(0.01, 0.0, 0.0, 0.0, 0.0)}


def test_files_are_known_by_subject_modality_and_tier(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    rows = {row.path: row for row in read_rows(tiny.settings.releases / "0.1.0" / "files.parquet", FileRow)}
    described = {
        path: (rows[path].subject_id, rows[path].modality, rows[path].tier)
        for path in (
            "shards/0001.zarr/zarr.json", "shards/0001.zarr/rgb/full/c/1/0/0/0/0", "shards/0001.zarr/rgb/zarr.json",
            "shards/0002.zarr/depth/full/zarr.json", "shards/0002.zarr/scan/uv/c/0/0", "tables/images.parquet", "LICENSE",
        )
    }  # fmt: skip
    assert described == {
        "shards/0001.zarr/zarr.json": ("0001", "metadata", None),
        "shards/0001.zarr/rgb/full/c/1/0/0/0/0": ("0001", "rgb", "full"),
        "shards/0001.zarr/rgb/zarr.json": ("0001", "rgb", None),
        "shards/0002.zarr/depth/full/zarr.json": ("0002", "depth", "full"),
        "shards/0002.zarr/scan/uv/c/0/0": ("0002", "scan", None),
        "tables/images.parquet": (None, "table", None),
        "LICENSE": (None, "document", None),
    }


def test_the_same_inputs_give_the_same_root_and_bytes_anywhere(tmp_path: Path) -> None:
    folders = []
    for place in ("here", "elsewhere"):
        tiny = tiny_workspace(tmp_path / place)
        publish_release("0.1.0", tiny.workspace, tiny.settings)
        folders.append(tiny.settings.releases / "0.1.0")
    names = [sorted(path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()) for one in folders]
    assert names[0] == names[1]
    differing = [
        name for name in names[0] if (folders[0] / name).read_bytes() != (folders[1] / name).read_bytes()
    ]  # the time of publishing is in the manifest and nowhere else
    assert set(differing) <= {"manifest.json"}
    assert read_manifest(folders[0]).merkle_root == read_manifest(folders[1]).merkle_root


def test_publishing_again_changes_nothing(tiny: Tiny) -> None:
    first = publish_release("0.1.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "0.1.0"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert publish_release("0.1.0", tiny.workspace, tiny.settings) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_version_with_other_contents_is_never_replaced(tiny: Tiny) -> None:
    first = publish_release("0.1.0", tiny.workspace, tiny.settings)
    add_subject(tiny.workspace, tiny.settings, "0002", seed=9)
    with pytest.raises(ConflictError, match=rf"found one published .* with {first.merkle_root}, 2 subjects"):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert verify_release(tiny.settings.releases / "0.1.0").passed
    assert read_manifest(tiny.settings.releases / "0.1.0") == first


def test_a_withdrawn_subject_stays_out_whatever_the_index_says(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    write_subjects(tiny.settings.raw, ["0001", "0002"], withdrawn=["0002"])
    manifest = publish_release("0.2.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "0.2.0"
    assert manifest.parent == "0.1.0"
    assert manifest.withdrawn == ("0002",)
    assert manifest.counts["subjects_left_out"] == 1
    assert json.loads((folder / "report" / "left_out.json").read_text()) == {
        "subjects": [], "quarantined": [], "consent_withdrawn": 1
    }  # fmt: skip
    assert not (folder / "shards" / "0002.zarr").exists()
    assert "0002" not in str(manifest.splits)


def test_without_the_raw_root_the_index_speaks_for_consent(tiny: Tiny) -> None:
    (tiny.settings.raw / "subjects.csv").unlink()
    tiny.settings.raw.rmdir()
    add_subject(tiny.workspace, tiny.settings, "0002", consent="withdrawn")
    manifest = publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert manifest.counts["subjects"] == 1
    told = json.loads((tiny.settings.releases / "0.1.0" / "report" / "left_out.json").read_text())
    assert told["consent_withdrawn"] == 1


def test_a_subject_table_that_cannot_be_read_stops_everything(tiny: Tiny) -> None:
    (tiny.settings.raw / "subjects.csv").write_text("subject_id;consent\n0001;granted\n")
    with pytest.raises(BadInputError, match=r"subjects\.csv"):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == []


def test_a_session_that_cannot_be_read_is_named_with_its_file(tiny: Tiny) -> None:
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003", "0004"])
    session = '{"calibration_id": "rig_b", "captured_at": "2026-01-03T10:00:00Z", "rig_serial": "T"}'
    for subject_id, content in (("0003", '{"calibration_id": "rig'), ("0004", session)):
        (tiny.settings.raw / subject_id).mkdir()
        (tiny.settings.raw / subject_id / "session.json").write_text(content)
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    reasons = left_out(tiny.settings.releases / "0.1.0")
    assert reasons["0003"][0].startswith("0003/session.json: content: expected whole JSON, found Invalid JSON: EOF")
    assert reasons["0004"] == ["calibrations/rig_b: folder: expected a folder of .tka files, found nothing"]


def test_one_bad_subject_costs_one_subject(tiny: Tiny) -> None:
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003", "0004", "0005"])
    add_subject(tiny.workspace, tiny.settings, "0003", iou=0.2)
    add_subject(tiny.workspace, tiny.settings, "0004")
    tiny.workspace.forget("subject_shard", "0004")
    add_subject(tiny.workspace, tiny.settings, "0005")
    index = tiny.workspace.output("capture_index", "0005") / "index.json"
    index.write_bytes(index.read_bytes()[:-40])
    add_subject(tiny.workspace, tiny.settings, "0006")
    manifest = publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert manifest.counts["subjects"] == 2
    reasons = left_out(tiny.settings.releases / "0.1.0")
    assert reasons["0003"] == [
        f"silhouette_iou_mean: expected at least {QualitySettings().min_silhouette_iou_mean:.4f}, found 0.2000"
    ]
    assert reasons["0004"] == ["subject_shard: expected a finished output, found nothing"]
    assert reasons["0005"] == ["workspace: expected whole outputs, found damaged ones"]
    assert reasons["0006"] == ["subjects.csv: expected a row of the subject, found none"]


def test_who_was_delivered_and_not_indexed_is_listed_too(tiny: Tiny) -> None:
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003", "0004"], withdrawn=["0004"])
    for subject_id in ("0003", "0004"):
        (tiny.settings.raw / subject_id).mkdir()
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert left_out(tiny.settings.releases / "0.1.0") == {
        "0003": ["capture_index: expected a finished output, found nothing"],
    }


def test_a_shard_made_from_other_inputs_stays_out(tiny: Tiny) -> None:
    settings = tiny.settings.model_copy(update={"shard": tiny.settings.shard.model_copy(update={"background": "zero"})})
    with pytest.raises(StoreError, match="found others: settings"):
        publish_release("0.1.0", tiny.workspace, settings)
    fresh = tiny.workspace.output("capture_index", "0001") / "index.json"
    changed = CaptureIndex.model_validate_json(fresh.read_bytes())
    changed = changed.model_copy(update={"captures": changed.captures[:1]})
    tiny.workspace.run_stage(
        "capture_index", "0001", code_version="2", settings={}, inputs={},
        work=lambda folder: (folder / "index.json").write_text(changed.model_dump_json()),
    )  # fmt: skip
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    reasons = left_out(tiny.settings.releases / "0.1.0")
    assert list(reasons) == ["0001"]
    assert reasons["0001"][0] == "subject_shard: expected one made from the present inputs, found others: capture_index"
    assert reasons["0001"][1].startswith(
        "subject_labels: expected one made from the present inputs, found others: capture"
    )


def test_damage_in_the_workspace_does_not_reach_a_release(tiny: Tiny) -> None:
    path = tiny.workspace.output("subject_shard", "0002") / "shard.zarr/rgb/full/c/0/0/0/0/0"
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(
        IntegrityError, match=r"c/0/0/0/0/0: expected sha256 [0-9a-f]+, found [0-9a-f]+\. The workspace"
    ):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == []
    assert not (tiny.settings.releases / "0.1.0").exists()


def test_a_new_version_shares_what_did_not_change_and_moves_nobody(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003"])
    add_subject(tiny.workspace, tiny.settings, "0003")
    tiny.workspace.forget("subject_shard", "0002")
    add_subject(tiny.workspace, tiny.settings, "0002")  # the same bytes, written again
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    old, new = (tiny.settings.releases / version for version in ("0.1.0", "0.2.0"))
    for subject in ("0001", "0002"):
        file = f"shards/{subject}.zarr/rgb/full/c/0/0/0/0/0"
        assert (old / file).samefile(new / file)
    before, after = (read_rows(one / "tables/splits.parquet", SplitRow) for one in (old, new))
    assert after[: len(before)] == before
    assert after[-1].since == "0.2.0"


def test_a_damaged_parent_does_not_damage_its_child(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    tiny.workspace.forget("subject_shard", "0001")
    add_subject(tiny.workspace, tiny.settings, "0001")
    file = tiny.settings.releases / "0.1.0" / "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    file.chmod(0o644)
    file.write_bytes(b"x" * file.stat().st_size)
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    assert verify_release(tiny.settings.releases / "0.2.0").passed
    assert not verify_release(tiny.settings.releases / "0.1.0").passed


def test_the_parent_may_be_named_and_has_to_be_lower_and_published(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    assert publish_release("0.3.0", tiny.workspace, tiny.settings, parent="0.1.0").parent == "0.1.0"
    with pytest.raises(StoreError, match=r"expected a published version below 0\.1\.5 as the parent, found 0\.2\.0"):
        publish_release("0.1.5", tiny.workspace, tiny.settings, parent="0.2.0")
    with pytest.raises(StoreError, match=r"expected MAJOR\.MINOR\.PATCH, found '1\.0'"):
        publish_release("1.0", tiny.workspace, tiny.settings)


def test_nothing_to_publish_says_why(tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, ["0001"], withdrawn=["0001"])
    with pytest.raises(StoreError, match=r"at least one subject that may be released, found none \(0001: consent"):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert not tiny.settings.releases.exists()


def test_terms_are_published_when_they_are_set(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("Only on Tuesdays.\n")
    release = tiny.settings.release.model_copy(update={"terms": tmp_path / "terms.txt"})
    publish_release("0.1.0", tiny.workspace, tiny.settings.model_copy(update={"release": release}))
    assert (tiny.settings.releases / "0.1.0" / "LICENSE").read_text() == "Only on Tuesdays.\n"


def test_no_file_of_a_version_names_a_path_of_this_machine(tiny: Tiny, tmp_path: Path) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    for path in (tiny.settings.releases / "0.1.0").rglob("*"):
        assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes()
