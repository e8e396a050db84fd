"""A release as torch sees it: a map-style dataset of plain tensors, and the way to stream it. Importing this loads torch."""

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from palm_data.loader.fields import Arrays
from palm_data.loader.order import sample_generator
from palm_data.store.files import LocalFiles

if TYPE_CHECKING:
    from palm_data.loader.release import Release
    from palm_data.loader.stream import Stream

Tensors = dict[str, Any]
"""Names to tensors, numbers, texts, or such again: what the default collate stacks."""
Key = tuple[int, int]
"""An epoch, and a position."""


class Source(Protocol):
    """Samples as plain arrays, drawn with a generator that is the sample's own."""

    release: "Release"

    @property
    def identity(self) -> tuple[object, ...]:
        """What is drawn, and how."""
        ...

    def __len__(self) -> int: ...

    def draw(self, index: int, random: np.random.Generator, /) -> Arrays:
        """The sample at a position."""
        ...


class TorchDataset(Dataset[Tensors]):
    """Training samples by position; what is drawn at random depends on seed, epoch and position alone."""

    def __init__(self, source: Source, *, seed: int = 0) -> None:
        self._source, self.seed = source, seed
        self.epoch = 0
        """Which epoch's draws `dataset[index]` gives. A stream counts epochs itself and does not look at it."""

    def __len__(self) -> int:
        return len(self._source)

    @property
    def local(self) -> bool:
        """Whether the release lies in a folder of this machine; if not, worker processes have to be spawned."""
        return isinstance(self._source.release.tables.files, LocalFiles)

    def __getitem__(self, key: int | Key) -> Tensors:
        """The sample at a position of the present epoch, or at (epoch, position).

        Raises:
            IndexError: if there is no such position.
            IntegrityError: if what it is read from is damaged.
        """
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"position: expected one below {len(self)}, found {index}.")
        index %= len(self)
        found: Tensors = _tensors(self._source.draw(index, sample_generator(self.seed, epoch, index)))
        return found

    def digest(self) -> str:
        """SHA-256 of what the samples are: of which captures, what is drawn, how, and the seed."""
        identity = (self._source.release.digest(), self._source.identity, self.seed)
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    def stream(
        self,
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        drop_last: bool = False,
    ) -> "Stream":
        """The samples as an iterable dataset: shuffled anew each epoch, shared by ranks, resumable.

        Args:
            batch_size: samples are collated to batches of so many; None: one by one, uncollated.
            seed: of the order; that of the draws is the dataset's own.
            rank, ranks: this process and how many there are; by default those of `torch.distributed`, if it is running.
            drop_last: leave out the end of an epoch that does not fill a batch on every rank, so that all ranks take
                equally many steps; otherwise every sample comes exactly once on one of the ranks.

        Raises:
            StoreError: if there are no samples, or a number makes no sense.
        """
        from palm_data.loader.stream import Stream

        return Stream(
            self, batch_size=batch_size, shuffle=shuffle, seed=seed, rank=rank, ranks=ranks, drop_last=drop_last
        )


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tensors(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.require(value, requirements=["C", "W"]))
    return value
