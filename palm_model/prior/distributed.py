"""Several processes that train one prior, each with its share of every step."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def summed(self, values: Tensor) -> Tensor:
        """The sum of all processes' values, in their place; the same on each of them."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each process the mean of all gradients; a parameter that had none anywhere keeps none.

        So it is with one process: the optimiser does not count a step for such a parameter.
        """
        if self.count == 1:
            return
        chosen = list(parameters)
        there = [one.new_tensor([one.grad is not None]) for one in chosen]
        own = [torch.zeros_like(one) if one.grad is None else one.grad for one in chosen]
        flat = torch.cat([*there, *(one.flatten() for one in own)])
        distributed.all_reduce(flat)
        anywhere, *parts = flat.split([len(chosen), *(one.numel() for one in chosen)])
        for one, had, part in zip(chosen, anywhere.tolist(), parts, strict=True):
            one.grad = (part / self.count).view_as(one) if had else None

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()


def current_ranks() -> Ranks:
    """Of `torch.distributed`, if it is running."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return Ranks()
