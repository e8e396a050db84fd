"""Writing where releases are: the few operations that a folder and an object store have in common.

Paths are relative to the place, with forward slashes. Every write is whole or not at all, and says when somebody else
was first. What publishing, withdrawing and collecting garbage need is written in these terms:

    put_new(path, source)             create; the same content there already is a success, other content a conflict
    put_replacing(path, content, tag) replace what was read with this tag; None: only if there is nothing
    copy(source, target)              the same content at a second path, at the least cost (hard link, server-side copy)
    delete(path)                      gone afterwards, whether it was there or not
    get(path)                         the content and its tag, for put_replacing; None if there is none
    folders()                         the names directly below
    files(prefix)                     everything below a prefix, for reading and listing (`sizes()`)

A put whose answer was lost on the way is found out: the content is read back before a conflict is told.
"""

import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from palm_data.store.atomic import file_sha256, flush_directory, write_bytes
from palm_data.store.files import Files, LocalFiles
from palm_data.store.objects import place as place_file
from palm_data.store.remote import is_url
from schemas.errors import ConflictError


class Stored(NamedTuple):
    """A small file as it was read."""

    content: bytes
    tag: str
    """What `put_replacing` is told, so that nobody's newer content is lost."""


class Place(Protocol):
    """Where releases are, for writing."""

    @property
    def name(self) -> str:
        """The place as a person would type it: a path or a URL."""

    def files(self, prefix: str = "") -> Files:
        """What lies below a prefix, for reading."""

    def folders(self) -> list[str]:
        """The names directly below that have something below them.

        Raises:
            io.UnsupportedOperation: if the place cannot be listed, as one behind a web server.
            StoreError: if a remote place refuses or does not answer.
        """

    def get(self, path: str) -> Stored | None:
        """A small file and its tag; None if there is none.

        Raises:
            StoreError: if a remote place refuses or does not answer.
        """

    def put_new(self, path: str, source: bytes | Path) -> None:
        """Create a file; it is read-only where there is such a thing.

        Raises:
            ConflictError: if there is one with other content; it was not changed.
            OSError: if the source cannot be read or the disk is full.
            StoreError: if a remote place refuses or does not answer.
        """

    def put_replacing(self, path: str, content: bytes, tag: str | None) -> None:
        """Replace a small file that is still what was read with this tag; None: create it.

        Raises:
            ConflictError: if it is something else by now; it was not changed.
            StoreError: if a remote place refuses or does not answer.
        """

    def copy(self, source: str, target: str) -> None:
        """Have a file's content at a second path, which holds nothing yet.

        Raises:
            FileNotFoundError: if there is no such file.
            StoreError: if a remote place refuses or does not answer.
        """

    def delete(self, path: str) -> None:
        """Have no file at a path.

        Raises:
            StoreError: if a remote place refuses or does not answer.
        """


class LocalPlace:
    """A folder of releases."""

    def __init__(self, root: Path) -> None:
        """Take the folder, which need not be there yet."""
        self.root = root.expanduser().absolute()

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.root)

    def files(self, prefix: str = "") -> Files:
        """What lies below a folder."""
        return LocalFiles(self.root / prefix)

    def folders(self) -> list[str]:
        """The folders directly below, sorted."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def get(self, path: str) -> Stored | None:
        """A small file; its tag is its digest."""
        try:
            content = (self.root / path).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(content, hashlib.sha256(content).hexdigest())

    def put_new(self, path: str, source: bytes | Path) -> None:
        """Create a file by a link that fails if there is one."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
        try:
            if isinstance(source, bytes):
                write_bytes(partial, source)
            else:
                place_file(source, partial)
            partial.chmod(0o444)
            os.link(partial, target)
        except FileExistsError:
            if file_sha256(target) != _digest(source):
                raise _conflict(str(target)) from None
        finally:
            partial.unlink(missing_ok=True)
        flush_directory(target.parent)

    def put_replacing(self, path: str, content: bytes, tag: str | None) -> None:
        """Replace a small file while nobody else replaces one beside it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.parent):
            found = self.get(path)
            if (found and found.tag) != tag:
                raise _conflict(str(target))
            write_bytes(target, content)

    def copy(self, source: str, target: str) -> None:
        """Link, clone or copy a file."""
        place_file(self.root / source, self.root / target)

    def delete(self, path: str) -> None:
        """Remove a file, and the folders that are empty without it."""
        target = self.root / path
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def place_at(location: str | Path) -> Place:
    """The place at a path or URL; it is not looked at yet.

    Raises:
        StoreError: if it is a URL that cannot be opened, or that carries credentials.
    """
    if is_url(location):
        from palm_data.store.remote_places import RemotePlace

        return RemotePlace(str(location))
    return LocalPlace(Path(location))


def _digest(source: bytes | Path) -> str:
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_sha256(source)


def _conflict(path: str) -> ConflictError:
    return ConflictError(
        f"{path}: expected nothing here, or what was read before; found something else. Nothing was changed."
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which dies with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
