"""The stage `detector`: the detector in force, tuned to the people who were annotated here, if that makes it better.

Some annotated people are held out. The tuned network is kept only if it errs less on them than the one it began as;
otherwise that one is in force as it is.
"""

import json
import shutil
from pathlib import Path

import torch

from palm_data.report.pictures import write_png
from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import StageReport, Workspace
from palm_model.detector.checkpoint import (
    CARD_FILE,
    CHECKPOINT_FILE,
    STAGE,
    checkpoint_sha256,
    load_checkpoint,
    start_checkpoint,
    write_checkpoint,
)
from palm_model.detector.dataset import Examples, Session, find_examples
from palm_model.detector.stage import states_folder, training_picture
from palm_model.detector.train import learning_settings, train_detector
from palm_model.detector.validation import validate
from schemas.annotation import DetectorCard
from schemas.settings import DetectorSettings, Settings

CODE_VERSION = "1"
_JUDGED_BY = "validation_error_median_px"


def tune_detector(key: str, workspace: Workspace, settings: Settings) -> StageReport:
    """Put a detector in force, unless the same one is there already.

    With fewer than two annotated people there is nobody to hold out, and the start is in force as it is. So is a
    detector that the settings name.

    Raises:
        BadInputError: if a file of annotations cannot be read.
        IntegrityError: if the start is not a detector.
        StoreError: if the calibration has not been imported.
    """
    start = start_checkpoint(workspace, settings)
    tuning = tuning_settings(settings.detector)
    examples = None
    if settings.detector.checkpoint is None and tuning.training.steps:
        examples = find_examples([Session(settings.raw, workspace)], settings)
    if examples is not None and len(examples.subjects) < 2:
        examples = None
    states = states_folder(workspace, STAGE)
    report = workspace.run_stage(
        STAGE,
        key,
        code_version=CODE_VERSION,
        settings=learning_settings(tuning),
        inputs={
            "start": checkpoint_sha256(start),
            "examples": "none" if examples is None else examples.digest,
            "people": "none" if examples is None else "+".join(examples.subjects),
        },
        work=lambda folder: _tune(folder, start, examples, tuning, states),
    )
    shutil.rmtree(states, ignore_errors=True)  # a finished training needs no state
    return report


def tuning_settings(settings: DetectorSettings) -> DetectorSettings:
    """The settings of the training that tunes: few steps, a low rate, a loss that is bounded from the first step."""
    training = settings.training.model_copy(
        update={"steps": settings.tuning_steps, "learning_rate": settings.tuning_rate, "robust_from": 0.0}
    )
    return settings.model_copy(update={"training": training})


def _tune(folder: Path, start: Path, examples: Examples | None, settings: DetectorSettings, states: Path) -> None:
    network, card, _ = load_checkpoint(start)
    if examples is None:
        _keep(folder, start, card, {"tuned": False, **card.figures})
        return
    before = validate(network, examples, settings, torch.device("cpu"))
    tuned = train_detector(examples, settings, states=states, start=start)
    after = tuned.card.figures
    better = after[_JUDGED_BY] < before[_JUDGED_BY]
    figures = {"tuned": better, **after, f"start_{_JUDGED_BY}": before[_JUDGED_BY]}
    if better:
        write_checkpoint(folder, tuned.network, tuned.card)
        write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    else:
        _keep(folder, start, card, figures)
    write_png(folder / "picture.png", training_picture(tuned.network if better else network, examples, settings))


def _keep(folder: Path, start: Path, card: DetectorCard, figures: dict[str, float | int]) -> None:
    """The start as it is, its card beside it."""
    write_bytes(folder / CHECKPOINT_FILE, start.read_bytes())
    write_bytes(folder / CARD_FILE, (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
