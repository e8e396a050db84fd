"""Reading a version's files, wherever they lie: in a folder, an object store, behind a web server or in a cache.

Everything that reads a release reads it through `Files`, by paths relative to the version with forward slashes, so
that there is one way to do so for all places.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable


class Files(Protocol):
    """The files below one place. May be sent to other processes."""

    @property
    def name(self) -> str:
        """The place as a person would type it, for messages: a path or a URL."""

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            FileNotFoundError: if there is none.
            OSError: if it cannot be read.
            StoreError: if a remote place refuses or does not answer: nothing is known of the file then.
        """

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, each given as (start, length) in bytes; a part past the end comes back shorter.

        Raises:
            FileNotFoundError: if there is no such file.
            OSError: if it cannot be read.
            StoreError: as `read`.
        """

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none (a folder or a link is none).

        Raises:
            OSError: if that cannot be found out.
            StoreError: as `read`.
        """

    def paths(self) -> Iterator[str]:
        """Every file, in no order; links are named and not followed.

        Raises:
            io.UnsupportedOperation: if the place cannot be listed, as one behind a web server.
            StoreError: as `read`.
        """

    def sizes(self) -> dict[str, int | None]:
        """Every file with its bytes, as `size` has it, at the cost of listing them.

        Raises:
            io.UnsupportedOperation: as `paths`.
            StoreError: as `read`.
        """


@runtime_checkable
class Keeping(Protocol):
    """Files of which parts are kept nearer than they lie."""

    def forget(self, path: str) -> None:
        """Read this file from its source again: what came of it was not what was released."""


class LocalFiles:
    """The files of a folder."""

    def __init__(self, root: Path) -> None:
        """Take the folder; it is not looked at yet."""
        self.root = root

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.root)

    def read(self, path: str) -> bytes:
        """A whole file."""
        return (self.root / path).read_bytes()

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, each given as (start, length) in bytes."""
        # Without O_NONBLOCK, a named pipe in a file's place would have us wait for ever.
        descriptor = os.open(f"{self.root}/{path}", os.O_RDONLY | os.O_NONBLOCK)
        try:
            return [_read_part(descriptor, start, length) for start, length in ranges]
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none."""
        place = self.root / path
        return place.stat().st_size if place.is_file() and not place.is_symlink() else None

    def paths(self) -> Iterator[str]:
        """Every file and link below the folder."""
        for parent, folders, names in os.walk(self.root):
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in (*names, *links):
                yield (Path(parent) / name).relative_to(self.root).as_posix()

    def sizes(self) -> dict[str, int | None]:
        """Every file with its bytes; of a link, None."""
        return {path: self.size(path) for path in self.paths()}


def as_files(place: "Path | Files") -> "Files":
    """The files of a folder; what is `Files` already stays what it is."""
    return LocalFiles(place) if isinstance(place, Path) else place


def _read_part(descriptor: int, start: int, length: int) -> bytes:
    """As much of a part as there is; one call of the system reads no more than 2 GiB."""
    part = os.pread(descriptor, length, start)
    while part and len(part) < length:
        more = os.pread(descriptor, length - len(part), start + len(part))
        if not more:
            break
        part += more
    return part
