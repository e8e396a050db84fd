"""A prior's training on disk, so that a killed one goes on exactly where it was."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from palm_data.store.atomic import replacing

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
    for row, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{row}.{name}": value for name, value in values.items()}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    plain |= {f"count.{name}": torch.tensor(getattr(state, name)) for name in _COUNTS}
    plain["best_psnr"] = torch.tensor(state.best_psnr, dtype=torch.float64)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(plain, partial)


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Put network and optimiser where they were; a training without a state, or with a damaged one, begins."""
    try:
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return TrainingState()
    network.load_state_dict(_below(tensors, "network."))
    rows: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(tensors, "optimizer.").items():
        row, value = name.split(".", 1)
        rows.setdefault(int(row), {})[value] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": rows})
    counts = {name: int(tensors[f"count.{name}"]) for name in _COUNTS}
    return TrainingState(**counts, best_psnr=float(tensors["best_psnr"]), best=_below(tensors, "best."))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
