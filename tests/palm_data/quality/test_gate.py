from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from palm_data.capture.index import index_json
from palm_data.maps.views import ViewRow, write_views
from palm_data.quality.gate import GateFinding, subject_gate
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, CaptureRecord, Consent, Quarantined, RawFile, ScanRecord, Session, Subject
from schemas.errors import IntegrityError
from schemas.settings import QualitySettings, Settings

SUBJECT = "0007"
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


def gate(workspace: Workspace, **quality: float) -> dict[str, GateFinding]:
    findings = subject_gate(workspace, SUBJECT, Settings(quality=QualitySettings(**quality)))
    return {finding.name: finding for finding in findings}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_a_good_subject_passes_everything(workspace: Workspace) -> None:
    ingest(workspace)
    draw(workspace, [0.97, 0.95])
    findings = subject_gate(workspace, SUBJECT, Settings())
    assert all(finding.passed for finding in findings)
    assert findings == subject_gate(workspace, SUBJECT, Settings())


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
    draw(workspace, [0.99, 0.99, 0.99, 0.99, 0.6])
    found = gate(workspace)
    assert found["silhouette_iou_mean"].passed
    assert (found["silhouette_iou_view"].passed, found["silhouette_iou_view"].blocking) == (False, False)
    assert found["silhouette_iou_view"].detail == "frame 5 MCU_01: 0.600"
    strict = gate(workspace, min_silhouette_iou_mean=0.95)["silhouette_iou_mean"]
    assert (strict.passed, strict.blocking, strict.found) == (False, True, "0.9120")


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
