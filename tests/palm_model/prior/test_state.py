"""A training's state on disk: it comes back whole, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from palm_model.prior.state import TrainingState, load_state, save_state


def made(width: int = 5, steps: int = 2) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(width)
    network = nn.Sequential(nn.Linear(3, width), nn.Linear(width, 1))
    optimizer = torch.optim.Adam([{"params": network[0].parameters(), "lr": 0.1}, {"params": network[1].parameters()}])
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    return network, optimizer


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    network, optimizer = made()
    best = {name: value.clone() + 1 for name, value in network.state_dict().items()}
    state = TrainingState(step=2, skipped=3, refused=1, best_step=1, best_psnr=12.345678901234, best=best)
    save_state(tmp_path / "states" / "one", network, optimizer, state)
    return tmp_path / "states" / "one"


def test_a_state_comes_back_as_it_was(stored: Path) -> None:
    before, _ = made()
    network, optimizer = made(steps=0)
    state = load_state(stored, network, optimizer)
    assert (state.step, state.skipped, state.refused, state.best_step) == (2, 3, 1, 1)
    assert state.best_psnr == 12.345678901234
    for name, value in before.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
        assert torch.equal(state.best[name], value + 1)
    further, its = made(steps=3)
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    for name, value in further.state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    assert its.state_dict()["state"][0]["step"] == optimizer.state_dict()["state"][0]["step"] == 3


def _flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize(
    "damage",
    [_flipped, lambda content: content[:-1], lambda content: content[:50], lambda content: b"", lambda content: b"\x80" * 99],
    ids=["a bit", "the last byte", "all but the header", "empty", "another file"],
)  # fmt: skip
def test_a_damaged_state_counts_as_none(damage: Callable[[bytes], bytes], stored: Path) -> None:
    stored.write_bytes(damage(stored.read_bytes()))
    _untouched(stored, 5)


def test_a_state_that_is_not_there_or_anothers_counts_as_none(stored: Path) -> None:
    _untouched(stored.with_name("other"), 5)
    _untouched(stored, 6)


def _untouched(path: Path, width: int) -> None:
    network, optimizer = made(width, steps=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert load_state(path, network, optimizer) == TrainingState()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert optimizer.state_dict()["state"] == {}
