"""The stage `hand_pose` (stage two): the pose of every capture, with the subject's shape frozen.

hands.parquet       a row for each capture that could be fitted (`schemas.hand.HandRow`)
unfit.json          the others: frame → reason
convention.json     how the rows' numbers are to be read (`schemas.hand.HandConvention`)
figures.json, picture.png
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.calibration.cameras import load_cameras
from palm_data.capture.index import granted_index
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.hand_shape import STAGE as HAND_SHAPE
from palm_data.registration.hand_shape import load_betas
from palm_data.registration.measure import FitMeasures, measure
from palm_data.registration.measured import frame_targets, registration_inputs
from palm_data.registration.parameters import ORIENT, POSE, TRANSL
from palm_data.registration.picture import TILE_PX, FitPainter, pictured_fit, with_legend
from palm_data.registration.posed import Posed
from palm_data.registration.stages import fit_pose
from palm_data.registration.targets import FrameTarget
from palm_data.registration.unfit import few_joints, nobody_fits, without, write_unfit
from palm_data.report.pictures import contact_sheet, write_png
from palm_data.store.atomic import write_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.errors import GeometryError
from schemas.hand import HandRow
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "hand_pose"
HANDS_FILE = "hands.parquet"
CODE_VERSION = "2"
_DIGITS = 4
_CAPTURES_A_ROW = 3


def make_hand_pose(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Fit the pose of each of the subject's captures, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if none of the subject's captures can be fitted, a scan is not the one that was ingested, or the
            hand model's file is not one.
        StoreError: if an earlier stage has not finished, or the shape is of another hand model.
    """
    index = granted_index(workspace, subject_id)
    model = load_hand_model(settings.hand_model)
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.registration.model_dump(mode="json"),
        inputs={
            **registration_inputs(index, workspace, HAND_SHAPE),
            "hand_model": model.sha256,
            "hand_model_id": model.model_id,  # it is in the convention
        },
        work=lambda folder: _fit(folder, index, model, workspace, settings),
    )


@dataclass(frozen=True)
class _Fitted:
    """A capture and its hand."""

    capture: CaptureRecord
    target: FrameTarget
    frame: Float[ndarray, "51"]
    posed: Posed
    measures: FitMeasures


def _fit(folder: Path, index: CaptureIndex, model: HandModel, workspace: Workspace, settings: Settings) -> None:
    betas, context = (
        load_betas(workspace, index.subject.subject_id, model),
        HandShapeContext(model, settings.registration),
    )
    unfit, fitted = few_joints(index, workspace), []
    captures = without(index.captures, unfit)
    for capture, target in zip(captures, frame_targets(index, captures, workspace, settings), strict=True):
        try:
            frame, _ = fit_pose(context, target, betas)
        except GeometryError as error:
            unfit[capture.frame] = str(error)
            continue
        posed = context.pose(frame, betas)
        fitted.append(_Fitted(capture, target, frame, posed, measure(context, target, posed)))
    if not fitted:
        raise nobody_fits(index, unfit)
    write_rows(folder / HANDS_FILE, HandRow, [_row(item, betas) for item in fitted])
    write_unfit(folder, unfit)
    write_bytes(folder / "convention.json", (model.convention().model_dump_json() + "\n").encode())
    figures = {"captures": len(fitted), "captures_unfit": len(unfit), **_figures([item.measures for item in fitted])}
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    cameras = load_cameras(workspace, index.session.calibration_id)
    write_png(folder / "picture.png", _picture(fitted, context, cameras, settings))


def _row(item: _Fitted, betas: Float[ndarray, "10"]) -> HandRow:
    found = item.measures
    return HandRow(
        subject_id=item.capture.subject_id,
        frame=item.capture.frame,
        global_orient=tuple(item.frame[ORIENT].tolist()),
        hand_pose=tuple(item.frame[POSE].tolist()),
        betas=tuple(betas.tolist()),
        transl=tuple(item.frame[TRANSL].tolist()),
        model_to_scan_mm_mean=found.model_to_scan.mean,
        model_to_scan_mm_median=found.model_to_scan.median,
        model_to_scan_mm_p95=found.model_to_scan.p95,
        border_share=found.border_share,
        scan_to_model_mm_mean=found.scan_to_model.mean,
        scan_to_model_mm_median=found.scan_to_model.median,
        scan_to_model_mm_p95=found.scan_to_model.p95,
        joint_error_mm_mean=found.joint_error_mm,
        silhouette_iou_mean=float(np.mean(found.silhouette_iou)) if found.silhouette_iou else None,
        silhouette_iou_min=min(found.silhouette_iou, default=None),
    )


def _figures(measures: Sequence[FitMeasures]) -> dict[str, float]:
    columns: dict[str, list[float | None]] = {
        "model_to_scan_mm_mean": [found.model_to_scan.mean for found in measures],
        "model_to_scan_mm_p95": [found.model_to_scan.p95 for found in measures],
        "scan_to_model_mm_mean": [found.scan_to_model.mean for found in measures],
        "joint_error_mm_mean": [found.joint_error_mm for found in measures],
        "silhouette_iou_mean": [
            float(np.mean(found.silhouette_iou)) if found.silhouette_iou else None for found in measures
        ],
        "border_share_mean": [found.border_share for found in measures],
    }
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: round(float(np.mean(values)), _DIGITS) for name, values in known.items() if values}


def _picture(
    fitted: Sequence[_Fitted], context: HandShapeContext, cameras: Sequence[Camera], settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """Each capture: joints and the hand's outline over an image, the hand over another, and the scan's errors."""
    painter, tiles, labels = FitPainter(cameras, context.model.faces, settings), [], []
    for item in fitted:
        one, other = painter.views(item.capture, 2)
        fit = pictured_fit(context, item.capture, item.target.scan, item.target.keypoints, item.posed)
        tiles += [painter.outlined(fit, one), painter.overlaid(fit, other), painter.errors(fit, one)]
        error = item.measures.scan_to_model.mean
        shown = "no scan to compare" if error is None else f"scan to hand {error:.2f} mm"
        labels += [f"{item.capture.gesture} {one.camera_id}", other.camera_id, shown]
    columns = 3 * min(_CAPTURES_A_ROW, len(fitted))
    return with_legend(contact_sheet(tiles, labels, columns, tile_px=TILE_PX))
