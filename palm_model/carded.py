"""Networks on disk: tensors in a safetensors file, a card that tells of them in its header. No code runs from it."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from schemas.errors import IntegrityError
from schemas.ids import Sha256

_MAX_CARD_BYTES = 1 << 24
Card = TypeVar("Card", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Carded(Generic[Card]):
    """A file's content, checked as far as its card goes."""

    tensors: Mapping[str, Tensor]
    card: Card
    sha256: Sha256
    """Of the whole file."""


@dataclass(frozen=True)
class CardedKind(Generic[Card]):
    """One kind of such files."""

    name: str
    """As errors call it: "a detector"."""
    card: type[Card]
    max_bytes: int
    hint: str
    """What a person can do who has none, or a damaged one."""

    def content(self, tensors: Mapping[str, Tensor], card: Card) -> bytes:
        """The file's bytes: the same for the same tensors and card."""
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return save(plain, metadata={"card": json.dumps(card.model_dump(mode="json"), sort_keys=True)})

    def read(self, path: Path) -> Carded[Card]:
        """Tensors and card of a file.

        Raises:
            IntegrityError: if the file is missing, too large or damaged, or has no card of this kind.
        """
        content = self._bytes(path)
        card = self._card(path, content)
        try:
            tensors = load(content)
        except SafetensorError as error:
            raise IntegrityError(f"{path}: expected a safetensors file, found {error}. {self.hint}") from None
        return Carded(tensors, card, hashlib.sha256(content).hexdigest())

    def read_card(self, path: Path) -> Card:
        """The card alone.

        Raises:
            IntegrityError: if the file is missing or has no card of this kind.
        """
        return self._card(path, self._bytes(path))

    def sha256(self, path: Path) -> Sha256:
        """The digest of a file.

        Raises:
            IntegrityError: if the file is missing or too large.
        """
        return hashlib.sha256(self._bytes(path)).hexdigest()

    def _bytes(self, path: Path) -> bytes:
        try:
            with path.open("rb") as stream:
                content = stream.read(self.max_bytes + 1)
        except OSError as error:
            raise IntegrityError(f"{path}: expected {self.name}'s file, found {error.strerror}. {self.hint}") from error
        if len(content) > self.max_bytes:
            raise IntegrityError(f"{path}: expected at most {self.max_bytes} bytes, found more.")
        return content

    def _card(self, path: Path, content: bytes) -> Card:
        """Read the header by hand: safetensors gives metadata of files only, and this file may change under us."""
        try:
            (length,) = struct.unpack_from("<Q", content)
            if length > _MAX_CARD_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(content[8 : 8 + length])
            return self.card.model_validate_json(header["__metadata__"]["card"])
        except (struct.error, ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            raise IntegrityError(
                f"{path}: __metadata__.card: expected {self.name}'s card, found {error}. {self.hint}"
            ) from None


def fill_exactly(network: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path, hint: str) -> None:
    """Give a network these tensors, which must be its own in name and shape, and finite; they take its types.

    Raises:
        IntegrityError: if they are others; the network is as before then.
    """
    wanted = network.state_dict()
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: one.shape for name, one in wanted.items()}:
        raise IntegrityError(
            f"{path}: expected the tensors of the network that its card tells of, found others. {hint}"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise IntegrityError(f"{path}: expected finite weights, found others. {hint}")
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
