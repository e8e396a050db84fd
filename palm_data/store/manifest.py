"""Manifests: written once, under a condition; read only if they are what was written.

A manifest carries the digest of its own canonical JSON (keys sorted, no spaces, ASCII), taken over the parsed values
without that field, so that the file vouches for itself and, through its two other digests, for the whole version.
"""

import hashlib
import io
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from palm_data.store.atomic import flush_directory
from palm_data.store.files import Files, as_files
from palm_data.store.places import LocalPlace, Place, place_at
from schemas.errors import ConflictError, IntegrityError, StoreError
from schemas.ids import Sha256, VersionId
from schemas.release import SCHEMA_VERSION, Manifest

MANIFEST_FILE = "manifest.json"
FILES_FILE = "files.parquet"
_SELF = "manifest_sha256"
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){2}")
_VERSION = re.compile(r"(?:(?:0|[1-9][0-9]{0,8})\.){2}(?:0|[1-9][0-9]{0,8})")


def seal(values: dict[str, Any]) -> Manifest:
    """The manifest with these values and the digest of itself.

    Raises:
        pydantic.ValidationError: if a value is not what the model allows.
    """
    unsealed = Manifest.model_validate({**values, _SELF: "0" * 64})
    return unsealed.model_copy(update={_SELF: _digest(unsealed.model_dump(mode="json"))})


def manifest_bytes(manifest: Manifest) -> bytes:
    """The content of `manifest.json`."""
    return _text(manifest.model_dump(mode="json"))


def read_manifest(place: Path | Files) -> Manifest:
    """The manifest of a version, held to its own digest.

    Args:
        place: the version's folder, or its files wherever they lie.

    Raises:
        StoreError: if there is no manifest, or one of a schema this code does not know.
        IntegrityError: if the manifest is damaged.
    """
    files = as_files(place)
    path = f"{files.name}/{MANIFEST_FILE}"
    try:
        content = files.read(MANIFEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path}: expected the manifest of a version, found none. {_published(files)}") from None
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: str) -> Manifest:
    """The manifest that these bytes are, held to its own digest.

    Raises:
        StoreError: if it is one of a schema this code does not know.
        IntegrityError: if it is damaged; says where it lies.
    """
    try:
        values = json.loads(content)
        if not isinstance(values, dict) or content != _text(values):
            raise ValueError("another layout than the one that is written")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: expected a manifest, found {error}. Fetch it again.") from error
    _check_schema(path, values)
    if values.get(_SELF) != (found := _digest(values)):
        raise IntegrityError(
            f"{path}: {_SELF}: expected {found}, found {values.get(_SELF)}. The file was damaged or edited after "
            "release. Fetch it again."
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise IntegrityError(f"{path}: expected a manifest, found {error}. Fetch it again.") from error


def create_manifest(manifest: Manifest, folder: Path, scratch: Path) -> None:
    """Make the version exist: its manifest appears whole, unless there is one already.

    Args:
        scratch: a folder on the same file system, where nothing is lost if the process dies.

    Raises:
        ConflictError: if the folder has a manifest already; nothing of it was changed.
    """
    partial = scratch / f"{MANIFEST_FILE}.{uuid.uuid4().hex}"
    try:
        with partial.open("xb") as stream:
            stream.write(manifest_bytes(manifest))
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(0o444)
        os.link(partial, folder / MANIFEST_FILE)
    except FileExistsError:
        raise ConflictError(f"{folder / MANIFEST_FILE}: expected no manifest yet, found one.") from None
    finally:
        partial.unlink(missing_ok=True)
    flush_directory(folder)


def versions(releases: Path | Place) -> list[VersionId]:
    """The versions that exist (have a manifest), lowest first.

    Raises:
        io.UnsupportedOperation: if it is a web server, which does not say which it has.
        StoreError: if a remote place refuses or does not answer.
    """
    place = LocalPlace(releases) if isinstance(releases, Path) else releases
    found = [name for name in place.folders() if is_version(name) and place.files(name).size(MANIFEST_FILE) is not None]
    return sorted(found, key=version_order)


def is_version(text: str) -> bool:
    """Whether the text is a version number of the form MAJOR.MINOR.PATCH."""
    return _VERSION.fullmatch(text) is not None


def version_order(version: VersionId) -> tuple[int, ...]:
    """What to sort versions by."""
    return tuple(int(part) for part in version.split("."))


def _check_schema(path: str, values: dict[str, Any]) -> None:
    found = str(values.get("schema_version", ""))
    known = SCHEMA_VERSION.partition(".")[0]
    if _NUMBERS.fullmatch(found) and found.partition(".")[0] != known:
        raise StoreError(
            f"{path}: schema_version: expected {known}.x, found {found[:40]}. "
            "Install the version of palm-factory that reads it."
        )


def _published(files: Files) -> str:
    try:
        place = place_at(files.name)
        found = versions(place) or versions(place_at(files.name.rpartition("/")[0]))
    except (io.UnsupportedOperation, StoreError):
        return "Look at the address: that of the place that holds all versions, or of one version."
    return f"Published there: {', '.join(found)}." if found else "Publish one with: palm release VERSION."


def _digest(values: dict[str, Any]) -> Sha256:
    rest = {name: value for name, value in values.items() if name != _SELF}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
