"""A prior's file: the same bytes for the same prior, and nothing else is taken for one."""

import dataclasses
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from palm_model.prior.checkpoint import CARD_FILE, load_checkpoint, write_checkpoint
from palm_model.prior.progress import progress_at
from schemas.errors import IntegrityError
from schemas.prior import Opening
from schemas.prior_card import PriorCard
from tests.palm_model.prior.conftest import Trained
from tests.palm_model.prior.released import MODEL
from tests.palm_model.prior.settings import small


@pytest.fixture
def file(whole: Trained, tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, whole.prior.network, whole.prior.card)


def test_the_same_prior_gives_the_same_bytes_and_comes_back(whole: Trained, file: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    network, card, digest = load_checkpoint(file, MODEL)
    assert card == whole.prior.card
    again = write_checkpoint(tmp_path / "again", network, card)
    assert again.read_bytes() == file.read_bytes()
    assert load_checkpoint(tmp_path, MODEL)[2] == digest
    assert PriorCard.model_validate_json((tmp_path / CARD_FILE).read_text()) == card
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, whole.weights[name])


def test_a_network_is_shown_with_what_was_open_when_it_was_kept(whole: Trained, tmp_path: Path) -> None:
    settings = small(levels=Opening(first=1.0, after=0, every=2.0), bands=Opening(first=0.0, after=9, every=1.0))
    card = whole.prior.card.model_copy(update={"settings": settings, "step": 3})
    network, _, _ = load_checkpoint(write_checkpoint(tmp_path, whole.prior.network, card), MODEL)
    assert network.open == progress_at(settings, 3) == (2.5, 0.0, None)


def test_another_hand_model_is_refused(file: Path) -> None:
    other = dataclasses.replace(MODEL, sha256="0" * 64)
    with pytest.raises(IntegrityError, match="hand model: expected"):
        load_checkpoint(file, other)


def _without_card(content: bytes) -> bytes:
    return save(load(content))


def _others(content: bytes) -> bytes:
    tensors = load(content)
    tensors["radiance.encoding.table"] = tensors.pop(sorted(tensors)[0])
    return _with_card(content, tensors)


def _one_row_more(content: bytes) -> bytes:
    tensors = load(content)
    tensors["conditioning.book.shape"] = torch.zeros(4, 4)
    return _with_card(content, tensors)


def _not_a_number(content: bytes) -> bytes:
    tensors = load(content)
    tensors["conditioning.book.shape"][1, 1] = torch.nan
    return _with_card(content, tensors)


def _with_card(content: bytes, tensors: dict[str, torch.Tensor]) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    return save(tensors, metadata=json.loads(content[8 : 8 + length])["__metadata__"])


def _deep(content: bytes) -> bytes:
    header = b"[" * 100000
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "damage",
    [
        _without_card,
        _others,
        _one_row_more,
        _not_a_number,
        _deep,
        lambda content: content[:-100],
        lambda content: content[:300],
        lambda content: b"",
        lambda content: pickle.dumps({"state_dict": [1, 2]}),
    ],
    ids=["no card", "others", "a row more", "nan", "nested", "cut", "header cut", "empty", "a pickle"],
)
def test_another_file_is_refused(damage: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(IntegrityError, match=r"prior\.safetensors"):
        load_checkpoint(file, MODEL)


def test_a_file_that_is_not_there_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="palm train prior"):
        load_checkpoint(tmp_path, MODEL)
