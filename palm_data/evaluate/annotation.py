"""Figures of a workspace's labels against what is true of the simulated people they were made of.

Recomputed from the stored tables, the scans and the truth; nothing is taken over from the stages' own figures. A joint
that is missing counts as a miss, a subject without labels as missing all joints. People whom the detector saw in
training are not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.capture.index import load_index, subject_digest
from palm_data.hand.fits import HAND_POSE, load_convention, load_hands
from palm_data.hand.model import load_hand_model
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.measure import FitMeasures, measure
from palm_data.registration.measured import frame_targets
from palm_data.registration.parameters import frame_parameters
from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.faults.record import read_faults
from palm_data.simulate.truth import read_arrays
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_3D, joints, load_keypoints_3d
from schemas.capture import CaptureIndex, CaptureRecord, Consent
from schemas.errors import BadInputError, StoreError
from schemas.hand import JOINT_NAMES
from schemas.ids import Sha256, SubjectId
from schemas.settings import Settings

_MM = 1000.0
_RECALL_MM = 10.0
Figures = dict[str, float | int | str]


@dataclass(frozen=True)
class _Session:
    """Where everything is."""

    workspace: Workspace
    truth: Path
    settings: Settings
    context: HandShapeContext


@dataclass
class _Collected:
    """Everything measured, of all subjects."""

    joint_error_mm: list[Float[ndarray, "captures 21"]] = field(default_factory=list)
    """Triangulated against true joints; NaN = missing."""
    hands: "list[_Hand]" = field(default_factory=list)
    captures: int = 0
    unlabelled: int = 0


@dataclass(frozen=True)
class _Hand:
    """One fitted hand against its capture and the truth."""

    name: str
    measures: FitMeasures
    to_keypoints_mm: Float[ndarray, "21"]
    """Fitted against triangulated joints; NaN = missing."""
    to_true_joints_mm: Float[ndarray, "21"]
    to_truth_mm: Float[ndarray, " vertices"]
    """Vertices away from the wrist rim to the complete, clean surface."""


def evaluate_annotation(
    workspace: Workspace, truth: Path, settings: Settings, *, seen: frozenset[Sha256] = frozenset()
) -> Figures:
    """The labels' figures, flat; keys end in their unit.

    People who were added with faults are left out, so that the figures are those of the session without them:
    `palm_data.evaluate.faults` judges these.

    Args:
        truth: the truth folder of the simulated session that the workspace was made of.
        seen: digests of people (`subject_digest`) who are not to be scored.

    Raises:
        BadInputError: if nobody is left to score, a capture has no truth, or a scan is not the one that was ingested.
        StoreError: if the hands were fitted with another hand model than the settings name.
    """
    planted = read_faults(truth)
    faulty = {person.subject_id for person in planted.people} if planted else set()
    indexes = [index for index in _granted(workspace) if index.subject.subject_id not in faulty]
    refused = tuple(name for name in refused_subjects(workspace, seen) if name not in faulty)
    scored = [index for index in indexes if index.subject.subject_id not in refused]
    if not scored:
        found = f"{len(indexes)} with consent, of whom {len(refused)} were seen in training"
        raise BadInputError(
            workspace.root, field="subjects", expected="somebody whom the detector has not seen in training", found=found,
            hint="Score another session, or ingest people that were never annotated.",
        )  # fmt: skip
    context = HandShapeContext(load_hand_model(settings.hand_model), settings.registration)
    session, collected = _Session(workspace, truth, settings, context), _Collected()
    for index in scored:
        _collect(collected, index, session)
    return {
        "subjects": len(scored),
        "subjects_refused": len(refused),
        **({"subjects_faulty": len(faulty)} if faulty else {}),
        "subjects_unlabelled": collected.unlabelled,
        "captures": collected.captures,
        "captures_fitted": len(collected.hands),
        **_joint_figures(np.concatenate(collected.joint_error_mm)),
        **(_hand_figures(collected.hands) if collected.hands else {}),
    }


def refused_subjects(workspace: Workspace, seen: frozenset[Sha256]) -> tuple[SubjectId, ...]:
    """The workspace's people who are among those seen in training."""
    return tuple(index.subject.subject_id for index in _granted(workspace) if subject_digest(index) in seen)


def _granted(workspace: Workspace) -> list[CaptureIndex]:
    """Everybody who may be worked on and has captures, by id."""
    indexes = [load_index(workspace, subject_id) for subject_id in workspace.keys("capture_index")]
    return [index for index in indexes if index.captures and index.subject.consent is Consent.GRANTED]


def _collect(collected: _Collected, index: CaptureIndex, session: _Session) -> None:
    workspace, truth = session.workspace, session.truth
    subject_id = index.subject.subject_id
    true = np.stack([_truth(truth, capture)["joints"] for capture in index.captures])
    frames = [capture.frame for capture in index.captures]
    labelled = workspace.record(KEYPOINTS_3D, subject_id) is not None
    points, _ = joints(load_keypoints_3d(workspace, subject_id) if labelled else (), frames)
    collected.captures += len(frames)
    collected.unlabelled += not labelled
    collected.joint_error_mm.append(np.linalg.norm(points - true, axis=2) * _MM)
    if workspace.record(HAND_POSE, subject_id) is not None:
        collected.hands += _hands(index, session)


