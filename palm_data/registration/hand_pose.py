"""The stage `hand_pose` (stage two): the pose of every capture, with the subject's shape frozen.

hands.parquet       a row for each capture (`schemas.hand.HandRow`)
convention.json     how its numbers are to be read (`schemas.hand.HandConvention`)
figures.json, picture.png
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import undistort_image
from palm_data.capture.index import load_index
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.maps.captured import read_view_image
from palm_data.maps.zbuffer import rasterize
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.hand_shape import STAGE as HAND_SHAPE
from palm_data.registration.hand_shape import load_betas
from palm_data.registration.measure import FitMeasures, measure
from palm_data.registration.measured import frame_targets, registration_inputs, require_consent, view_cameras
from palm_data.registration.parameters import HandFit
from palm_data.registration.posed import Posed
from palm_data.registration.stages import fit_poses
from palm_data.report.pictures import contact_sheet, draw_contours, write_png
from palm_data.store.atomic import write_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex
from schemas.errors import BadInputError
from schemas.hand import HandRow
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "hand_pose"
HANDS_FILE = "hands.parquet"
CODE_VERSION = "1"
_DIGITS = 4


def make_hand_pose(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Fit the pose of each of the subject's captures, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a scan is not the one that was ingested.
        GeometryError: if a capture has fewer than three joints.
        StoreError: if an earlier stage has not finished.
    """
    index = load_index(workspace, subject_id)
    require_consent(index)
    if not index.captures:
        raise BadInputError(subject_id, field="captures", expected="at least one usable capture", found=0)
    model = load_hand_model()
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.registration.model_dump(mode="json"),
        inputs={**registration_inputs(index, workspace, HAND_SHAPE), "hand_model": model.sha256},
        work=lambda folder: _fit(folder, index, model, workspace, settings),
    )


def _fit(folder: Path, index: CaptureIndex, model: HandModel, workspace: Workspace, settings: Settings) -> None:
    subject_id = index.subject.subject_id
    targets = frame_targets(index, index.captures, workspace, settings)
    fit = fit_poses(model, targets, load_betas(workspace, subject_id), settings.registration)
    context = HandShapeContext(model, settings.registration)
    posed = [context.pose(frame, fit.betas) for frame in fit.frames]
    measures = [measure(context, target, hand) for target, hand in zip(targets, posed, strict=True)]
    write_rows(folder / HANDS_FILE, HandRow, _rows(index, fit, measures))
    write_bytes(folder / "convention.json", (model.convention().model_dump_json() + "\n").encode())
    write_bytes(folder / "figures.json", (json.dumps(_figures(measures), indent=1) + "\n").encode())
    write_png(folder / "picture.png", _picture(index, posed, model, workspace, settings))


def _rows(index: CaptureIndex, fit: HandFit, measures: Sequence[FitMeasures]) -> list[HandRow]:
    return [
        HandRow(
            subject_id=index.subject.subject_id,
            frame=capture.frame,
            global_orient=tuple(fit.global_orient[row].tolist()),
            hand_pose=tuple(fit.hand_pose[row].tolist()),
            betas=tuple(fit.betas.tolist()),
            transl=tuple(fit.transl[row].tolist()),
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
        for row, (capture, found) in enumerate(zip(index.captures, measures, strict=True))
    ]


def _figures(measures: Sequence[FitMeasures]) -> dict[str, float | int]:
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
    return {
        "captures": len(measures),
        **{name: round(float(np.mean(values)), _DIGITS) for name, values in known.items() if values},
    }


def _picture(
    index: CaptureIndex, posed: Sequence[Posed], model: HandModel, workspace: Workspace, settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """Each capture as two cameras saw it, with the fitted hand's outline."""
    stored = {camera.camera_id: camera for camera in load_cameras(workspace, index.session.calibration_id)}
    tiles, labels = [], []
    for capture, hand in zip(index.captures, posed, strict=True):
        seen = [camera for camera in view_cameras(index, workspace) if capture.image(camera.camera_id) is not None]
        for camera in (seen[0], seen[len(seen) // 2]):
            record = capture.image(camera.camera_id)
            assert record is not None  # noqa: S101 - chosen so
            raw = stored[camera.camera_id]
            image = undistort_image(read_view_image(record, raw, settings), raw)
            in_camera = hand.vertices @ np.asarray(camera.rotation).T + np.asarray(camera.translation)
            drawn = rasterize(in_camera, model.faces, camera.intrinsics(), camera.width, camera.height)
            mask = np.zeros((camera.height, camera.width), dtype=np.uint8)
            mask[drawn.roi.slices] = drawn.face_id >= 0
            tiles.append(draw_contours(image, mask))
            labels.append(f"{capture.gesture} {camera.camera_id}")
    return contact_sheet(tiles, labels, columns=4)
