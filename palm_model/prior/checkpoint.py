"""A prior on disk: its weights in a safetensors file, its card in the header. No code runs from it."""

import json
from pathlib import Path

from palm_data.hand.model import HandModel
from palm_data.store.atomic import write_bytes
from palm_model.carded import CardedKind, fill_exactly
from palm_model.prior.build import build_palm_net
from palm_model.prior.network import PalmNet
from palm_model.prior.progress import progress_at
from schemas.errors import IntegrityError
from schemas.ids import Sha256
from schemas.prior_card import PriorCard

CHECKPOINT_FILE = "prior.safetensors"
CARD_FILE = "card.json"
_KIND = CardedKind("a prior", PriorCard, 1 << 31, "Train one with: palm train prior")


def write_checkpoint(folder: Path, network: PalmNet, card: PriorCard) -> Path:
    """Write the weights, and the card beside them for people to read; the same weights and card give the same bytes."""
    path = folder / CHECKPOINT_FILE
    write_bytes(path, _KIND.content(network.state_dict(), card))
    write_bytes(folder / CARD_FILE, (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())
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
    found = _KIND.read(file)
    if found.card.hand_model != model.sha256:
        raise IntegrityError(
            f"{file}: hand model: expected {found.card.hand_model}, which the prior was trained with, found "
            f"{model.sha256}."
        )
    network = build_palm_net(found.card.settings, model, len(found.card.subjects))
    fill_exactly(network, found.tensors, file, _KIND.hint)
    if found.card.step is not None:
        network.open = progress_at(found.card.settings, found.card.step)
    return network.eval(), found.card, found.sha256
