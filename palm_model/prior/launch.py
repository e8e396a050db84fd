"""Training in several processes that torchrun has started, as its environment says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from schemas.errors import SettingsError


def chosen_device(name: str) -> torch.device:
    """A device by name; `auto`: the GPU, if there is one. Under torchrun each process has a GPU of its own.

    Raises:
        SettingsError: if the name is unknown, or there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"--device: expected auto, cpu or cuda, found {name}.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise SettingsError("--device: expected a GPU that torch can use, found none. Take --device cpu.")
    if name == "cpu" or not there:
        return torch.device("cpu")
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if place >= torch.cuda.device_count():
        raise SettingsError(
            f"--device: expected a GPU for each process, found {torch.cuda.device_count()}. Start fewer processes."
        )
    return torch.device("cuda", place)


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did: by gloo on CPUs, by NCCL on GPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
