"""The stage that puts a subject's labels together: what goes in comes out, and what does not fit stays out."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.capture.index import load_index
from palm_data.hand.model import load_hand_model
from palm_data.maps.hand_maps import make_hand_maps
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.store.labels import build_subject_labels, out_of_date
from palm_data.store.shard import build_subject_shard
from palm_data.store.tables import read_rows
from palm_data.store.workspace import Workspace
from palm_data.testing.tiny_labels import (
    TinyLabels,
    tiny_labels,
    write_hands,
    write_keypoints,
    write_maps,
    write_quality,
)
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.errors import BadInputError, ConsentError, IntegrityError, SettingsError, StoreError
from schemas.hand import HandConvention, HandRow
from schemas.quality import QualityRow
from schemas.settings import Settings, TrainingMaskSettings
from tests.palm_data.calibration.sessions import Ingested, ingested, withdraw

SUBJECT = "0002"
"""The second capture of this subject has no hand."""


def label(made: Ingested, rows: TinyLabels) -> None:
    """Every stage before the labels, with these rows."""
    write_keypoints(made.workspace, made.settings, SUBJECT, rows)
    fit(made, rows)
    make_hand_maps(SUBJECT, made.workspace, made.settings)
    write_quality(made.workspace, made.settings, SUBJECT, rows)


def fit(made: Ingested, rows: TinyLabels) -> None:
    convention = load_hand_model().convention().model_dump()
    write_hands(made.workspace, made.settings, SUBJECT, rows, **convention)


def stale(made: Ingested, settings: Settings | None = None) -> str | None:
    return out_of_date(load_index(made.workspace, SUBJECT), made.workspace, settings or made.settings)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    made = ingested(
        tmp_path_factory.mktemp("labels"), subjects=2, gestures=2, pods=3, mono=False, portrait_pod=None, image_size=(96, 80)
    )  # fmt: skip
    made.calibrate()
    make_scan_maps(SUBJECT, made.workspace, made.settings)
    label(made, tiny_labels(SUBJECT, made.workspace))
    return made


@pytest.fixture
def made(session: Ingested, tmp_path: Path) -> Ingested:
    """A session of one's own, ready for its labels."""
    shutil.copytree(session.settings.workspace, tmp_path / "workspace")
    settings = session.settings.model_copy(update={"workspace": tmp_path / "workspace"})
    return replace(session, workspace=Workspace(settings.workspace), settings=settings)


def test_tables_hold_the_rows_of_the_stages(made: Ingested) -> None:
    rows = tiny_labels(SUBJECT, made.workspace)
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    tables = made.workspace.output("subject_labels", SUBJECT) / "tables"
    assert read_rows(tables / "keypoints_2d.parquet", Keypoint2DRow) == rows.keypoints_2d
    assert read_rows(tables / "keypoints_3d.parquet", Keypoint3DRow) == rows.keypoints_3d
    assert read_rows(tables / "hands.parquet", HandRow) == rows.hands
    assert read_rows(tables / "quality.parquet", QualityRow) == rows.quality
    assert len(rows.hands) == 1
    stored = HandConvention.model_validate_json((tables / "hand_convention.json").read_bytes())
    assert stored == load_hand_model().convention()


def test_masks_share_the_files_of_the_maps(made: Ingested) -> None:
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    maps = made.workspace.output("hand_maps", SUBJECT) / "maps.zarr"
    mine = made.workspace.output("subject_labels", SUBJECT) / "labels.zarr"
    files = [path.relative_to(maps) for name in ("hand_mask", "training_mask") for path in (maps / name).rglob("*.*")]
    tiers = [f"{name}/{tier}" for name in ("hand_mask", "training_mask") for tier in ("full", "half")]
    files += [Path(f"{tier}/c/{row}/0/0/0") for tier in tiers for row in (0, 1)]
    assert len(files) == 14
    assert all((maps / file).samefile(mine / file) for file in files)
    assert json.loads((mine / "zarr.json").read_bytes())["attributes"]["frames"] == [1, 2]


def test_figures_and_a_picture_are_left_for_a_person(made: Ingested) -> None:
    report = build_subject_labels(SUBJECT, made.workspace, made.settings)
    assert {name: report.figures[name] for name in ("captures", "captures_ok", "hands", "keypoints_3d")} == {
        "captures": 2, "captures_ok": 1, "hands": 1, "keypoints_3d": 41,
    }  # fmt: skip
    assert report.picture is not None
    assert len(np.unique(cv2.imread(str(report.picture)).reshape(-1, 3), axis=0)) > 50


def test_the_same_inputs_give_the_same_bytes_and_nothing_is_done_twice(made: Ingested) -> None:
    first = build_subject_labels(SUBJECT, made.workspace, made.settings)
    assert not build_subject_labels(SUBJECT, made.workspace, made.settings).ran
    made.workspace.forget("subject_labels", SUBJECT)
    assert build_subject_labels(SUBJECT, made.workspace, made.settings).digest == first.digest


