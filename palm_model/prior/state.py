"""A prior's training on disk, so that a killed one goes on exactly where it was."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from palm_data.store.atomic import replacing

_COUNTS = ("step", "skipped", "refused", "best_step")
_CHECKSUM = "crc32"


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
        save_file(plain, partial, metadata={_CHECKSUM: _checksum(plain)})


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """Put network and optimiser where they were; a training without a state, or with a damaged one, begins.

    A state of another network counts as damaged: nothing is touched then.
    """
    tensors = _whole(path)
    weights = _below(tensors, "network.")
    if _shapes(weights) != _shapes(network.state_dict()):
        return TrainingState()
    network.load_state_dict(weights)
    rows: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(tensors, "optimizer.").items():
        row, value = name.split(".", 1)
        rows.setdefault(int(row), {})[value] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": rows})
    counts = {name: int(tensors[f"count.{name}"]) for name in _COUNTS}
    return TrainingState(**counts, best_psnr=float(tensors["best_psnr"]), best=_below(tensors, "best."))


def _whole(path: Path) -> dict[str, Tensor]:
    """The tensors of a state; none if there is no state, or what it holds is not what was written."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
            told = (stored.metadata() or {}).get(_CHECKSUM)
    except (SafetensorError, OSError):
        return {}
    return tensors if told == _checksum(tensors) else {}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of all names and values: a file of the right length may still be damaged."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
