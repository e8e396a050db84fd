"""Streams: the same order for any number of workers, shared by ranks, resumed exactly."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import palm_data
from palm_data.loader.release import Release
from palm_data.loader.stream import Stream
from palm_data.testing.tiny import Tiny
from schemas.errors import IntegrityError, StoreError

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning"),
]
Named = tuple[str, int, str, int, int]


def names(batch: dict[str, Any]) -> list[Named]:
    """Which patches a batch holds: of which view, and where."""
    corners = batch["corner_px"].tolist()
    return [
        (subject_id, int(frame), camera_id, *corner)
        for subject_id, frame, camera_id, corner in zip(
            batch["subject_id"], batch["frame"], batch["camera_id"], corners, strict=True
        )
    ]


def stream(release: Release, **options: Any) -> Stream:
    return release.patches(5, per_view=2, fields=("mask",), seed=3).stream(**{"batch_size": 4, "seed": 1, **options})


def epochs(batches: Any, count: int = 1) -> list[list[Named]]:
    return [names(batch) for _ in range(count) for batch in batches]


def test_any_number_of_workers_gives_the_same_epochs(seen_release: Release) -> None:
    expected = epochs(stream(seen_release), 2)
    half = len(expected) // 2
    assert expected[:half] != expected[half:]
    for workers in (0, 1, 3):
        assert epochs(stream(seen_release).loader(workers), 2) == expected
    kept = stream(seen_release).loader(2, persistent_workers=True, prefetch_factor=1)
    assert epochs(kept, 2) == expected


def test_samples_come_one_by_one_without_a_batch_size(seen_release: Release) -> None:
    alone = stream(seen_release, batch_size=None)
    found = [(one["subject_id"], one["frame"], one["camera_id"], *one["corner_px"].tolist()) for one in alone]
    assert found == [one for batch in epochs(stream(seen_release)) for one in batch]
    again = stream(seen_release, batch_size=None)
    pixels = [one["mask"] for one in again]
    third = [one["mask"] for one in stream(seen_release, batch_size=None).loader(2)]
    assert len(again) == len(pixels) == len(third)
    assert all(torch.equal(one, other) for one, other in zip(pixels, third, strict=True))


def test_two_ranks_part_an_epoch_whatever_their_workers(seen_release: Release) -> None:
    whole = {one for batch in epochs(stream(seen_release)) for one in batch}
    parts = [epochs(stream(seen_release, rank=rank, ranks=2).loader(rank)) for rank in (0, 1)]
    first, second = ({one for batch in part for one in batch} for part in parts)
    assert first | second == whole
    samples = [len(batch) for part in parts for batch in part]
    assert sum(samples) == len(seen_release.patches(5, per_view=2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [0, 1, 3, 6])
def test_a_resumed_epoch_gives_the_rest_exactly(seen_release: Release, workers: int, steps: int) -> None:
    expected = epochs(stream(seen_release), 2)
    assert len(expected) == 12
    stopped = stream(seen_release).loader(workers)
    taken = [names(batch) for batch in islice(stopped, steps)]
    saved = json.loads(json.dumps(stopped.state_dict()))
    resumed = stream(seen_release).loader(2 - workers)
    resumed.load_state_dict(saved)
    assert taken == expected[:steps]
    assert epochs(resumed, 2) == expected[steps:]


def test_an_interrupted_iteration_goes_on_where_it_stopped(seen_release: Release) -> None:
    expected = epochs(stream(seen_release), 2)
    for workers in (0, 2):
        one, found = stream(seen_release).loader(workers), []
        for batch in one:
            found.append(names(batch))
            if len(found) == 3:
                break
        assert one.state_dict()["taken"] == 12
        found += epochs(one)
        assert one.stream.epoch == 1
        assert found + epochs(one) == expected


def test_a_state_may_be_loaded_by_other_numbers_of_ranks(seen_release: Release) -> None:
    whole = {one for batch in epochs(stream(seen_release)) for one in batch}
    seen, states = set(), []
    for rank in (0, 1):
        part = stream(seen_release, rank=rank, ranks=2)
        seen |= set(names(next(iter(part))))
        states.append(part.state_dict())
    assert states[0] == states[1]
    rest = stream(seen_release, batch_size=3)
    rest.load_state_dict(states[0])
    left = {one for batch in epochs(rest) for one in batch}
    assert left | seen == whole
    assert sum(map(len, epochs(stream(seen_release)))) - 8 == sum(map(len, _resumed(seen_release, states[0])))


def _resumed(release: Release, state: dict[str, Any]) -> list[list[Named]]:
    one = stream(release, batch_size=7)
    one.load_state_dict(state)
    return epochs(one)


def test_a_state_of_other_samples_is_refused(seen: Tiny, seen_release: Release) -> None:
    state = stream(seen_release).state_dict()
    others = {
        "samples": [
            stream(seen_release.subject("0001")),
            stream(palm_data.open_release(seen.settings.releases, "0.1.0")),
            seen_release.patches(5, per_view=2, fields=("mask",), seed=4).stream(seed=1),
            seen_release.patches(6, per_view=2, fields=("mask",), seed=3).stream(seed=1),
            seen_release.rays(5).stream(seed=1),
        ],
        "seed": [stream(seen_release, seed=2)],
        "shuffle": [stream(seen_release, shuffle=False)],
    }
    for name, streams in others.items():
        for one in streams:
            with pytest.raises(StoreError, match=f"state_dict: {name}: expected"):
                one.load_state_dict(state)
    for name, value in (("epoch", -1), ("taken", 1.5), ("taken", True)):
        with pytest.raises(StoreError, match=f"state_dict: {name}: expected a whole number from 0, found {value}"):
            stream(seen_release).load_state_dict({**state, name: value})
    with pytest.raises(StoreError, match="state_dict: epoch: expected a whole number from 0, found None"):
        stream(seen_release).load_state_dict({})


def test_without_shuffling_samples_come_in_the_order_of_the_release(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=["quality"])
    found = [(one["subject_id"], one["frame"], one["camera_id"]) for one in dataset.stream(shuffle=False)]
    assert found == sorted(found)
    assert len(found) == len(dataset)


def test_whole_captures_stream_too(seen_release: Release) -> None:
    batches = list(seen_release.torch(fields=["rgb"], per="capture").stream(batch_size=2, drop_last=True).loader(1))
    assert [len(batch["rgb"]) for batch in batches] == [2, 2, 2]


def test_a_plain_loader_takes_a_stream_but_not_with_workers(seen_release: Release) -> None:
    assert isinstance(stream(seen_release), IterableDataset)
    plain = DataLoader(stream(seen_release), batch_size=None)
    assert len(plain) == len(stream(seen_release)) == 6
    assert epochs(plain) == epochs(stream(seen_release))
    with pytest.raises(StoreError, match=r"expected its own loader, found a DataLoader with workers"):
        list(DataLoader(stream(seen_release), batch_size=None, num_workers=1))


def test_ranks_are_those_of_a_running_process_group(seen_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = epochs(stream(seen_release, rank=1, ranks=3))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert epochs(stream(seen_release)) == expected
    with pytest.raises(StoreError, match="rank, ranks: expected both or neither, found 1 and None"):
        stream(seen_release, rank=1)


def test_damage_found_by_a_worker_is_told_as_such(seen_folder: Path) -> None:
    path = seen_folder / "shards/0002.zarr/mask/full/c/1/0/0/0"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    loader = palm_data.open_release(seen_folder).torch(fields=["mask"], per="capture").stream().loader(1)
    with pytest.raises(IntegrityError, match=r"0002\.zarr/mask/full/c/1/0/0/0"):
        list(loader)


def test_nothing_to_stream_is_told(seen_release: Release) -> None:
    with pytest.raises(StoreError, match="samples: expected at least one, found none"):
        seen_release.filtered(where={"frame": 9}).torch().stream()
