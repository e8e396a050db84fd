"""Captures whose hand cannot be fitted: told before and during the fit, and listed; the others go on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import joints, load_keypoints_3d
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.errors import BadInputError, IntegrityError
from schemas.hand import JOINT_NAMES
from schemas.ids import SubjectId

UNFIT_FILE = "unfit.json"
MIN_JOINTS = 3
_NAMED = 3


def few_joints(index: CaptureIndex, workspace: Workspace) -> dict[int, str]:
    """Frame → reason, of the captures with too few triangulated joints to place a hand by.

    Raises:
        StoreError: if triangulation has not finished.
    """
    frames = [capture.frame for capture in index.captures]
    points, _ = joints(load_keypoints_3d(workspace, index.subject.subject_id), frames)
    counts = np.isfinite(points).all(axis=2).sum(axis=1)
    return {
        frame: f"joints: expected at least {MIN_JOINTS} of {len(JOINT_NAMES)} triangulated, found {count}"
        for frame, count in zip(frames, counts.tolist(), strict=True)
        if count < MIN_JOINTS
    }


def without(captures: Sequence[CaptureRecord], unfit: Mapping[int, str]) -> list[CaptureRecord]:
    """The captures that are not listed."""
    return [capture for capture in captures if capture.frame not in unfit]


def nobody_fits(index: CaptureIndex, unfit: Mapping[int, str]) -> BadInputError:
    """What to raise for a subject without a capture that can be fitted."""
    found = "; ".join(f"frame {frame}: {reason}" for frame, reason in sorted(unfit.items())[:_NAMED])
    more = f"; and {len(unfit) - _NAMED} more" if len(unfit) > _NAMED else ""
    return BadInputError(
        index.subject.subject_id, field="captures", expected="at least one whose hand can be fitted",
        found=(found + more) or "no capture", hint="Look at the pictures of keypoints_2d and keypoints_3d.",
    )  # fmt: skip


def write_unfit(folder: Path, unfit: Mapping[int, str]) -> None:
    """Write `unfit.json`: frame → reason, by frame; an empty object if all could be fitted."""
    listed = {str(frame): unfit[frame] for frame in sorted(unfit)}
    write_bytes(folder / UNFIT_FILE, (json.dumps(listed, indent=1) + "\n").encode())


def load_unfit(workspace: Workspace, stage: str, subject_id: SubjectId) -> dict[int, str]:
    """Frame → reason, of the captures that a registration stage left out.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if the list is damaged.
    """
    path = workspace.output(stage, subject_id) / UNFIT_FILE
    try:
        return {int(frame): str(reason) for frame, reason in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"{path}: expected a list of captures, found {error}. Materialize {stage} again."
        ) from error
