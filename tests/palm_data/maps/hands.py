"""Hands as registration would leave them, without registering anything."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from palm_data.capture.index import load_index
from palm_data.hand.fits import CONVENTION_FILE, HAND_POSE, HANDS_FILE
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.store.tables import write_rows
from palm_data.store.workspace import Workspace
from palm_data.testing.tiny_labels import hand_row
from schemas.hand import HandConvention, HandRow


def centred_row(subject_id: str, frame: int, towards: np.ndarray, model: HandModel) -> HandRow:
    """Such a hand, about a point of the world."""
    middle = towards - model.v_template.mean(axis=0, dtype=np.float64)
    return hand_row(subject_id, frame, transl=tuple(middle.tolist()))


def write_hands(
    workspace: Workspace, subject_id: str, rows: Collection[HandRow], convention: HandConvention | None = None
) -> None:
    """The stage `hand_pose`, with these rows."""
    convention = convention or load_hand_model().convention()
    inputs = {"capture_index": workspace.require("capture_index", subject_id).digest}
    content = json.dumps([row.model_dump() for row in rows]) + convention.model_dump_json()

    def work(folder: Path) -> None:
        write_rows(folder / HANDS_FILE, HandRow, list(rows))
        (folder / CONVENTION_FILE).write_text(convention.model_dump_json() + "\n")

    workspace.run_stage(
        HAND_POSE, subject_id, code_version="test", inputs=inputs, work=work,
        settings={"rows": hashlib.sha256(content.encode()).hexdigest()},
    )  # fmt: skip


def frames(workspace: Workspace, subject_id: str) -> list[int]:
    """The frames of a subject's captures."""
    return [capture.frame for capture in load_index(workspace, subject_id).captures]
