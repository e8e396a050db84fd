"""The stage on a subject: a row for every capture, the worst in the picture, the worst of everybody on one sheet."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.maps.views import ViewRow, write_views
from palm_data.quality.gate import subject_gate
from palm_data.quality.score import load_quality, score_subject
from palm_data.quality.worst import worst_sheet
from palm_data.registration.hand_pose import make_hand_pose
from palm_data.registration.hand_shape import make_hand_shape
from palm_data.registration.picture import TILE_PX
from schemas.errors import ConsentError, StoreError
from schemas.quality import QualityRow
from schemas.settings import FrameLimits, QualitySettings
from tests.palm_data.calibration.sessions import Ingested, withdraw
from tests.palm_data.registration.sessions import detect, hand_session


def draw(made: Ingested, *ious: float | None) -> None:
    """What scan_maps says of the captures, one after the other, in two views each."""
    rows = tuple(
        ViewRow(frame=1 + n, camera_id=camera, mask_px=9, silhouette_iou=iou, contour_offset_px=None)
        for n, iou in enumerate(ious) for camera in ("MCU_01", "MCU_02")
    )  # fmt: skip
    made.workspace.run_stage(
        "scan_maps", "0001", code_version="test", settings={"ious": list(ious)}, inputs={},
        work=lambda folder: write_views(folder / "views.parquet", rows),
    )  # fmt: skip


def label(made: Ingested, **detections: object) -> None:
    detect(made, **detections)  # type: ignore[arg-type]
    make_hand_shape("0001", made.workspace, made.settings)
    make_hand_pose("0001", made.workspace, made.settings)


def rows(made: Ingested) -> dict[int, QualityRow]:
    return {row.frame: row for row in load_quality(made.workspace, "0001")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    made = hand_session(tmp_path_factory.mktemp("quality"))
    draw(made, 0.98, 0.96)
    label(made)
    return made


def test_good_captures_score_well_and_say_why(whole: Ingested) -> None:
    report = score_subject("0001", whole.workspace, whole.settings)
    found = rows(whole)
    assert list(found) == [1, 2]
    for row, capture_iou in zip(found.values(), (0.98, 0.96), strict=True):
        assert row.quality_ok
        assert row.reasons == ""
        assert row.score > 0.8
        assert row.coverage == 1.0
        assert row.fit_mm is not None
        assert row.fit_mm < 5
        assert row.capture_iou == pytest.approx(capture_iou)
    assert report.figures["captures_ok"] == report.figures["captures"] == 2
    assert report.figures["score_min"] == pytest.approx(min(row.score for row in found.values()), abs=1e-4)
    assert found[int(report.figures["worst_frame"])].score == min(row.score for row in found.values())
    assert all(finding.passed for finding in subject_gate(whole.workspace, "0001", whole.settings) if finding.blocking)


def test_the_stage_runs_once_and_again_when_a_limit_changes(whole: Ingested) -> None:
    score_subject("0001", whole.workspace, whole.settings)
    assert not score_subject("0001", whole.workspace, whole.settings).ran
    before = rows(whole)[1]
    limits = QualitySettings(frame=FrameLimits(min_capture_iou=0.97))
    strict = whole.settings.model_copy(update={"quality": limits})
    assert score_subject("0001", whole.workspace, strict).ran
    assert rows(whole)[1].quality_ok
    assert (rows(whole)[2].quality_ok, rows(whole)[2].reasons) == (False, "capture_iou 0.96 < 0.97")
    assert rows(whole)[1].score < before.score  # the same part is nearer to its limit now


def test_the_picture_shows_each_capture_and_what_is_wrong(whole: Ingested) -> None:
    report = score_subject("0001", whole.workspace, whole.settings)
    assert report.picture is not None
    picture = cv2.imread(str(report.picture))
    assert picture.shape[1] > 4 * TILE_PX
    assert picture[:TILE_PX].std() > 20


def test_the_worst_of_everybody_come_first_and_nobody_is_no_sheet(whole: Ingested) -> None:
    score_subject("0001", whole.workspace, whole.settings)
    sheet = worst_sheet(whole.workspace, ["0001", "0099"], whole.settings)
    assert sheet is not None
    one = worst_sheet(whole.workspace, ["0001"], whole.settings, count=1)
    assert one is not None
    assert sheet.shape[1] > 1.8 * one.shape[1]
    assert np.array_equal(sheet[:TILE_PX, : TILE_PX // 2], one[:TILE_PX, : TILE_PX // 2])
    assert worst_sheet(whole.workspace, ["0099"], whole.settings) is None


def test_a_capture_without_a_hand_has_a_row_that_says_so_and_a_place_in_the_picture(tmp_path: Path) -> None:
    made = hand_session(tmp_path)
    draw(made, 0.98, None)
    label(made, seen={2: 2})
    report = score_subject("0001", made.workspace, made.settings)
    found = rows(made)
    assert found[1].quality_ok
    bad = found[2]
    assert (bad.quality_ok, bad.score, bad.fit_mm, bad.capture_iou) == (False, 0.0, None, None)
    assert bad.coverage == pytest.approx(2 / 21, abs=1e-4)
    assert bad.reasons.startswith("no hand fitted (joints: expected at least 3 of 21 triangulated, found 2)")
    assert "coverage 0.0952 < 0.75" in bad.reasons
    assert "not measured" not in bad.reasons
    assert report.figures["worst_frame"] == 2
    assert report.figures["captures_ok"] == 1
    assert report.picture is not None
    assert worst_sheet(made.workspace, ["0001"], made.settings) is not None
    made.rewrite_index("0001", withdraw)
    assert worst_sheet(made.workspace, ["0001"], made.settings) is None
    with pytest.raises(ConsentError):
        score_subject("0001", made.workspace, made.settings)


def test_without_fitted_hands_there_is_nothing_to_score(tmp_path: Path) -> None:
    made = hand_session(tmp_path, gestures=1)
    draw(made, 0.98)
    detect(made)
    with pytest.raises(StoreError, match="hand_pose"):
        score_subject("0001", made.workspace, made.settings)
