"""The stage `detector_training`: a detector from annotated images."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import nn

from palm_data.report.pictures import contact_sheet, write_png
from palm_data.report.skeletons import draw_skeleton
from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import StageReport, Workspace
from palm_model.detector.augment import centred
from palm_model.detector.checkpoint import KEY, TRAINING, checkpoint_sha256, write_checkpoint
from palm_model.detector.dataset import ROOM, Examples
from palm_model.detector.train import CODE_VERSION, Progress, learning_settings, train_detector
from palm_model.detector.validation import detect_crops
from schemas.settings import DetectorSettings, Settings

_TILE_PX = 256
_SHOWN = 21
_COLUMNS = 7


def make_detector(
    examples: Examples,
    workspace: Workspace,
    settings: Settings,
    *,
    start: Path | None = None,
    progress: Progress = lambda done, total, loss: None,
) -> StageReport:
    """Train a workspace's detector, unless the same one is there already.

    Training goes on where an earlier, killed one of the same data and settings left off.

    Args:
        examples: annotated images, of sessions (`load_examples`), of releases (`released_examples`) or of both.
        start: the detector to go on from; None: ImageNet's encoder and a fresh decoder.

    Raises:
        IntegrityError: if the start is not a detector.
    """
    states = states_folder(workspace, TRAINING)

    def work(folder: Path) -> None:
        trained = train_detector(examples, settings.detector, states=states, start=start, progress=progress)
        write_checkpoint(folder, trained.network, trained.card)
        write_bytes(folder / "figures.json", (json.dumps(trained.card.figures, indent=1) + "\n").encode())
        write_png(folder / "picture.png", training_picture(trained.network, examples, settings.detector))

    report = workspace.run_stage(
        TRAINING,
        KEY,
        code_version=CODE_VERSION,
        settings=learning_settings(settings.detector),
        inputs={
            "examples": examples.digest,
            "people": "+".join(examples.subjects),
            "start": "imagenet" if start is None else checkpoint_sha256(start),
        },
        work=work,
    )
    shutil.rmtree(states, ignore_errors=True)  # a finished training needs no state
    return report


def states_folder(workspace: Workspace, stage: str) -> Path:
    """Where trainings of a stage keep the states that they go on from."""
    return workspace.root / "training" / stage


def training_picture(
    network: nn.Module, examples: Examples, settings: DetectorSettings
) -> UInt8[ndarray, "height width 3"]:
    """Images held out of the training: what was found over what a person marked (thin)."""
    held = np.flatnonzero(examples.held_out(settings.training.held_out_people_percent))
    rows = held[:_SHOWN] if len(held) else np.arange(min(_SHOWN, len(examples)))
    scale = settings.input_px * ROOM / examples.crops.shape[1]
    pairs = [centred(examples.crops[row], examples.points_px[row], settings.input_px, scale) for row in rows]
    found, sure = detect_crops(network, np.stack([crop for crop, _ in pairs]), settings.sigma_px, torch.device("cpu"))
    enlarged = _TILE_PX / settings.input_px
    tiles, labels = [], []
    for place, row in enumerate(rows):
        size = settings.input_px * ROOM * _TILE_PX / (examples.crops.shape[1] * settings.input_px)
        crop, marked = centred(examples.crops[row], examples.points_px[row], _TILE_PX, size)
        labelled = np.where(examples.labelled[row][:, None], marked, np.nan)
        tiles.append(draw_skeleton(draw_skeleton(crop, found[place] * enlarged, sure[place]), labelled, thin=True))
        error = np.linalg.norm(found[place] * enlarged - marked, axis=1)[examples.labelled[row]] / enlarged
        labels.append(f"{'held out' if len(held) else 'seen'}: {np.median(error):.1f} px" if len(error) else "no label")
    return contact_sheet(tiles, labels, _COLUMNS, tile_px=_TILE_PX)
