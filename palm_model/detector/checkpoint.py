"""A detector on disk: half-precision weights in a safetensors file, its card in the header. No code runs from it."""

import hashlib
import json
import struct
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import Workspace
from palm_model.detector.network import build_network
from schemas.annotation import DetectorCard
from schemas.errors import IntegrityError
from schemas.ids import Sha256
from schemas.settings import Settings

STAGE = "detector"
"""The detector in force, tuned to the workspace's annotations."""
TRAINING = "detector_training"
"""What `palm train detector` made."""
KEY = "hand"
SHIPPED = Path(__file__).with_name("assets") / "detector.safetensors"
"""Trained on simulated people; see the card beside it."""
CHECKPOINT_FILE = "detector.safetensors"
CARD_FILE = "card.json"
_MAX_BYTES = 1 << 28
_MAX_CARD_BYTES = 1 << 24
_RUNNING = ("running_mean", "running_var")
"""Statistics that half precision would hurt."""


def start_checkpoint(workspace: Workspace, settings: Settings) -> Path:
    """The detector to tune: the one that the settings name, else the one trained in the workspace, else what ships.

    Raises:
        IntegrityError: if a record of the workspace is not readable.
    """
    if settings.detector.checkpoint is not None:
        return settings.detector.checkpoint
    if workspace.record(TRAINING, KEY) is not None:
        return workspace.output(TRAINING, KEY) / CHECKPOINT_FILE
    return SHIPPED


def current_checkpoint(workspace: Workspace, settings: Settings) -> Path:
    """The detector in force: the one that the settings name, as it is; else the start as tuned in the workspace.

    A start that was not tuned, or not since it changed, is in force itself.

    Raises:
        IntegrityError: if a record of the workspace is not readable, or the start's file is missing.
    """
    start = start_checkpoint(workspace, settings)
    tuned = workspace.record(STAGE, KEY)
    if settings.detector.checkpoint is not None or tuned is None or tuned.inputs["start"] != checkpoint_sha256(start):
        return start
    return workspace.output(STAGE, KEY) / CHECKPOINT_FILE


def checkpoint_bytes(network: nn.Module, card: DetectorCard) -> bytes:
    """The file's content: the same weights and card give the same bytes."""
    tensors = {name: _stored(name, tensor) for name, tensor in network.state_dict().items()}
    return save(tensors, metadata={"card": json.dumps(card.model_dump(mode="json"), sort_keys=True)})


def write_checkpoint(folder: Path, network: nn.Module, card: DetectorCard) -> None:
    """Write the weights, and the card beside them for people to read."""
    write_bytes(folder / CHECKPOINT_FILE, checkpoint_bytes(network, card))
    write_bytes(folder / CARD_FILE, (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())


def load_checkpoint(path: Path) -> tuple[nn.Module, DetectorCard, Sha256]:
    """The network, ready to detect, its card and the file's digest.

    Raises:
        IntegrityError: if the file is missing, too large, damaged, or holds another network.
    """
    content = _content(path)
    card = _card(path, content)
    network = build_network()
    wanted = network.state_dict()
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise IntegrityError(f"{path}: expected a safetensors file, found {error}.") from None
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: t.shape for name, t in wanted.items()}:
        raise IntegrityError(f"{path}: expected the tensors of the detector's network, found others. Train it again.")
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
    return network.eval(), card, hashlib.sha256(content).hexdigest()


def read_card(path: Path) -> DetectorCard:
    """A detector's card.

    Raises:
        IntegrityError: if the file is missing or has no card.
    """
    return _card(path, _content(path))


def checkpoint_sha256(path: Path) -> Sha256:
    """The digest of a detector's file.

    Raises:
        IntegrityError: if the file is missing or too large.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def _stored(name: str, tensor: Tensor) -> Tensor:
    plain = tensor.detach().cpu().contiguous()
    return plain.half() if plain.is_floating_point() and not name.endswith(_RUNNING) else plain


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise IntegrityError(
            f"{path}: expected a detector's file, found {error.strerror}. Train one with: palm train detector"
        ) from error
    if len(content) > _MAX_BYTES:
        raise IntegrityError(f"{path}: expected at most {_MAX_BYTES} bytes, found more.")
    return content


def _card(path: Path, content: bytes) -> DetectorCard:
    """Read the header by hand: safetensors gives metadata of files only, and this file may change under us."""
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > _MAX_CARD_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(content[8 : 8 + length])
        return DetectorCard.model_validate_json(header["__metadata__"]["card"])
    except (struct.error, ValueError, KeyError, TypeError, ValidationError) as error:
        raise IntegrityError(
            f"{path}: __metadata__.card: expected a detector's card, found {error}. Train it again."
        ) from None


def finite_weights(network: nn.Module) -> bool:
    """Whether every weight is a number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())
