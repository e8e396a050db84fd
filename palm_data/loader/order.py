"""The order of training samples: one for everybody, whatever the number of ranks and workers that share it.

The samples of an epoch have one global order, made from the seed and the epoch alone. A step takes the next
ranks × batch samples of it; of those, rank r takes every ranks-th from the r-th on. So two ranks with batches of four
see in a step what one rank with batches of eight would, and where training stopped is one number: how many samples of
the global order were taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from schemas.errors import StoreError

_WORD = (1 << 64) - 1


def epoch_order(length: int, seed: int, epoch: int, *, shuffle: bool) -> np.ndarray:
    """(length,) int64: the samples of an epoch in their global order.

    Shuffled by sorting the raw words of a counter-based generator (Philox), whose stream numpy promises not to change.
    """
    if not shuffle:
        return np.arange(length, dtype=np.int64)
    words = np.random.Philox(key=np.array([seed & _WORD, epoch], dtype=np.uint64)).random_raw(length)
    return np.argsort(words, kind="stable").astype(np.int64)


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The randomness of one sample in one epoch: the same in whichever process draws it, and whenever."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed & _WORD, epoch, index])))


@dataclass(frozen=True)
class Order:
    """Which samples a rank takes, in which order, in which batches."""

    length: int
    seed: int
    shuffle: bool
    rank: int
    ranks: int
    batch: int
    drop_last: bool
    """Leave out the end of the epoch that does not fill a batch on every rank, so that all take equally many steps."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise StoreError(
                "samples: expected at least one, found none. Ask for more captures, or for fewer conditions."
            )
        if self.ranks < 1 or not 0 <= self.rank < self.ranks:
            raise StoreError(f"rank: expected 0 ≤ rank < ranks, found rank {self.rank} of {self.ranks}.")
        if self.batch < 1:
            raise StoreError(f"batch_size: expected at least 1, found {self.batch}.")

    @property
    def step(self) -> int:
        """How many samples of the global order one step of all ranks takes."""
        return self.ranks * self.batch

    def batches(self, epoch: int, taken: int = 0) -> Iterator[np.ndarray]:
        """The rank's batches in an epoch, after the first `taken` samples of the global order."""
        order = epoch_order(self.length, self.seed, epoch, shuffle=self.shuffle)
        mine = order[taken + self.rank : self._stop(taken) : self.ranks]
        for start in range(0, len(mine), self.batch):
            yield mine[start : start + self.batch]

    def count(self, taken: int = 0) -> int:
        """How many batches this rank takes in an epoch, after the first `taken` samples of the global order."""
        mine = len(range(taken + self.rank, self._stop(taken), self.ranks))
        return -(-mine // self.batch)

    def _stop(self, taken: int) -> int:
        left = max(self.length - taken, 0)
        return taken + (left // self.step * self.step if self.drop_last else left)
