"""States of trainings on disk, for killed ones to go on from: tensors in a safetensors file, with a checksum of them all."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from palm_data.store.atomic import replacing

_CHECKSUM = "crc32"
_OPTIMIZER = "optimizer."


def write_whole(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, str] | None = None) -> None:
    """Replace a state; a kill leaves the old one or the new one.

    Args:
        told: of whose state it is, beside the tensors.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file(plain, partial, metadata={**(told or {}), _CHECKSUM: _checksum(plain)})


def read_whole(path: Path, told: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """The tensors of a state; none if there is no state, it is another's, or it holds not what was written."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as stored:
            found = stored.metadata() or {}
            if any(found.get(name) != value for name, value in (told or {}).items()):
                return {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError):
        return {}
    return tensors if found.get(_CHECKSUM) == _checksum(tensors) else {}


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers."""
    rows = optimizer.state_dict()["state"]
    return {f"{_OPTIMIZER}{row}.{name}": value for row, values in rows.items() for name, value in values.items()}


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Have it remember that again."""
    rows: dict[int, dict[str, Tensor]] = {}
    for name, tensor in below(tensors, _OPTIMIZER).items():
        row, value = name.split(".", 1)
        rows.setdefault(int(row), {})[value] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": rows})


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of all names and values: a file of the right length may still be damaged."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), value))
    return f"{value:08x}"
