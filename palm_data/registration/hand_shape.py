"""The stage `hand_shape` (stage one): a subject's shape, fitted with the poses of their simple gestures.

shape.json          betas, the frames they were fitted to, digest of the hand model
unfit.json          captures that were tried and could not be fitted: frame → reason
figures.json
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.capture.index import granted_index
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.measured import frame_targets, registration_inputs
from palm_data.registration.parameters import HandFit
from palm_data.registration.stages import check_start, fit_shape
from palm_data.registration.targets import FrameTarget
from palm_data.registration.unfit import few_joints, nobody_fits, without, write_unfit
from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.errors import GeometryError, StoreError
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "hand_shape"
SHAPE_FILE = "shape.json"
CODE_VERSION = "2"


def make_hand_shape(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Fit the subject's shape, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if none of the subject's captures can be fitted, a scan is not the one that was ingested, or the
            hand model's file is not one.
        StoreError: if an earlier stage has not finished.
    """
    index = granted_index(workspace, subject_id)
    model = load_hand_model(settings.hand_model)
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.registration.model_dump(mode="json"),
        inputs={**registration_inputs(index, workspace), "hand_model": model.sha256},
        work=lambda folder: _fit(folder, index, model, workspace, settings),
    )


def simple_captures(index: CaptureIndex) -> list[CaptureRecord]:
    """The captures of simple gestures."""
    simple = {gesture.gesture for gesture in index.gestures if gesture.simple}
    return [capture for capture in index.captures if capture.gesture in simple]


def load_betas(workspace: Workspace, subject_id: SubjectId, model: HandModel) -> Float[ndarray, "10"]:
    """The subject's shape.

    Raises:
        StoreError: if the stage has not finished for this subject, or was made with another hand model.
    """
    path = workspace.output(STAGE, subject_id) / SHAPE_FILE
    shape = json.loads(path.read_bytes())
    if shape["model_sha256"] != model.sha256:
        raise StoreError(
            f"{path}: model_sha256: expected {model.sha256} (hand model {model.model_id}), found {shape['model_sha256']}. "
            "Materialize hand_shape again: shapes of one hand model mean nothing in another."
        )
    return np.array(shape["betas"], dtype=np.float64)


def _fit(folder: Path, index: CaptureIndex, model: HandModel, workspace: Workspace, settings: Settings) -> None:
    captures, fit, unfit = _fit_what_can_be(index, model, workspace, settings)
    shape = {
        "betas": fit.betas.tolist(),
        "frames": [capture.frame for capture in captures],
        "model_sha256": model.sha256,
    }
    write_bytes(folder / SHAPE_FILE, (json.dumps(shape) + "\n").encode())
    write_unfit(folder, unfit)
    figures = {
        "captures": len(captures),
        "captures_unfit": len(unfit),
        "objective_mm2_mean": round(float(fit.objective.mean()), 4),
        "largest_beta": round(float(np.abs(fit.betas).max()), 4),
    }
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())


def _fit_what_can_be(
    index: CaptureIndex, model: HandModel, workspace: Workspace, settings: Settings
) -> tuple[list[CaptureRecord], HandFit, dict[int, str]]:
    """The simple gestures that can be fitted, else whatever can be; and what could not, with reasons."""
    unfit = few_joints(index, workspace)
    for wanted in (simple_captures(index), index.captures):
        captures = without(wanted, unfit)
        targets = frame_targets(index, captures, workspace, settings)
        while captures:
            try:
                return captures, fit_shape(model, targets, settings.registration), unfit
            except GeometryError:
                unfit |= _not_fitting(model, captures, targets, settings)
                fitting = [pair for pair in zip(captures, targets, strict=True) if pair[0].frame not in unfit]
                if len(fitting) == len(captures):
                    raise
                captures, targets = [capture for capture, _ in fitting], [target for _, target in fitting]
    raise nobody_fits(index, unfit)


def _not_fitting(
    model: HandModel, captures: Sequence[CaptureRecord], targets: Sequence[FrameTarget], settings: Settings
) -> dict[int, str]:
    """Frame → reason, of the captures that cannot be fitted even alone."""
    context, found = HandShapeContext(model, settings.registration), {}
    for capture, target in zip(captures, targets, strict=True):
        try:
            check_start(context, target)
        except GeometryError as error:
            found[capture.frame] = str(error)
    return found
