"""Whom a network learned from: what the header of its safetensors file says. No code runs from it.

Two words are known: `card`, whose `subjects` are digests of people's images, and `learned_from`, which names a release.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from schemas.errors import IntegrityError
from schemas.ids import Sha256, SubjectId
from schemas.withdrawal import LearnedFrom

if TYPE_CHECKING:
    from palm_data.loader.release import Release

LEARNED_FROM = "learned_from"
_CARD = "card"
_MAX_HEADER_BYTES = 1 << 24


@dataclass(frozen=True)
class Seen:
    """Whom a network saw, as far as its file says."""

    people: frozenset[Sha256] | None
    """Digests of people's images; None if it has no card."""
    releases: tuple[LearnedFrom, ...]

    def saw(self, subject_id: SubjectId, person: Sha256 | None, roots: frozenset[Sha256]) -> bool | None:
        """Whether it saw a person; None if its file does not tell.

        Args:
            person: the digest of their images, if it is known.
            roots: merkle roots of the versions that show them under this number. Numbers mean nothing in other releases.
        """
        if any(one.merkle_root in roots and subject_id in one.subjects for one in self.releases):
            return True
        if self.people is not None:
            return person in self.people if person is not None else None if self.people else False
        return False if self.releases else None


def learned_from(release: "Release") -> LearnedFrom:
    """What a network that learns from these captures has to keep in its file, as JSON under `learned_from`."""
    manifest = release.manifest
    return LearnedFrom(version=manifest.version, merkle_root=manifest.merkle_root, subjects=release.subject_ids)


def read_seen(path: Path) -> Seen:
    """Whom the network in a safetensors file saw.

    Raises:
        IntegrityError: if it is no such file, or what it says is not readable.
    """
    try:
        words = _header(path).get("__metadata__", {})
        card = json.loads(words[_CARD]) if _CARD in words else None
        people = None if card is None else frozenset(map(str, card["subjects"]))
        told = json.loads(words[LEARNED_FROM]) if LEARNED_FROM in words else []
        releases = [LearnedFrom.model_validate(one) for one in (told if isinstance(told, list) else [told])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a safetensors file that says whom it saw, found {error}.") from None
    return Seen(people=people, releases=tuple(releases))


def models_below(folder: Path) -> Iterator[Path]:
    """Every safetensors file below a folder, sorted; the folder may be such a file itself."""
    if folder.is_file():
        yield folder
    yield from sorted(path for path in folder.rglob("*.safetensors") if path.is_file() and not path.is_symlink())


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    return header
