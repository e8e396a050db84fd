"""Training: a function of its examples and settings, that a kill does not make start again.

Whatever is random in a step follows from the seed and the step's number alone, so a training that goes on from its
last state ends with the same weights as one that was never stopped (on one thread, or on as many as before).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor, nn

from palm_model.detector.augment import augmented
from palm_model.detector.checkpoint import checkpoint_sha256, load_checkpoint
from palm_model.detector.dataset import ROOM, Examples
from palm_model.detector.heatmaps import encode
from palm_model.detector.loss import heatmap_divergence, robust_mean
from palm_model.detector.network import as_input, build_network, start_from_imagenet
from palm_model.detector.state import load_state, save_state
from palm_model.detector.validation import validate
from schemas.annotation import DetectorCard
from schemas.ids import Sha256
from schemas.settings import DetectorSettings

CODE_VERSION = "1"
_WARM_UP = 0.05
_LAST_RATE = 0.01
_MAX_NORM = 5.0

Progress = Callable[[int, int, float], None]
"""Told the steps done, the steps to do and the loss."""


@dataclass(frozen=True)
class Trained:
    """A detector, and what its card says."""

    network: nn.Module
    card: DetectorCard


def train_detector(
    examples: Examples,
    settings: DetectorSettings,
    *,
    states: Path,
    start: Path | None = None,
    progress: Progress = lambda done, total, loss: None,
) -> Trained:
    """Train a detector on the examples that are not held out, and measure it on those that are.

    Args:
        states: folder for the state that a killed training goes on from.
        start: the detector to go on from; None: ImageNet's encoder and a fresh decoder.

    Raises:
        IntegrityError: if the start is not a detector.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begun_as = "imagenet" if start is None else checkpoint_sha256(start)
    network, earlier = _first_network(settings, start)
    network.to(device)
    fingerprint = training_digest(examples, settings, begun_as)
    optimizer = _optimizer(network, settings)
    state = states / f"{fingerprint}.safetensors"
    done = load_state(state, network, optimizer)
    training = settings.training
    chosen = np.flatnonzero(~examples.held_out(training.held_out_people_percent))
    network.train()
    for step in range(done, training.steps):
        batch = [tensor.to(device) for tensor in _batch(examples, chosen, settings, step)]
        progress(step + 1, training.steps, _step(network, optimizer, batch, settings, step))
        if (step + 1) % training.save_every == 0 or step + 1 == training.steps:
            save_state(state, network, optimizer, step + 1)
    network.eval()
    figures = {
        "images": len(examples),
        "people": len(examples.subjects),
        "annotations_left_out": examples.left_out,
        "steps": training.steps,
        **validate(network, examples, settings, device),
    }
    card = DetectorCard(
        name="hand joints, 21, one crop",
        code_version=CODE_VERSION,
        start=begun_as,
        settings=learning_settings(settings),
        data_digest=examples.digest,
        subjects=tuple(sorted({*examples.learned_from(training.held_out_people_percent), *earlier})),
        figures=figures,
    )
    return Trained(network=network.cpu(), card=card)


def learning_settings(settings: DetectorSettings) -> dict[str, object]:
    """The settings that weights depend on: not where a detector lies, nor which cameras it is used on."""
    return settings.model_dump(
        mode="json",
        exclude={
            "checkpoint": True,
            "mono": True,
            "tuning_steps": True,
            "tuning_rate": True,
            "training": {"save_every"},
        },
    )


def training_digest(examples: Examples, settings: DetectorSettings, begun_as: str) -> Sha256:
    """What a training's result follows from, as one digest."""
    said = [CODE_VERSION, begun_as, examples.digest, learning_settings(settings)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _first_network(settings: DetectorSettings, start: Path | None) -> tuple[nn.Module, tuple[Sha256, ...]]:
    """The network before its first step, and whom it has seen already."""
    if start is not None:
        network, card, _ = load_checkpoint(start)
        return network, card.subjects
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        network = build_network()
    start_from_imagenet(network)
    return network, ()


def _optimizer(network: nn.Module, settings: DetectorSettings) -> torch.optim.Optimizer:
    """AdamW; the encoder, which has learned before, at half the rate."""
    encoder = [value for name, value in network.named_parameters() if name.startswith("encoder.")]
    others = [value for name, value in network.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": encoder, "share": 0.5}, {"params": others, "share": 1.0}]
    return torch.optim.AdamW(groups, lr=1.0, weight_decay=settings.training.weight_decay)


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: list[Tensor],
    settings: DetectorSettings,
    step: int,
) -> float:
    """One step of the optimiser; returns its loss."""
    crops, points, labelled = batch
    training = settings.training
    for group in optimizer.param_groups:
        group["lr"] = training.learning_rate * group["share"] * _rate(step, training.steps)
    target = encode(points, settings.input_px, settings.sigma_px)
    divergence = heatmap_divergence(network(crops), target)
    bounded = step >= training.robust_from * training.steps
    loss = robust_mean(divergence, labelled, training.robust_scale if bounded else None)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_NORM)
    optimizer.step()
    return float(loss.detach())


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    warm = max(_WARM_UP * steps, 1.0)
    if step < warm:
        return (step + 1.0) / (warm + 1.0)
    share = (step - warm) / max(steps - warm, 1.0)
    return _LAST_RATE + (1.0 - _LAST_RATE) * 0.5 * (1.0 + float(np.cos(np.pi * share)))


def _batch(
    examples: Examples, chosen: Int[ndarray, " n"], settings: DetectorSettings, step: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The step's crops, points and which of them count."""
    training, size = settings.training, settings.input_px
    scale = size * ROOM / examples.crops.shape[1]
    crops, points = [], []
    rows = _rows(chosen, training.batch, training.seed, step)
    for place, row in enumerate(rows):
        rng = np.random.default_rng([training.seed, step, place])
        crop, moved = augmented(examples.crops[row], examples.points_px[row], size, scale, rng)
        crops.append(crop)
        points.append(moved)
    moved_points = np.stack(points)
    inside = ((moved_points >= 0) & (moved_points <= size)).all(axis=2)
    labelled = torch.from_numpy(examples.labelled[rows] & inside)
    return as_input(np.stack(crops)), torch.from_numpy(moved_points.astype(np.float32)), labelled


def _rows(chosen: Int[ndarray, " n"], batch: int, seed: int, step: int) -> Int[ndarray, " batch"]:
    """The step's examples: every example once, in a new order, before any comes again."""
    places = step * batch + np.arange(batch)
    orders = {int(epoch): np.random.default_rng([seed, 1, int(epoch)]) for epoch in np.unique(places // len(chosen))}
    shuffled = {epoch: rng.permutation(chosen) for epoch, rng in orders.items()}
    return np.array([shuffled[int(place // len(chosen))][place % len(chosen)] for place in places])