def _truth(truth: Path, capture: CaptureRecord) -> dict[str, ndarray]:
    path = truth / capture.subject_id / capture.gesture / "surface.npz"
    try:
        return read_arrays(path)
    except (OSError, ValueError) as error:
        raise BadInputError(
            path, field="file", expected="the true surface of a capture in the workspace", found=type(error).__name__,
            hint="Name the truth folder of the session that the workspace was made of.",
        ) from None  # fmt: skip


def _hands(index: CaptureIndex, session: _Session) -> list[_Hand]:
    """The subject's fitted hands, measured."""
    subject_id, context, workspace = index.subject.subject_id, session.context, session.workspace
    convention = load_convention(workspace, subject_id)
    if convention.model_sha256 != context.model.sha256:
        raise StoreError(
            f"hand_pose of {subject_id}: model_sha256: expected {context.model.sha256} ({context.model.model_id}), found "
            f"{convention.model_sha256} ({convention.model_id}). Name the hand model it was fitted with: PALM_HAND_MODEL=FILE"
        )
    rows = {row.frame: row for row in load_hands(workspace, subject_id)}
    captures = [capture for capture in index.captures if capture.frame in rows]
    found = []
    for capture in captures:
        (target,) = frame_targets(index, [capture], workspace, session.settings)
        row, true = rows[capture.frame], _truth(session.truth, capture)
        posed = context.pose(frame_parameters(row), np.array(row.betas))
        near = context.rim.near(posed.vertices, context.settings.rim_margin_mm / _MM)
        clean = SurfaceQuery(true["vertices"], true["faces"])
        found.append(
            _Hand(
                name=f"{subject_id}/{capture.gesture}",
                measures=measure(context, target, posed),
                to_keypoints_mm=np.linalg.norm(posed.joints - target.keypoints, axis=1) * _MM,
                to_true_joints_mm=np.linalg.norm(posed.joints - true["joints"], axis=1) * _MM,
                to_truth_mm=clean.distance(posed.vertices[~near]) * _MM,
            )
        )
    return found


def _joint_figures(error_mm: Float[ndarray, "captures 21"]) -> Figures:
    """Of triangulated joints; a missing one is a miss and has no error."""
    found = np.isfinite(error_mm)
    hit = np.where(found, error_mm, np.inf) <= _RECALL_MM
    figures: Figures = {"recall_10mm": float(hit.mean()), "coverage": float(found.mean())}
    if found.any():
        known = error_mm[found]
        figures |= {
            "joint_error_mm_mean": float(known.mean()),
            "joint_error_mm_median": float(np.median(known)),
            "joint_error_mm_p95": float(np.percentile(known, 95)),
        }
    return figures | {
        f"recall_10mm_{name}": float(share) for name, share in zip(JOINT_NAMES, hit.mean(axis=0), strict=True)
    }


def _hand_figures(hands: Sequence[_Hand]) -> Figures:
    """Of fitted hands. Joints and vertices are pooled, borders and silhouettes are means over captures and views."""
    to_keypoints = np.concatenate([hand.to_keypoints_mm for hand in hands])
    to_scan = np.concatenate([hand.measures.vertex_error_mm for hand in hands])
    to_truth = np.concatenate([hand.to_truth_mm for hand in hands])
    back = [hand.measures.scan_to_model.mean for hand in hands if hand.measures.scan_to_model.mean is not None]
    ious = [iou for hand in hands for iou in hand.measures.silhouette_iou]
    worst = max(hands, key=lambda hand: float(hand.to_truth_mm.mean()))
    figures: dict[str, float | None] = {
        "fit_vs_keypoints_mm_mean": _mean(to_keypoints),
        "fit_joint_error_mm_mean": _mean(np.concatenate([hand.to_true_joints_mm for hand in hands])),
        "model_to_scan_mm_mean": _mean(to_scan),
        "border_share_mean": _mean(np.array([hand.measures.border_share for hand in hands])),
        "scan_to_model_mm_mean": _mean(np.array(back)),
        "model_to_truth_mm_mean": _mean(to_truth),
        "model_to_truth_mm_p95": float(np.percentile(to_truth, 95)),
        "silhouette_iou_mean": _mean(np.array(ious)),
        "silhouette_iou_min": min(ious, default=None),
        "worst_capture_model_to_truth_mm": float(worst.to_truth_mm.mean()),
    }
    known: Figures = {name: value for name, value in figures.items() if value is not None}
    return known | {"worst_capture": worst.name}


def _mean(values: Float[ndarray, " values"]) -> float | None:
    """The mean of those that are there; None if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
