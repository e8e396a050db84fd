"""A detector on disk: half-precision weights in a safetensors file, its card in the header. No code runs from it."""

import json
from pathlib import Path

from torch import Tensor, nn

from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import Workspace
from palm_model.carded import CardedKind, fill_exactly
from palm_model.detector.network import build_network
from schemas.annotation import DetectorCard
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
_KIND = CardedKind("a detector", DetectorCard, 1 << 28, "Train one with: palm train detector")
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
    return _KIND.content({name: _stored(name, tensor) for name, tensor in network.state_dict().items()}, card)


def write_checkpoint(folder: Path, network: nn.Module, card: DetectorCard) -> None:
    """Write the weights, and the card beside them for people to read."""
    write_bytes(folder / CHECKPOINT_FILE, checkpoint_bytes(network, card))
    write_bytes(folder / CARD_FILE, (json.dumps(card.model_dump(mode="json"), indent=1) + "\n").encode())


def load_checkpoint(path: Path) -> tuple[nn.Module, DetectorCard, Sha256]:
    """The network, ready to detect, its card and the file's digest.

    Raises:
        IntegrityError: if the file is missing, too large, damaged, or holds another network.
    """
    found = _KIND.read(path)
    network = build_network()
    fill_exactly(network, found.tensors, path, _KIND.hint)
    return network.eval(), found.card, found.sha256


def read_card(path: Path) -> DetectorCard:
    """A detector's card.

    Raises:
        IntegrityError: if the file is missing or has no card.
    """
    return _KIND.read_card(path)


def checkpoint_sha256(path: Path) -> Sha256:
    """The digest of a detector's file.

    Raises:
        IntegrityError: if the file is missing or too large.
    """
    return _KIND.sha256(path)


def _stored(name: str, tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and not name.endswith(_RUNNING) else tensor
