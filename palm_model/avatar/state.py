"""A fit on disk, so that a killed one goes on exactly where it was."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from palm_data.store.atomic import replacing
from schemas.ids import Sha256

_LEARNED, _OPTIMIZER = "learned.", "optimizer."


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
    for row, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{row}.{name}": value for name, value in values.items()}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    plain |= {"step": torch.tensor(state.step), "refused": torch.tensor(state.refused)}
    with replacing(path) as partial:
        save_file(plain, partial, metadata={"fit": digest})


def load_fit(path: Path, digest: Sha256, learned: nn.Module, optimizer: torch.optim.Optimizer) -> FitState:
    """Put all where it was; without a state, or with a damaged one or that of another fit, begin."""
    try:
        with safe_open(path, framework="pt") as stream:
            if (stream.metadata() or {}).get("fit") != digest:
                return FitState()
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except (FileNotFoundError, SafetensorError):
        return FitState()
    own = {name.removeprefix(_LEARNED): one for name, one in tensors.items() if name.startswith(_LEARNED)}
    learned.load_state_dict(own)
    rows: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            row, value = name.removeprefix(_OPTIMIZER).split(".", 1)
            rows.setdefault(int(row), {})[value] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": rows})
    return FitState(int(tensors["step"]), int(tensors["refused"]))
