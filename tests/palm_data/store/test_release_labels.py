"""Versions with labels, versions without, and one after the other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from palm_data.capture.index import load_index
from palm_data.hand.model import SHIPPED_MODEL
from palm_data.store.atomic import file_sha256
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.release import publish_release
from palm_data.store.tables import read_rows
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, tiny_workspace, write_subjects
from palm_data.testing.tiny_labels import put_together, tiny_labels, write_hands, write_maps, write_quality
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandRow
from schemas.quality import QualityRow
from schemas.release import FileRow
from schemas.settings import without_labels
from tests.palm_data.store.test_release import left_out

PAPERS = ("README.md", "DATASHEET.md", "CHANGELOG.md", "croissant.json", "report/index.html")
"""They name the version that they are of."""
LABEL_FILES = {
    *(
        f"tables/{name}"
        for name in ("keypoints_2d.parquet", "keypoints_3d.parquet", "hands.parquet", "quality.parquet")
    ),
    "tables/hand_convention.json",
    *(
        f"shards/{subject}.zarr/{name}/{file}"
        for subject in ("0001", "0002")
        for name in ("hand_mask", "training_mask")
        for file in ("zarr.json", "full/zarr.json", "full/c/0/0/0/0", "full/c/1/0/0/0")
    ),
}


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_workspace(tmp_path)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refit(tiny: Tiny, subject_id: str, **changes: object) -> None:
    """A new registration, and all that follows from it; with another convention if one is given."""
    new = tiny_labels(subject_id, tiny.workspace, seed=8)
    made = replace(tiny.labels[subject_id], hands=new.hands, hand_mask=new.hand_mask, training_mask=new.training_mask)
    write_hands(tiny.workspace, tiny.settings, subject_id, made, **changes)
    write_maps(tiny.workspace, tiny.settings, subject_id, made)
    write_quality(tiny.workspace, tiny.settings, subject_id, made)
    put_together(tiny.workspace, tiny.settings, load_index(tiny.workspace, subject_id), made, **changes)


def test_a_version_without_labels_has_not_one_file_of_them(tiny: Tiny) -> None:
    manifest = publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings))
    folder = tiny.settings.releases / "0.1.0"
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    assert files(tiny.settings.releases / "0.2.0") - files(folder) == LABEL_FILES
    assert manifest.settings == {
        "shard.tile_px": 8, "shard.background": "keep", "shard.tiers": "full", "shard.mono": False, "maps.depth_unit_mm": 0.05, "ingest.tka_pixel_origin": "corner",
        "release.labels": False, "release.origin": None,
    }  # fmt: skip
    assert "hands" not in manifest.counts
    assert "Hand labels (keypoints, fits, quality) are not part of this version." in (folder / "README.md").read_text()


def test_a_version_without_labels_does_not_need_them(tiny: Tiny) -> None:
    for stage in ("keypoints_2d", "keypoints_3d", "hand_pose", "hand_maps", "quality", "subject_labels"):
        tiny.workspace.forget(stage, "0001")
    assert publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings)).counts["subjects"] == 2


def test_the_tables_hold_every_subjects_rows(tiny: Tiny) -> None:
    manifest = publish_release("0.1.0", tiny.workspace, tiny.settings)
    tables = tiny.settings.releases / "0.1.0" / "tables"
    made = [tiny.labels[one] for one in ("0001", "0002")]
    assert read_rows(tables / "keypoints_2d.parquet", Keypoint2DRow) == made[0].keypoints_2d + made[1].keypoints_2d
    assert read_rows(tables / "keypoints_3d.parquet", Keypoint3DRow) == made[0].keypoints_3d + made[1].keypoints_3d
    assert read_rows(tables / "hands.parquet", HandRow) == made[0].hands + made[1].hands
    assert read_rows(tables / "quality.parquet", QualityRow) == made[0].quality + made[1].quality
    assert (manifest.counts["hands"], manifest.counts["captures_ok"]) == (3, 3)
    assert manifest.schema_version == "1.2.0"


def test_files_of_labels_are_known_by_subject_modality_and_tier(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    rows = {row.path: row for row in read_rows(tiny.settings.releases / "0.1.0" / "files.parquet", FileRow)}
    described = {path: (rows[path].subject_id, rows[path].modality, rows[path].tier) for path in LABEL_FILES}
    expected: dict[str, tuple[str | None, str, str | None]] = {}
    for path in LABEL_FILES:
        if path.startswith("tables/"):
            expected[path] = (None, "table" if path.endswith(".parquet") else "metadata", None)
        else:
            _, group, name, *rest = path.split("/")
            expected[path] = (group.removesuffix(".zarr"), name, "full" if rest[0] == "full" else None)
    assert described == expected


def test_the_manifest_says_what_shaped_the_labels(tiny: Tiny) -> None:
    settings = publish_release("0.1.0", tiny.workspace, tiny.settings).settings
    assert settings["release.labels"] is True
    assert settings["keypoints_3d.inlier_px"] == tiny.settings.keypoints_3d.inlier_px
    assert settings["maps.training_mask.core_px"] == 21
    assert settings["hand_model.sha256"] == file_sha256(SHIPPED_MODEL)
    assert settings["detector.sha256"] == "d" * 64
    assert len(str(settings["registration.sha256"])) == len(str(settings["quality.sha256"])) == 64


def test_labels_added_to_a_version_share_every_file_that_did_not_change(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings))
    tiny.workspace.forget("subject_shard", "0001")  # what is published is enough to share with
    tiny_again = tiny_workspace(tiny.settings.releases.parent)
    publish_release("0.2.0", tiny_again.workspace, tiny.settings)
    old, new = (tiny.settings.releases / version for version in ("0.1.0", "0.2.0"))
    changed = {name for name in files(old) if not (old / name).samefile(new / name)}
    assert changed == {"manifest.json", "files.parquet", *PAPERS}
    assert verify_release(old).passed
    assert verify_release(new).passed


def test_a_new_registration_shares_the_images_of_the_version_before(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    refit(tiny, "0001")
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    old, new = (tiny.settings.releases / version for version in ("0.1.0", "0.2.0"))
    changed = {name for name in files(old) if not (old / name).samefile(new / name)}
    masks = {f"shards/0001.zarr/{n}/full/c/{row}/0/0/0" for n in ("hand_mask", "training_mask") for row in (0, 1)}
    assert changed == {"manifest.json", "files.parquet", *PAPERS, "tables/hands.parquet", *masks}


def test_who_has_no_labels_or_old_ones_stays_out_and_the_others_do_not(tiny: Tiny) -> None:
    tiny.workspace.forget("subject_labels", "0001")
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert left_out(tiny.settings.releases / "0.1.0") == {
        "0001": ["subject_labels: expected a finished output, found nothing"]
    }
    refit(tiny, "0001")
    write_hands(tiny.workspace, tiny.settings, "0002", tiny_labels("0002", tiny.workspace, seed=8))
    manifest = publish_release("0.2.0", tiny.workspace, tiny.settings)
    assert manifest.splits["train"] == ("0001",)
    assert left_out(tiny.settings.releases / "0.2.0") == {
        "0002": [
            "subject_labels: expected one made from the present inputs, found others: hand_pose, "
            "hand_maps (made from another hand_pose), quality (made from another hand_pose)"
        ]
    }
    assert {row.subject_id for row in read_rows(tiny.settings.releases / "0.2.0/tables/hands.parquet", HandRow)} == {
        "0001"
    }


def test_a_person_who_withdrew_is_in_no_table_of_labels(tiny: Tiny) -> None:
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    write_subjects(tiny.settings.raw, ["0001", "0002"], withdrawn=["0002"])
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "0.2.0"
    assert read_manifest(folder).withdrawn == ("0002",)
    for name, model in (
        ("keypoints_2d", Keypoint2DRow), ("keypoints_3d", Keypoint3DRow), ("hands", HandRow), ("quality", QualityRow)
    ):  # fmt: skip
        rows = read_rows(folder / "tables" / f"{name}.parquet", model)
        assert {row.subject_id for row in rows} == {"0001"}
    assert not any("0002" in name for name in files(folder))


def test_hands_of_two_conventions_are_not_published_together(tiny: Tiny) -> None:
    refit(tiny, "0002", model_id="another")
    with pytest.raises(
        StoreError, match=r'convention: .*"model_id":"tiny".* for 0001 and .*"model_id":"another".* for 0002'
    ):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == []


@pytest.mark.parametrize(
    "file", ["tables/hands.parquet", "tables/hand_convention.json", "labels.zarr/hand_mask/full/c/0/0/0/0"]
)
def test_damaged_labels_in_the_workspace_do_not_reach_a_release(tiny: Tiny, file: str) -> None:
    path = tiny.workspace.output("subject_labels", "0002") / file
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=file):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == []


def test_the_same_labels_give_the_same_root_anywhere(tmp_path: Path) -> None:
    made = [tiny_workspace(tmp_path / place) for place in ("here", "elsewhere")]
    roots = {publish_release("0.1.0", one.workspace, one.settings).merkle_root for one in made}
    assert len(roots) == 1
    report = json.loads((made[0].settings.releases / "0.1.0/manifest.json").read_text())
    assert roots == {report["merkle_root"]}
