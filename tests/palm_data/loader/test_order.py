"""One order for everybody."""

import numpy as np
import pytest

from palm_data.loader.order import Order, epoch_order, sample_generator
from schemas.errors import StoreError


def order(length: int = 23, *, rank: int = 0, ranks: int = 1, batch: int = 1, drop_last: bool = False) -> Order:
    return Order(length, seed=5, shuffle=True, rank=rank, ranks=ranks, batch=batch, drop_last=drop_last)


def flat(one: Order, epoch: int = 0, taken: int = 0) -> list[int]:
    return [int(index) for batch in one.batches(epoch, taken) for index in batch]


def test_an_epoch_is_every_sample_once_in_an_order_that_seed_and_epoch_decide() -> None:
    orders = [tuple(epoch_order(50, seed, epoch, shuffle=True)) for seed in (-1, 0, 1) for epoch in (0, 1)]
    assert all(sorted(one) == list(range(50)) for one in orders)
    assert len(set(orders)) == len(orders)
    assert tuple(epoch_order(50, 0, 1, shuffle=True)) == orders[3]
    assert epoch_order(5, 3, 1, shuffle=False).tolist() == [0, 1, 2, 3, 4]


def test_the_order_is_the_one_that_older_checkpoints_mean() -> None:
    assert epoch_order(8, 7, 2, shuffle=True).tolist() == [6, 7, 4, 0, 1, 5, 3, 2]


@pytest.mark.parametrize(("ranks", "batch"), [(1, 1), (2, 1), (2, 4), (3, 5), (7, 2), (40, 1)])
def test_ranks_part_an_epoch(ranks: int, batch: int) -> None:
    parts = [flat(order(rank=rank, ranks=ranks, batch=batch)) for rank in range(ranks)]
    assert sorted(one for part in parts for one in part) == list(range(23))


@pytest.mark.parametrize(("ranks", "batch"), [(2, 1), (2, 4), (3, 5)])
def test_with_drop_last_every_rank_takes_as_many_whole_batches(ranks: int, batch: int) -> None:
    parts = [list(order(rank=rank, ranks=ranks, batch=batch, drop_last=True).batches(0)) for rank in range(ranks)]
    assert {len(one) for part in parts for one in part} == {batch}
    assert {len(part) for part in parts} == {23 // (ranks * batch)}
    seen = [int(index) for part in parts for one in part for index in one]
    assert len(set(seen)) == len(seen)


def test_a_step_of_two_ranks_sees_what_a_step_of_one_rank_with_twice_the_batch_sees() -> None:
    both = zip(order(rank=0, ranks=2, batch=4).batches(3), order(rank=1, ranks=2, batch=4).batches(3), strict=True)
    alone = order(batch=8).batches(3)
    for (first, second), expected in zip(both, alone, strict=True):
        assert sorted([*first, *second]) == sorted(expected)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("ranks", "batch"), [(1, 1), (2, 3), (4, 2)])
def test_what_is_left_after_some_steps_is_the_rest(ranks: int, batch: int, drop_last: bool) -> None:
    for rank in range(ranks):
        one = order(rank=rank, ranks=ranks, batch=batch, drop_last=drop_last)
        whole = [batch.tolist() for batch in one.batches(1)]
        assert one.count() == len(whole)
        for steps in range(len(whole) + 1):
            rest = [batch.tolist() for batch in one.batches(1, steps * one.step)]
            assert rest == whole[steps:]
            assert one.count(steps * one.step) == len(rest)


def test_other_ranks_may_go_on_from_where_some_stopped() -> None:
    first = [flat(order(rank=rank, ranks=2, batch=4))[:8] for rank in (0, 1)]
    rest = [flat(order(rank=rank, ranks=3, batch=2), taken=16) for rank in (0, 1, 2)]
    assert sorted(one for part in first + rest for one in part) == list(range(23))


def test_the_randomness_of_a_sample_is_its_own() -> None:
    drawn = [sample_generator(*key).random() for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len(set(drawn)) == 4
    assert sample_generator(1, 0, 0).random() == drawn[3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"length": 0}, "samples: expected at least one"),
        ({"rank": 2, "ranks": 2}, "rank: expected 0 ≤ rank < ranks, found rank 2 of 2"),
        ({"rank": -1}, "found rank -1 of 1"),
        ({"batch": 0}, "batch_size: expected at least 1, found 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        order(**changes)  # type: ignore[arg-type]


def test_the_draws_of_a_permutation_are_spread() -> None:
    places = np.array([np.flatnonzero(epoch_order(10, 0, epoch, shuffle=True) == 3)[0] for epoch in range(2000)])
    assert np.bincount(places, minlength=10).min() > 140
