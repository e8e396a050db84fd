"""The gate: what a subject must satisfy before it may enter a release.

Reads finished stages only. A blocking finding that failed keeps the subject out of a release and nobody else; the
others are warnings.
"""

from collections.abc import Sequence

import numpy as np

from palm_data.calibration.verification import VERIFICATION_FILE, Verification, load_verification
from palm_data.capture.index import load_index
from palm_data.maps.views import load_views
from palm_data.quality.finding import GateFinding, some
from palm_data.quality.silhouettes import silhouette_findings
from palm_data.quality.table import QUALITY, load_quality
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, Consent
from schemas.ids import SubjectId
from schemas.quality import QualityRow
from schemas.settings import QualitySettings, Settings

__all__ = ["GateFinding", "subject_gate"]


def subject_gate(workspace: Workspace, subject_id: SubjectId, settings: Settings) -> tuple[GateFinding, ...]:
    """Everything that decides whether the subject may enter a release, in a fixed order.

    A stage that has not finished is a blocking finding, not an error.

    Raises:
        IntegrityError: if a finished stage's output is damaged.
    """
    if workspace.record("capture_index", subject_id) is None:
        return (_not_made("capture_index", subject_id),)
    index = load_index(workspace, subject_id)
    findings = [_consent(index), _captures(index), _quarantine(index, settings.quality)]
    if workspace.record("scan_maps", subject_id) is None:
        return (*findings, _not_made("scan_maps", subject_id))
    findings += silhouette_findings(
        index, load_views(workspace, subject_id), _verification(workspace, index), settings.quality
    )
    if not settings.release.labels:
        return tuple(findings)
    if workspace.record(QUALITY, subject_id) is None:
        return (*findings, _not_made(QUALITY, subject_id))
    return (*findings, *_labels(load_quality(workspace, subject_id), settings.quality))


def _verification(workspace: Workspace, index: CaptureIndex) -> Verification | None:
    """What the calibration stage found of the cameras; None if it has not finished, or only imported them."""
    record = workspace.record("calibration", index.session.calibration_id)
    if record is None or all(item.path != VERIFICATION_FILE for item in record.outputs):
        return None
    return load_verification(workspace, index.session.calibration_id)


def _not_made(stage: str, subject_id: SubjectId) -> GateFinding:
    return GateFinding(
        name=stage, passed=False, found="nothing", expected="a finished output", blocking=True,
        detail=f"Materialize {stage} for {subject_id} first.",
    )  # fmt: skip


def _consent(index: CaptureIndex) -> GateFinding:
    consent = index.subject.consent
    return GateFinding(
        name="consent", passed=consent is Consent.GRANTED, found=str(consent), expected=str(Consent.GRANTED),
        blocking=True, detail=f"subjects.csv, {index.subject.consent_date.isoformat()}",
    )  # fmt: skip


def _captures(index: CaptureIndex) -> GateFinding:
    count = len(index.captures)
    return GateFinding(
        name="captures", passed=count > 0, found=f"{count}", expected="at least 1", blocking=True,
        detail="" if count else "Every capture is in quarantine, or the session is empty.",
    )  # fmt: skip


def _quarantine(index: CaptureIndex, quality: QualitySettings) -> GateFinding:
    out = [item for item in index.quarantined if item.whole_capture]
    share = len(out) / max(len(out) + len(index.captures), 1)
    return GateFinding(
        name="quarantined_captures", passed=share <= quality.max_quarantined_share, found=f"{share:.2f} ({len(out)})",
        expected=f"a share of at most {quality.max_quarantined_share:.2f}", blocking=False,
        detail=some([f"{item.source}: {item.field}" for item in out]),
    )  # fmt: skip


def _labels(rows: Sequence[QualityRow], quality: QualitySettings) -> tuple[GateFinding, ...]:
    """The labels' means against the paper's figures, which warn; and how many captures have usable labels."""
    good = [row for row in rows if row.quality_ok]
    share = len(good) / max(len(rows), 1)
    bad = sorted((row for row in rows if not row.quality_ok), key=lambda row: (row.score, row.frame))
    return (
        _mean("coverage_mean", [row.coverage for row in rows], least=quality.min_coverage_mean),
        _mean("fit_mm_mean", [row.fit_mm for row in rows], most=quality.max_fit_mm_mean),
        _mean("model_to_scan_mm_mean", [row.model_to_scan_mm for row in rows], most=quality.max_model_to_scan_mm_mean),
        _mean("silhouette_iou_fit_mean", [row.silhouette_iou for row in rows], least=quality.min_fit_silhouette_iou_mean),
        GateFinding(
            name="quality_ok_share", passed=bool(rows) and share >= quality.min_ok_share,
            found=f"{share:.2f} ({len(good)} of {len(rows)})", expected=f"a share of at least {quality.min_ok_share:.2f}",
            blocking=True, detail=some([f"frame {row.frame}: {row.reasons}" for row in bad]),
        ),
    )  # fmt: skip


def _mean(
    name: str, values: Sequence[float | None], *, least: float | None = None, most: float | None = None
) -> GateFinding:
    """Whether the mean over the captures that have a value is on the right side of a limit; a warning."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    passed = mean is not None and (least is None or mean >= least) and (most is None or mean <= most)
    return GateFinding(
        name=name, passed=passed, found="no capture has one" if mean is None else f"{mean:.4f}",
        expected=f"at most {most:.4f}" if most is not None else f"at least {least or 0.0:.4f}", blocking=False,
        detail=f"Mean over {len(known)} of {len(values)} captures.",
    )  # fmt: skip
