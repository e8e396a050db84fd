from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from palm_data.capture.index import index_json
from palm_data.maps.views import ViewRow, write_views
from palm_data.quality.gate import GateFinding, subject_gate
from palm_data.quality.table import QUALITY, QUALITY_FILE
from palm_data.store.tables import write_rows
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, CaptureRecord, Consent, Quarantined, RawFile, ScanRecord, Session, Subject
from schemas.errors import IntegrityError
from schemas.quality import QualityRow
from schemas.settings import QualitySettings, ReleaseSettings, Settings

SUBJECT = "0007"
LABELS = {"coverage_mean", "fit_mm_mean", "model_to_scan_mm_mean", "silhouette_iou_fit_mean", "quality_ok_share"}
RAW = RawFile(path="0007/flat/flat.000001.ply", bytes=1, sha256="0" * 64)


def capture(frame: int) -> CaptureRecord:
    scan = ScanRecord(mesh=RAW, metres_per_unit=1.0, vertices=3, faces=1)
    return CaptureRecord(
        subject_id=SUBJECT, frame=frame, gesture="flat", raw_frame=frame, calibration_id="rig_a", images=(), scan=scan
    )


def quarantined(*, whole: bool) -> Quarantined:
    return Quarantined(
        subject_id=SUBJECT, gesture="fist", raw_frame=2, source="0007/fist/fist.000002.obj", field="faces",
        expected="triangles", found="none", whole_capture=whole,
    )  # fmt: skip


def ingest(
    workspace: Workspace,
    *,
    captures: int = 2,
    consent: Consent = Consent.GRANTED,
    out: tuple[Quarantined, ...] = (),
) -> None:
    index = CaptureIndex(
        subject=Subject(
            subject_id=SUBJECT, sex="female", age_band="31-40", height_band="171-180", skin_tone="tan",
            consent=consent, consent_date=date(2026, 1, 2),
        ),
        session=Session(calibration_id="rig_a", captured_at=datetime(2026, 1, 3, tzinfo=UTC), rig_serial="T"),
        gestures=(),
        captures=tuple(capture(frame) for frame in range(1, captures + 1)),
        quarantined=out,
    )  # fmt: skip

    def work(folder: Path) -> None:
        (folder / "index.json").write_bytes(index_json(index))

    workspace.run_stage("capture_index", SUBJECT, code_version="1", settings={}, inputs={}, work=work)


def draw(workspace: Workspace, ious: list[float | None]) -> None:
    rows = tuple(
        ViewRow(frame=1 + n, camera_id="MCU_01", mask_px=9, silhouette_iou=iou, contour_offset_px=None)
        for n, iou in enumerate(ious)
    )
    workspace.run_stage(
        "scan_maps", SUBJECT, code_version="1", settings={}, inputs={},
        work=lambda folder: write_views(folder / "views.parquet", rows),
    )  # fmt: skip


def captures_only(**quality: float) -> Settings:
    return Settings(quality=QualitySettings(**quality), release=ReleaseSettings(labels=False))


def score(workspace: Workspace, rows: list[QualityRow]) -> None:
    workspace.run_stage(
        QUALITY, SUBJECT, code_version="1", settings={"rows": [row.model_dump() for row in rows]}, inputs={},
        work=lambda folder: write_rows(folder / QUALITY_FILE, QualityRow, rows),
    )  # fmt: skip


def quality_row(frame: int, **found: object) -> QualityRow:
    good: dict[str, object] = {
        "coverage": 1.0, "reprojection_px": 1.0, "fit_mm": 4.0, "model_to_scan_mm": 1.0, "scan_to_model_mm": 1.0,
        "silhouette_iou": 0.95, "capture_iou": 0.97, "score": 0.9, "quality_ok": True, "reasons": "",
    }  # fmt: skip
    return QualityRow.model_validate({**good, **found, "subject_id": SUBJECT, "frame": frame})


def labels_gate(workspace: Workspace, rows: list[QualityRow]) -> dict[str, GateFinding]:
    ingest(workspace)
    draw(workspace, [0.97])
    score(workspace, rows)
    return {finding.name: finding for finding in subject_gate(workspace, SUBJECT, Settings())}


def gate(workspace: Workspace, **quality: float) -> dict[str, GateFinding]:
    findings = subject_gate(workspace, SUBJECT, captures_only(**quality))
    return {finding.name: finding for finding in findings}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_a_good_subject_passes_everything(workspace: Workspace) -> None:
    ingest(workspace)
    draw(workspace, [0.97, 0.95])
    findings = subject_gate(workspace, SUBJECT, captures_only())
    assert all(finding.passed for finding in findings)
    assert findings == subject_gate(workspace, SUBJECT, captures_only())
    assert not {finding.name for finding in findings} & LABELS
    score(workspace, [quality_row(1), quality_row(2)])
    with_labels = subject_gate(workspace, SUBJECT, Settings())
    assert all(finding.passed for finding in with_labels)
    assert with_labels[: len(findings)] == findings
    assert {finding.name for finding in with_labels[len(findings) :]} == LABELS


