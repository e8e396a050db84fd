"""The stage `quality`: how good each capture's labels are, and a picture of the worst.

quality.parquet     a row for every capture of the index, in frame order (`schemas.quality.QualityRow`)
figures.json, picture.png
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palm_data.calibration.cameras import cameras_digest, load_cameras
from palm_data.capture.index import usable_index
from palm_data.hand.fits import HAND_POSE, load_hands
from palm_data.hand.model import load_hand_model
from palm_data.maps.views import VIEWS_FILE, load_views
from palm_data.quality.parts import PART_NAMES, Parts, image_scale, reasons, score
from palm_data.quality.picture import quality_picture
from palm_data.quality.table import QUALITY, QUALITY_FILE, load_quality
from palm_data.registration.unfit import load_unfit
from palm_data.report.pictures import write_png
from palm_data.store.atomic import write_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_3D, load_keypoints_3d
from schemas.annotation import Keypoint3DRow
from schemas.capture import CaptureIndex
from schemas.hand import JOINT_NAMES, HandRow
from schemas.ids import SubjectId
from schemas.quality import QualityRow
from schemas.settings import Settings

__all__ = ["CODE_VERSION", "load_quality", "score_subject"]

CODE_VERSION = "1"
_DIGITS = 5


def score_subject(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Score each of the subject's captures, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a raw file is not the one that was ingested.
        StoreError: if an earlier stage has not finished.
    """
    index = usable_index(workspace, subject_id)

    return workspace.run_stage(
        QUALITY,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.quality.frame.model_dump(mode="json"),
        inputs={
            "capture_index": workspace.require("capture_index", subject_id).digest,
            "cameras": cameras_digest(workspace, index.session.calibration_id),
            "views": workspace.require("scan_maps", subject_id).digest_of(VIEWS_FILE),
            "keypoints_3d": workspace.require(KEYPOINTS_3D, subject_id).digest,
            "hand_pose": workspace.require(HAND_POSE, subject_id).digest,
            "hand_model": load_hand_model(settings.hand_model).sha256,
        },
        work=lambda folder: _score(folder, index, workspace, settings),
    )


def _score(folder: Path, index: CaptureIndex, workspace: Workspace, settings: Settings) -> None:
    subject_id = index.subject.subject_id
    limits, scale = settings.quality.frame, image_scale(load_cameras(workspace, index.session.calibration_id))
    unfit = load_unfit(workspace, HAND_POSE, subject_id)
    rows = []
    for frame, parts in capture_parts(index, workspace).items():
        broken = reasons(parts, limits, scale=scale)
        found = score(parts, limits, scale=scale)
        rows.append(_row(subject_id, frame, parts, *_without_hand(unfit.get(frame), found, broken)))
    write_rows(folder / QUALITY_FILE, QualityRow, rows)
    write_bytes(folder / "figures.json", (json.dumps(_figures(rows), indent=1) + "\n").encode())
    write_png(folder / "picture.png", quality_picture(index, rows, workspace, settings))


def capture_parts(index: CaptureIndex, workspace: Workspace) -> dict[int, Parts]:
    """Frame → what the finished stages say of it, in frame order."""
    subject_id = index.subject.subject_id
    hands = {row.frame: row for row in load_hands(workspace, subject_id)}
    keypoints: dict[int, list[Keypoint3DRow]] = {capture.frame: [] for capture in index.captures}
    for row in load_keypoints_3d(workspace, subject_id):
        keypoints.get(row.frame, []).append(row)
    ious: dict[int, list[float]] = {}
    for view in load_views(workspace, subject_id):
        if view.silhouette_iou is not None:
            ious.setdefault(view.frame, []).append(view.silhouette_iou)
    return {frame: _parts(keypoints[frame], hands.get(frame), ious) for frame in sorted(keypoints)}


def _parts(keypoints: Sequence[Keypoint3DRow], hand: HandRow | None, ious: Mapping[int, Sequence[float]]) -> Parts:
    errors = [row.reprojection_px for row in keypoints if row.reprojection_px is not None]
    capture = ious.get(keypoints[0].frame, ()) if keypoints else ()
    return Parts(
        coverage=_rounded(len(errors) / len(JOINT_NAMES)) or 0.0,
        reprojection_px=_mean(errors),
        fit_mm=None if hand is None else _rounded(hand.joint_error_mm_mean),
        model_to_scan_mm=None if hand is None else _rounded(hand.model_to_scan_mm_mean),
        scan_to_model_mm=None if hand is None else _rounded(hand.scan_to_model_mm_mean),
        silhouette_iou=None if hand is None else _rounded(hand.silhouette_iou_mean),
        capture_iou=_mean(capture),
    )


def _without_hand(unfit: str | None, found: float, broken: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """Score and reasons, once it is known why there is no hand; what it lacks besides is no further news."""
    if unfit is None:
        return found, broken
    return 0.0, (f"no hand fitted ({unfit})", *(item for item in broken if not item.endswith("not measured")))


def _row(subject_id: SubjectId, frame: int, parts: Parts, found: float, broken: tuple[str, ...]) -> QualityRow:
    return QualityRow(
        subject_id=subject_id,
        frame=frame,
        quality_ok=not broken,
        score=round(found, _DIGITS),
        reasons="; ".join(broken),
        **{name: getattr(parts, name) for name in PART_NAMES},
    )


def _figures(rows: Sequence[QualityRow]) -> dict[str, float | int | str]:
    worst = min(rows, key=lambda row: (row.score, row.frame))
    good = sum(row.quality_ok for row in rows)
    figures: dict[str, float | int | str] = {
        "captures": len(rows),
        "captures_ok": good,
        "ok_share": round(good / len(rows), 4),
        "score_mean": round(float(np.mean([row.score for row in rows])), 4),
        "score_min": round(worst.score, 4),
        "worst_frame": worst.frame,
    }
    for name in PART_NAMES:
        known = [value for row in rows if (value := getattr(row, name)) is not None]
        if known:
            figures[f"{name}_mean"] = round(float(np.mean(known)), 4)
    return figures


def _mean(values: Sequence[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
