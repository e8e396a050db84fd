"""The stage `hand_shape` (stage one): a subject's shape, fitted with the poses of their simple gestures."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.capture.index import load_index
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.registration.measured import frame_targets, registration_inputs, require_consent
from palm_data.registration.stages import fit_shape
from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.errors import BadInputError
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "hand_shape"
SHAPE_FILE = "shape.json"
CODE_VERSION = "1"


def make_hand_shape(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Fit the subject's shape, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a scan is not the one that was ingested.
        GeometryError: if a capture has fewer than three joints.
        StoreError: if an earlier stage has not finished.
    """
    index = load_index(workspace, subject_id)
    require_consent(index)
    model = load_hand_model()
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.registration.model_dump(mode="json"),
        inputs={**registration_inputs(index, workspace), "hand_model": model.sha256},
        work=lambda folder: _fit(folder, index, model, workspace, settings),
    )


def simple_captures(index: CaptureIndex) -> list[CaptureRecord]:
    """The captures of simple gestures; all captures of somebody who has none.

    Raises:
        BadInputError: if there is no capture at all.
    """
    simple = {gesture.gesture for gesture in index.gestures if gesture.simple}
    chosen = [capture for capture in index.captures if capture.gesture in simple] or list(index.captures)
    if not chosen:
        raise BadInputError(index.subject.subject_id, field="captures", expected="at least one usable capture", found=0)
    return chosen


def load_betas(workspace: Workspace, subject_id: SubjectId) -> Float[ndarray, "10"]:
    """The subject's shape.

    Raises:
        StoreError: if the stage has not finished for this subject.
    """
    return np.array(
        json.loads((workspace.output(STAGE, subject_id) / SHAPE_FILE).read_bytes())["betas"], dtype=np.float64
    )


def _fit(folder: Path, index: CaptureIndex, model: HandModel, workspace: Workspace, settings: Settings) -> None:
    captures = simple_captures(index)
    fit = fit_shape(model, frame_targets(index, captures, workspace, settings), settings.registration)
    shape = {
        "betas": fit.betas.tolist(),
        "frames": [capture.frame for capture in captures],
        "model_sha256": model.sha256,
    }
    write_bytes(folder / SHAPE_FILE, (json.dumps(shape) + "\n").encode())
    figures = {
        "captures": len(captures),
        "objective_mm2_mean": round(float(fit.objective.mean()), 4),
        "largest_beta": round(float(np.abs(fit.betas).max()), 4),
    }
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
