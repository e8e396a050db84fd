"""A fit on disk, so that a killed one goes on exactly where it was."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from palm_model.resumed import below, fill_optimizer, optimizer_tensors, read_whole, write_whole
from schemas.ids import Sha256

_LEARNED = "learned."


@dataclass
class FitState:
    """What changes while a prior is fitted, beside what is learned and the optimiser."""

    step: int = 0
    """Steps done."""
    refused: int = 0
    """Steps not taken since their gradients were not finite."""


def save_fit(path: Path, digest: Sha256, learned: nn.Module, optimizer: torch.optim.Optimizer, state: FitState) -> None:
    """Replace the state; a kill leaves the old one or the new one.

    Args:
        digest: of what the fit follows from; a state of another one is not gone on from.
    """
    tensors = {_LEARNED + name: tensor for name, tensor in learned.state_dict().items()}
    tensors |= optimizer_tensors(optimizer)
    tensors |= {"step": torch.tensor(state.step), "refused": torch.tensor(state.refused)}
    write_whole(path, tensors, {"fit": digest})


def load_fit(path: Path, digest: Sha256, learned: nn.Module, optimizer: torch.optim.Optimizer) -> FitState:
    """Put all where it was; without a state, or with a damaged one or that of another fit, begin."""
    tensors = read_whole(path, {"fit": digest})
    if not tensors:
        return FitState()
    learned.load_state_dict(below(tensors, _LEARNED))
    fill_optimizer(optimizer, tensors)
    return FitState(int(tensors["step"]), int(tensors["refused"]))
