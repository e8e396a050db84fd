"""How good a detector is on annotated images that it never saw. Labels are people's: some of them are wrong."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import nn

from palm_model.detector.augment import centred
from palm_model.detector.dataset import ROOM, Examples
from palm_model.detector.heatmaps import decode
from palm_model.detector.network import as_input
from schemas.settings import DetectorSettings

_NEAR = 0.05
_BATCH = 8


def detect_crops(
    network: nn.Module, crops: UInt8[ndarray, "n size size 3"], sigma_px: float, device: torch.device
) -> tuple[Float[ndarray, "n 21 2"], Float[ndarray, "n 21"]]:
    """Places (px of the crop, integers at pixel corners) and confidences of the joints in each crop."""
    points, confidence = [], []
    with torch.inference_mode():
        for first in range(0, len(crops), _BATCH):
            logits = network(as_input(crops[first : first + _BATCH]).to(device)).float()
            found, sure = decode(logits, sigma_px)
            points.append(found.double().cpu().numpy())
            confidence.append(sure.double().cpu().numpy())
    return np.concatenate(points), np.concatenate(confidence)


def validate(
    network: nn.Module, examples: Examples, settings: DetectorSettings, device: torch.device
) -> dict[str, float | int]:
    """Errors over the held-out images, as shares of the crop's side; nothing but the count if none is held out."""
    rows = np.flatnonzero(examples.held_out(settings.training.held_out_people_percent))
    figures: dict[str, float | int] = {"validation_images": len(rows)}
    if not len(rows):
        return figures
    error, confidence = joint_errors(network, examples, rows, settings, device)
    labelled = examples.labelled[rows]
    error = error[labelled]
    return {
        **figures,
        "validation_joints": int(labelled.sum()),
        "validation_error_median_px": round(float(np.median(error)), 3),
        "validation_error_p90_px": round(float(np.percentile(error, 90)), 3),
        "validation_within_5_percent": round(float((error <= _NEAR * settings.input_px).mean()), 4),
        "validation_confidence_mean": round(float(confidence[labelled].mean()), 4),
    }


def joint_errors(
    network: nn.Module, examples: Examples, rows: Int[ndarray, " n"], settings: DetectorSettings, device: torch.device
) -> tuple[Float[ndarray, "n 21"], Float[ndarray, "n 21"]]:
    """Distances to the labels (px of the network's input; of unlabelled joints, any number) and confidences."""
    scale = settings.input_px * ROOM / examples.crops.shape[1]
    pairs = [centred(examples.crops[row], examples.points_px[row], settings.input_px, scale) for row in rows]
    points_px, confidence = detect_crops(network, np.stack([crop for crop, _ in pairs]), settings.sigma_px, device)
    return np.linalg.norm(points_px - np.stack([points for _, points in pairs]), axis=2), confidence