def test_rows_are_put_in_order(made: Ingested) -> None:
    rows = tiny_labels(SUBJECT, made.workspace)
    label(made, replace(rows, keypoints_2d=rows.keypoints_2d[::-1], keypoints_3d=rows.keypoints_3d[::-1]))
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    tables = made.workspace.output("subject_labels", SUBJECT) / "tables"
    assert read_rows(tables / "keypoints_2d.parquet", Keypoint2DRow) == rows.keypoints_2d
    assert read_rows(tables / "keypoints_3d.parquet", Keypoint3DRow) == rows.keypoints_3d


def test_a_new_registration_puts_labels_out_of_date_and_writes_no_image_again(made: Ingested) -> None:
    build_subject_shard(SUBJECT, made.workspace, made.settings)
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    assert stale(made) is None
    shard = made.workspace.require("subject_shard", SUBJECT)
    rows = tiny_labels(SUBJECT, made.workspace, seed=3)
    fit(made, rows)
    reason = stale(made)
    assert reason is not None
    assert reason.startswith("subject_labels: expected one made from the present inputs, found others: hand_pose")
    with pytest.raises(
        StoreError, match=r"hand_maps \(made from another hand_pose\); quality \(made from another hand_pose\)"
    ):
        build_subject_labels(SUBJECT, made.workspace, made.settings)
    make_hand_maps(SUBJECT, made.workspace, made.settings)
    write_quality(made.workspace, made.settings, SUBJECT, rows)
    assert build_subject_labels(SUBJECT, made.workspace, made.settings).ran
    assert stale(made) is None
    assert not build_subject_shard(SUBJECT, made.workspace, made.settings).ran
    assert made.workspace.require("subject_shard", SUBJECT) == shard


def test_a_stage_made_from_another_shape_is_stale_though_its_own_output_stays(made: Ingested) -> None:
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    record = made.workspace.require("hand_pose", SUBJECT)
    folder = made.workspace.output("hand_pose", SUBJECT)
    registration = made.settings.registration.model_dump(mode="json")

    def shape(content: str) -> None:
        made.workspace.run_stage(
            "hand_shape", SUBJECT, code_version=content, settings=registration, inputs={},
            work=lambda new: (new / "shape.json").write_text(content),
        )  # fmt: skip

    shape("one")
    made.workspace.run_stage(
        "hand_pose", SUBJECT, code_version="shaped", settings=registration, work=lambda new: shutil.copytree(folder, new, dirs_exist_ok=True),
        inputs={**record.inputs, "hand_shape": made.workspace.require("hand_shape", SUBJECT).digest},
    )  # fmt: skip
    assert stale(made) is None
    shape("two")
    assert stale(made) == (
        "subject_labels: expected one made from the present inputs, found others: hand_pose (made from another hand_shape)"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"registration": {"scan_samples": 77}}, "hand_pose (made with other settings)"),
        ({"keypoints_3d": {"inlier_px": 7.0}}, "keypoints_3d (made with other settings)"),
        ({"maps": {"training_mask": TrainingMaskSettings(core_px=31)}}, "hand_maps (made with other settings)"),
    ],
)
def test_labels_made_with_other_settings_are_out_of_date(made: Ingested, change: dict, words: str) -> None:
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    update = {name: getattr(made.settings, name).model_copy(update=values) for name, values in change.items()}
    other = made.settings.model_copy(update=update)
    assert (stale(made, other) or "").endswith(f"found others: {words}")
    with pytest.raises(StoreError, match=words.replace("(", r"\(").replace(")", r"\)")):
        build_subject_labels(SUBJECT, made.workspace, other)


def test_a_new_verification_of_the_same_cameras_leaves_labels_up_to_date(made: Ingested) -> None:
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    stricter = made.settings.calibration.model_copy(update={"min_silhouette_iou": 0.5})
    made = replace(made, settings=made.settings.model_copy(update={"calibration": stricter}))
    made.calibrate()
    assert stale(made) is None


def test_what_is_not_made_is_named(made: Ingested) -> None:
    assert stale(made) == "subject_labels: expected a finished output, found nothing"
    build_subject_labels(SUBJECT, made.workspace, made.settings)
    made.workspace.forget("quality", SUBJECT)
    assert stale(made) == "subject_labels: expected finished inputs, found some missing"
    with pytest.raises(StoreError, match=f"stage 'quality' for '{SUBJECT}', found none"):
        build_subject_labels(SUBJECT, made.workspace, made.settings)