def test_labels_that_have_not_been_scored_block_a_release_that_should_have_them(workspace: Workspace) -> None:
    ingest(workspace)
    draw(workspace, [0.97])
    last = subject_gate(workspace, SUBJECT, Settings())[-1]
    assert (last.name, last.passed, last.blocking) == ("quality", False, True)


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        ("coverage_mean", {"coverage": 0.96}),
        ("fit_mm_mean", {"fit_mm": 5.4}),
        ("model_to_scan_mm_mean", {"model_to_scan_mm": 2.1}),
        ("silhouette_iou_fit_mean", {"silhouette_iou": 0.92}),
    ],
)
def test_a_mean_beyond_the_papers_figures_warns(workspace: Workspace, name: str, beyond: dict[str, float]) -> None:
    found = labels_gate(workspace, [quality_row(1, **beyond), quality_row(2, **beyond)])
    assert [one for one, finding in found.items() if not finding.passed] == [name]
    assert not found[name].blocking


def test_a_mean_that_one_capture_would_spoil_alone_passes_with_the_others(workspace: Workspace) -> None:
    found = labels_gate(
        workspace, [quality_row(1, fit_mm=6.0), quality_row(2, fit_mm=4.0), quality_row(3, fit_mm=None)]
    )
    assert found["fit_mm_mean"].passed
    assert found["fit_mm_mean"].found == "5.0000"
    assert found["fit_mm_mean"].detail == "Mean over 2 of 3 captures."


def test_a_subject_most_of_whose_labels_are_bad_stays_out_and_the_captures_are_named(workspace: Workspace) -> None:
    bad = [quality_row(n, quality_ok=False, score=0.1 * n, reasons=f"reason {n}") for n in (3, 1, 2)]
    found = labels_gate(workspace, [*bad, quality_row(4)])["quality_ok_share"]
    assert (found.passed, found.blocking, found.found) == (False, True, "0.25 (1 of 4)")
    assert found.detail == "frame 1: reason 1; frame 2: reason 2; frame 3: reason 3"
    assert labels_gate(workspace, [*bad[:1], quality_row(4)])["quality_ok_share"].passed


def test_nothing_measured_does_not_pass_for_good(workspace: Workspace) -> None:
    nothing = {"fit_mm": None, "model_to_scan_mm": None, "silhouette_iou": None, "quality_ok": False, "score": 0.0}
    found = labels_gate(workspace, [quality_row(1, **nothing)])
    assert {name for name in LABELS if not found[name].passed} == LABELS - {"coverage_mean"}


@pytest.mark.parametrize(("ingested", "missing"), [(False, "capture_index"), (True, "scan_maps")])
def test_a_stage_that_has_not_finished_blocks_and_does_not_raise(
    workspace: Workspace, ingested: bool, missing: str
) -> None:
    if ingested:
        ingest(workspace)
    findings = subject_gate(workspace, SUBJECT, Settings())
    assert findings[-1].name == missing
    assert (findings[-1].passed, findings[-1].blocking) == (False, True)


def test_withdrawn_consent_blocks(workspace: Workspace) -> None:
    ingest(workspace, consent=Consent.WITHDRAWN)
    draw(workspace, [0.97])
    found = gate(workspace)["consent"]
    assert (found.passed, found.blocking, found.found) == (False, True, "withdrawn")


def test_no_captures_block(workspace: Workspace) -> None:
    ingest(workspace, captures=0)
    assert not gate(workspace)["captures"].passed
    assert gate(workspace)["captures"].blocking


def test_a_low_mean_blocks_and_one_low_view_is_named_only(workspace: Workspace) -> None:
    ingest(workspace)
    draw(workspace, [0.99, 0.95, 0.91, 0.87, 0.6])
    found = gate(workspace)
    assert found["silhouette_iou_mean"].passed
    assert (found["silhouette_iou_view"].passed, found["silhouette_iou_view"].blocking) == (False, False)
    assert found["silhouette_iou_view"].detail == "frame 5 MCU_01: 0.600"
    strict = gate(workspace, min_silhouette_iou_mean=0.95)["silhouette_iou_mean"]
    assert (strict.passed, strict.blocking, strict.found) == (False, True, "0.8640")


def test_silhouettes_that_could_not_be_measured_do_not_pass_for_good_ones(workspace: Workspace) -> None:
    ingest(workspace)
    draw(workspace, [None, None])
    found = gate(workspace)
    assert not found["silhouette_iou_mean"].passed
    assert not found["silhouettes_measured"].passed


def test_quarantined_captures_warn_and_single_files_do_not_count(workspace: Workspace) -> None:
    ingest(workspace, captures=1, out=(quarantined(whole=True), quarantined(whole=True), quarantined(whole=False)))
    draw(workspace, [0.97])
    found = gate(workspace)["quarantined_captures"]
    assert (found.passed, found.blocking, found.found) == (False, False, "0.67 (2)")
    assert "fist.000002.obj" in found.detail


def test_a_damaged_output_is_an_error_not_a_finding(workspace: Workspace) -> None:
    ingest(workspace)
    (workspace.output("capture_index", SUBJECT) / "index.json").write_text("{}")
    with pytest.raises(IntegrityError, match="capture index"):
        subject_gate(workspace, SUBJECT, Settings())
