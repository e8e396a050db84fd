"""Tensors with a card: what is read is what was written, and anything else is refused by name."""

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from palm_model.carded import CardedKind, fill_exactly
from schemas.errors import IntegrityError


class Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str


class Other(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int


KIND = CardedKind("a note", Note, 1 << 16, "Write one.")
TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "note.safetensors"
    path.write_bytes(KIND.content(TENSORS, Note(text="ä")))
    return path


def test_what_is_read_is_what_was_written(file: Path) -> None:
    found = KIND.read(file)
    assert found.card == KIND.read_card(file) == Note(text="ä")
    assert found.sha256 == KIND.sha256(file)
    assert set(found.tensors) == set(TENSORS)
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_same_content_gives_the_same_bytes() -> None:
    swapped = dict(reversed(TENSORS.items()))
    assert KIND.content(TENSORS, Note(text="a")) == KIND.content(swapped, Note(text="a"))


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        IntegrityError, match=r"none\.safetensors: expected a note's file, found No such file.*Write one"
    ):
        KIND.read(tmp_path / "none.safetensors")


def test_a_file_with_another_card_is_refused(file: Path) -> None:
    with pytest.raises(IntegrityError, match="expected a thing's card"):
        CardedKind("a thing", Other, 1 << 16, "").read(file)


def test_a_file_that_is_too_large_is_refused(file: Path) -> None:
    with pytest.raises(IntegrityError, match="at most 16 bytes"):
        CardedKind("a note", Note, 16, "").read(file)


def test_a_pickle_stays_data(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Path))
    with pytest.raises(IntegrityError, match="card"):
        KIND.read(path)


@given(at=st.floats(0.0, 1.0, exclude_max=True))
def test_a_file_that_is_cut_off_is_refused(tmp_path_factory: pytest.TempPathFactory, at: float) -> None:
    content = KIND.content(TENSORS, Note(text="a"))
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(IntegrityError, match="cut"):
        KIND.read(path)


def test_a_network_takes_only_its_own_tensors(file: Path) -> None:
    network = torch.nn.Linear(3, 2)
    fill_exactly(network, KIND.read(file).tensors, file, "Train it.")
    assert torch.equal(network.weight, TENSORS["weight"])
    with pytest.raises(IntegrityError, match=r"others\. Train it"):
        fill_exactly(torch.nn.Linear(4, 2), KIND.read(file).tensors, file, "Train it.")


def test_weights_that_are_no_numbers_are_refused_and_the_network_stays(file: Path) -> None:
    network = torch.nn.Linear(3, 2)
    before = network.weight.detach().clone()
    spoilt = {**TENSORS, "bias": torch.tensor([0.0, torch.nan])}
    with pytest.raises(IntegrityError, match=r"expected finite weights, found others\. Train it"):
        fill_exactly(network, spoilt, file, "Train it.")
    assert torch.equal(network.weight, before)