def test_a_hand_model_that_cannot_be_read_is_named(made: Ingested, tmp_path: Path) -> None:
    settings = made.settings.model_copy(update={"hand_model": tmp_path / "mine.npz"})
    with pytest.raises(SettingsError, match=r"hand_model: expected a readable file.*mine\.npz.*palm mano import"):
        build_subject_labels(SUBJECT, made.workspace, settings)


def of_frame(row: object, frame: int) -> object:
    return row.model_copy(update={"frame": frame})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("keypoints_2d", lambda rows: [*rows, of_frame(rows[0], 9)], r"keypoints_2d\.parquet: frame: .* found 9"),
        ("keypoints_3d", lambda rows: [*rows, of_frame(rows[0], 9)], r"keypoints_3d\.parquet: frame: .* found 9"),
        ("quality", lambda rows: [*rows, of_frame(rows[0], 9)], r"quality\.parquet: frame: .* found 9"),
        (
            "keypoints_2d",
            lambda rows: [rows[0], *rows],
            r"keypoints_2d\.parquet: rows: expected each once, found two of",
        ),
        (
            "keypoints_3d",
            lambda rows: rows[1:],
            "keypoints_3d of 0002: joint: expected 21 joints of each capture, found 41",
        ),
        ("quality", lambda rows: rows[1:], "quality of 0002: frame: expected each of 1, 2, found 2"),
        (
            "quality",
            lambda rows: [rows[0], rows[1].model_copy(update={"quality_ok": True})],
            "quality_ok of frame 2: expected false: it has no hand",
        ),
        (
            "quality",
            lambda rows: [row.model_copy(update={"subject_id": "0001"}) for row in rows],
            "subject_id: expected 0002, found 0001",
        ),
        (
            "keypoints_2d",
            lambda rows: [row.model_copy(update={"camera_id": "MCU_07"}) for row in rows[:21]],
            "camera_id: expected one of the calibration, found MCU_07",
        ),
    ],
)
def test_rows_that_do_not_fit_the_captures_are_refused(made: Ingested, table: str, change: object, words: str) -> None:
    rows = tiny_labels(SUBJECT, made.workspace)
    label(made, replace(rows, **{table: change(getattr(rows, table))}))  # type: ignore[operator]
    with pytest.raises(StoreError, match=words):
        build_subject_labels(SUBJECT, made.workspace, made.settings)
    assert made.workspace.record("subject_labels", SUBJECT) is None


def test_hands_of_a_capture_that_is_gone_are_refused(made: Ingested) -> None:
    rows = tiny_labels(SUBJECT, made.workspace)
    folder = made.workspace.output("hand_maps", SUBJECT)
    fit(made, replace(rows, hands=[*rows.hands, of_frame(rows.hands[0], 9)]))  # type: ignore[list-item]
    record = made.workspace.require("hand_maps", SUBJECT)
    made.workspace.run_stage(  # the maps refuse them too, so these are made from the hands in name only
        "hand_maps", SUBJECT, code_version="x", settings=record.settings, work=lambda new: shutil.copytree(folder, new, dirs_exist_ok=True),
        inputs={**record.inputs, "hand_pose": made.workspace.require("hand_pose", SUBJECT).digest},
    )  # fmt: skip
    write_quality(made.workspace, made.settings, SUBJECT, rows)
    with pytest.raises(StoreError, match=r"hands\.parquet: frame: expected one of the index, found 9"):
        build_subject_labels(SUBJECT, made.workspace, made.settings)


def test_masks_of_another_size_are_refused(made: Ingested) -> None:
    made.workspace.forget("hand_maps", SUBJECT)
    write_maps(made.workspace, made.settings, SUBJECT, tiny_labels(SUBJECT, made.workspace))
    with pytest.raises(
        StoreError, match=r"hand_mask/full: expected uint8 \(2, 3, 80, 96\), found uint8 \(2, 3, 10, 13\)"
    ):
        build_subject_labels(SUBJECT, made.workspace, made.settings)


def test_damaged_masks_and_tables_do_not_enter_labels(made: Ingested) -> None:
    for stage, file in (("hand_maps", "maps.zarr/training_mask/full/c/0/0/0/0"), ("hand_pose", "hands.parquet")):
        path = made.workspace.output(stage, SUBJECT) / file
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=file):
            build_subject_labels(SUBJECT, made.workspace, made.settings)
        path.write_bytes(whole)
    assert made.workspace.record("subject_labels", SUBJECT) is None


def test_nothing_is_put_together_of_a_person_who_withdrew_or_of_no_capture(made: Ingested) -> None:
    made.rewrite_index(SUBJECT, lambda index: index.model_copy(update={"captures": ()}))
    with pytest.raises(BadInputError, match="capture"):
        build_subject_labels(SUBJECT, made.workspace, made.settings)
    made.rewrite_index(SUBJECT, withdraw)
    with pytest.raises(ConsentError, match=SUBJECT):
        build_subject_labels(SUBJECT, made.workspace, made.settings)
