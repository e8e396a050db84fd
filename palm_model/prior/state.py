"""A prior's training on disk, so that a killed one goes on exactly where it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from palm_model.resumed import below, fill_optimizer, optimizer_tensors, read_whole, write_whole

_COUNTS = ("step", "skipped", "refused", "best_step")


@dataclass
class TrainingState:
    """What changes while a prior is trained, beside network and optimiser."""

    step: int = 0
    """Steps done."""
    skipped: int = 0
    """Views that could not be read."""
    refused: int = 0
    """Steps not taken since their loss or gradients were not finite."""
    best_step: int = 0
    """Steps done when the weights that are kept were best."""
    best_psnr: float = -float("inf")
    """Of those, on the views set aside, dB."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Those weights; none before the first validation."""


def save_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Replace the state; a kill leaves the old one or the new one."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    tensors |= optimizer_tensors(optimizer)
    tensors |= {f"count.{name}": torch.tensor(getattr(state, name)) for name in _COUNTS}
    tensors["best_psnr"] = torch.tensor(state.best_psnr, dtype=torch.float64)
    write_whole(path, tensors)


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Put network and optimiser where they were; a training without a state, or with a damaged one, begins.

    A state of another network counts as damaged: nothing is touched then.
    """
    tensors = read_whole(path)
    weights = below(tensors, "network.")
    if _shapes(weights) != _shapes(network.state_dict()):
        return TrainingState()
    network.load_state_dict(weights)
    fill_optimizer(optimizer, tensors)
    counts = {name: int(tensors[f"count.{name}"]) for name in _COUNTS}
    return TrainingState(**counts, best_psnr=float(tensors["best_psnr"]), best=below(tensors, "best."))


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
