"""A training's state on disk, so that a killed training goes on exactly where it was."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from palm_data.store.atomic import replacing

_STEP = "step"


def save_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Replace the state; a kill leaves the old one or the new one."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for row, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{row}.{name}": value for name, value in values.items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file({**plain, _STEP: torch.tensor(step)}, partial)


def load_state(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put network and optimiser where they were, and return the number of steps done; 0 if there is no state.

    A state that cannot be read counts as none: its training begins again.
    """
    try:
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return 0
    step = int(tensors.pop(_STEP))
    network.load_state_dict(_below(tensors, "network."))
    rows: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(tensors, "optimizer.").items():
        row, value = name.split(".", 1)
        rows.setdefault(int(row), {})[value] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": rows})
    return step


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
