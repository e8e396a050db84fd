"""An iterable dataset whose order is the same for any number of workers, is shared by ranks, and can be resumed.

The order is decided in the one process that consumes it: workers are told which samples to make, so that neither
their number, nor how far they have read ahead, changes what comes next or what a saved state says. An iteration goes
on from where the last one stopped, to the end of the epoch; the next one begins the next epoch.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch.distributed
from torch.utils.data import DataLoader, IterableDataset, Sampler, default_collate, get_worker_info

from palm_data.loader.order import Order
from schemas.errors import StoreError

if TYPE_CHECKING:
    from palm_data.loader.torch_dataset import Key, TorchDataset


class Stream(IterableDataset[Any]):
    """Samples or batches in a seeded order. Iterate over it, or over its `loader` for workers."""

    def __init__(
        self,
        dataset: "TorchDataset",
        *,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        ranks: int | None = None,
        drop_last: bool = False,
    ) -> None:
        """Take what `TorchDataset.stream` describes.

        Raises:
            StoreError: if there are no samples, or a number makes no sense.
        """
        rank, ranks = _place(rank, ranks)
        self.dataset, self.batch_size = dataset, batch_size
        batch = 1 if batch_size is None else batch_size
        self._order = Order(len(dataset), seed, shuffle, rank, ranks, batch, drop_last)
        self._epoch = self._taken = 0

    @property
    def epoch(self) -> int:
        """The epoch that the next batch is of, from 0."""
        return self._epoch

    def __len__(self) -> int:
        """How many batches (or samples, if there are no batches) this rank takes in a whole epoch."""
        return self._order.count()

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch.

        Raises:
            StoreError: in a worker, which cannot know what the others have taken.
            IntegrityError: if what a sample is read from is damaged.
        """
        if get_worker_info() is not None:
            raise StoreError(
                "stream: expected its own loader, found a DataLoader with workers. Use: stream.loader(workers=…)."
            )
        return self.counted(self._made(keys) for keys in self.keys())

    def loader(self, workers: int = 0, **options: Any) -> "StreamLoader":
        """A DataLoader with workers that gives the same in the same order, and moves this stream's position.

        Args:
            options: of `torch.utils.data.DataLoader`: `pin_memory`, `persistent_workers`, `prefetch_factor`, ….
        """
        return StreamLoader(self, workers, **options)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: the same on every rank that took as many steps, and loadable with other numbers of ranks,
        workers and samples a batch.
        """
        order = self._order
        return {
            "epoch": self._epoch,
            "taken": self._taken,
            "seed": order.seed,
            "shuffle": order.shuffle,
            "samples": self.dataset.digest(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the stream was that gave this state.

        Raises:
            StoreError: if the state is of other samples or of another order; names the first value that differs.
        """
        own = self.state_dict()
        for name in own:
            found = state.get(name)
            counter = name in ("epoch", "taken")
            wrong = type(found) is not int or found < 0 if counter else found != own[name]
            if wrong:
                expected = "a whole number from 0" if counter else repr(own[name])
                raise StoreError(
                    f"state_dict: {name}: expected {expected}, found {found!r}. "
                    "Make the stream with the release, samples and seed that it was saved with."
                )
        self._epoch, self._taken = state["epoch"], state["taken"]

    def keys(self) -> Iterator["list[Key]"]:
        """The epoch and position of each sample of the batches that are left of the epoch; moves nothing."""
        epoch = self._epoch
        for batch in self._order.batches(epoch, self._taken):
            yield [(epoch, int(index)) for index in batch]

    def counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Hand on the batches that are left of the epoch, counting each as taken; then begin the next epoch."""
        for batch in batches:
            self._taken += self._order.step
            yield batch
        self._epoch, self._taken = self._epoch + 1, 0

    def _made(self, keys: "list[Key]") -> Any:
        samples = [self.dataset[key] for key in keys]
        return samples[0] if self.batch_size is None else default_collate(samples)


class StreamLoader(DataLoader[Any]):
    """A stream read ahead by workers. Its state is the stream's, and counts what was handed out, not what was read."""

    def __init__(self, stream: Stream, workers: int, **options: Any) -> None:
        self.stream = stream
        if workers and not stream.dataset.local:
            options.setdefault("multiprocessing_context", "spawn")  # what is connected must not be forked
        keys = _Keys(stream)
        if stream.batch_size is None:
            super().__init__(stream.dataset, sampler=keys, batch_size=None, num_workers=workers, **options)
        else:
            super().__init__(stream.dataset, batch_sampler=keys, num_workers=workers, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The rest of the epoch."""
        return self.stream.counted(super().__iter__())

    def state_dict(self) -> dict[str, Any]:
        """As `Stream.state_dict`."""
        return self.stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Stream.load_state_dict`."""
        self.stream.load_state_dict(state)


class _Keys(Sampler[Any]):
    """What the loader asks its workers for."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    def __iter__(self) -> Iterator[Any]:
        keys = self._stream.keys()
        return (one for (one,) in keys) if self._stream.batch_size is None else keys


def _place(rank: int | None, ranks: int | None) -> tuple[int, int]:
    if rank is not None and ranks is not None:
        return rank, ranks
    if rank is not None or ranks is not None:
        raise StoreError(f"rank, ranks: expected both or neither, found {rank} and {ranks}.")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
