"""An avatar on disk: its numbers in a safetensors file, its card in the header. It holds no photograph, and no code runs from it."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_data.store.atomic import write_bytes
from palm_model.avatar.avatar import Avatar, HandPoses
from palm_model.avatar.person import person_network
from palm_model.carded import CardedKind, fill_exactly
from palm_model.prior.progress import progress_at
from schemas.avatar import AvatarCard
from schemas.errors import IntegrityError

AVATAR_FILE = "avatar.safetensors"
CARD_FILE = "card.json"
_KIND = CardedKind("an avatar", AvatarCard, 1 << 31, "Make one with: palm personalize")
_NETWORK, _BETAS = "network.", "betas"
_POSES = ("global_orient", "hand_pose", "transl")


def write_avatar(folder: Path, avatar: Avatar) -> Path:
    """Write an avatar, and its card beside it for people to read; the same avatar gives the same bytes."""
    tensors = {_NETWORK + name: one for name, one in avatar.network.state_dict().items()}
    tensors |= {f"photos.{name}": getattr(avatar.photographed, name).clone() for name in _POSES}
    path = folder / AVATAR_FILE
    write_bytes(path, _KIND.content({**tensors, _BETAS: avatar.betas}, avatar.card))
    write_bytes(folder / CARD_FILE, (json.dumps(avatar.card.model_dump(mode="json"), indent=1) + "\n").encode())
    return path


def load_avatar(path: Path, model: HandModel) -> Avatar:
    """The avatar in a file, or in the folder that the file lies in.

    Args:
        model: the hand model that it was fitted with.

    Raises:
        IntegrityError: if the file is missing, too large, damaged, no avatar, or one of another hand model.
    """
    file = path / AVATAR_FILE if path.is_dir() else path
    found = _KIND.read(file)
    if found.card.hand_model != model.sha256:
        raise IntegrityError(
            f"{file}: hand model: expected {found.card.hand_model}, which the avatar was fitted with, found {model.sha256}."
        )
    _check(file, found.tensors, len(found.card.photos))
    network = person_network(found.card.prior.settings, model)
    own = {name.removeprefix(_NETWORK): one for name, one in found.tensors.items() if name.startswith(_NETWORK)}
    fill_exactly(network, own, file, _KIND.hint)
    poses = HandPoses(*(found.tensors[f"photos.{name}"] for name in _POSES))
    if found.card.prior.step is not None:
        network.open = progress_at(found.card.prior.settings, found.card.prior.step)
    return Avatar(network, found.tensors[_BETAS], poses, found.card, model)


def _check(file: Path, tensors: Mapping[str, Tensor], photos: int) -> None:
    """Refuse numbers that are no avatar's; the network's own are for `fill_exactly`."""
    sizes = {_BETAS: (1, 10)} | {f"photos.{name}": (photos, 45 if name == "hand_pose" else 3) for name in _POSES}
    found = {name: tuple(one.shape) for name, one in tensors.items() if not name.startswith(_NETWORK)}
    if found != sizes:
        raise IntegrityError(f"{file}: expected the tensors {sizes}, found {found}. {_KIND.hint}")
    for name, one in tensors.items():
        if one.dtype.is_floating_point and not bool(torch.isfinite(one).all()):
            raise IntegrityError(f"{file}: {name}: expected finite numbers, found others. {_KIND.hint}")
