"""A prior on disk: its weights in a safetensors file, its card in the header. No code runs from it."""

import hashlib
import json
import struct
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from palm_data.hand.model import HandModel
from palm_data.store.atomic import write_bytes
from palm_model.prior.build import build_palm_net
from palm_model.prior.network import PalmNet
from schemas.errors import IntegrityError
from schemas.ids import Sha256
from schemas.prior_card import PriorCard

CHECKPOINT_FILE = "prior.safetensors"
CARD_FILE = "card.json"
_MAX_BYTES = 1 << 31
_MAX_CARD_BYTES = 1 << 24


def write_checkpoint(folder: Path, network: PalmNet, card: PriorCard) -> Path:
    """Write the weights, and the card beside them for people to read; the same weights and card give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    plain = card.model_dump(mode="json")
    path = folder / CHECKPOINT_FILE
    write_bytes(path, save(tensors, metadata={"card": json.dumps(plain, sort_keys=True)}))
    write_bytes(folder / CARD_FILE, (json.dumps(plain, indent=1) + "\n").encode())
    return path


def load_checkpoint(path: Path, model: HandModel) -> tuple[PalmNet, PriorCard, Sha256]:
    """The network with its weights, its card, and the file's digest.

    Args:
        path: the file, or the folder it lies in.
        model: the hand model that the prior was trained with.

    Raises:
        IntegrityError: if the file is missing, too large, damaged, holds another network, or one for another hand model.
    """
    file = path / CHECKPOINT_FILE if path.is_dir() else path
    content = _content(file)
    card = _card(file, content)
    if card.hand_model != model.sha256:
        raise IntegrityError(
            f"{file}: hand model: expected {card.hand_model}, which the prior was trained with, found {model.sha256}."
        )
    network = build_palm_net(card.settings, model, len(card.subjects))
    wanted = network.state_dict()
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise IntegrityError(f"{file}: expected a safetensors file, found {error}.") from None
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: one.shape for name, one in wanted.items()}:
        raise IntegrityError(f"{file}: expected the tensors that its card tells of, found others. Train it again.")
    network.load_state_dict(tensors)
    return network.eval(), card, hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise IntegrityError(
            f"{path}: expected a prior's file, found {error.strerror}. Train one with: palm train prior"
        ) from error
    if len(content) > _MAX_BYTES:
        raise IntegrityError(f"{path}: expected at most {_MAX_BYTES} bytes, found more.")
    return content


def _card(path: Path, content: bytes) -> PriorCard:
    try:
        (length,) = struct.unpack("<Q", content[:8])
        header = content[8 : 8 + min(length, _MAX_CARD_BYTES)]
        return PriorCard.model_validate_json(json.loads(header)["__metadata__"]["card"])
    except (struct.error, ValueError, KeyError, TypeError, ValidationError):
        raise IntegrityError(f"{path}: expected a prior's card in the header, found none. Train it again.") from None
