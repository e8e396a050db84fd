"""The files of a zip archive from somebody else, read where they lie: nothing is unpacked by the names it gives.

Every member is looked at before any is read: a name that climbs out of the archive, a link, a second file of one name,
or sizes beyond bounds refuse the whole archive.
"""

import errno
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from schemas.errors import BadInputError, StoreError

MAX_MEMBERS = 50_000
MAX_MEMBER_BYTES = 512 << 20
MAX_TOTAL_BYTES = 64 << 30
_OTHERS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What unpacks in memory of a known size: an LZMA header may ask for a window of 4 GiB."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
"""What `zipfile` raises for a damaged, encrypted (`RuntimeError`) or unknown (`NotImplementedError`, one of these) file."""
_NOT_THE_DISK = (None, errno.EINVAL, errno.ENOENT, errno.EISDIR)
"""What an `OSError` says that comes of the archive itself: a place before its start, no such file."""


class ZipFiles:
    """The files of an archive, or of a folder in it; reads one at a time, held to its CRC-32 and its stated size."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        """Open and look through it.

        Args:
            prefix: a folder in the archive, with a slash at its end; only what is below it is seen.

        Raises:
            BadInputError: if it is no archive, or holds what none of ours would.
            StoreError: if the disk would not give it.
        """
        self.path, self.prefix = path, prefix
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (OSError, *_DAMAGE) as error:
            _refuse_disk(path, error)
            raise BadInputError(path, field="archive", expected="a readable zip file", found=error) from error
        if len(members) > MAX_MEMBERS:
            raise BadInputError(path, field="members", expected=f"at most {MAX_MEMBERS}", found=len(members))
        self._sizes: dict[str, int] = {}
        for member in members:
            if not member.is_dir():
                self._take(member)
        if (total := sum(self._sizes.values())) > MAX_TOTAL_BYTES:
            raise self._bad("size", f"at most {MAX_TOTAL_BYTES} bytes unpacked", total)

    @property
    def name(self) -> str:
        """The archive, and the folder in it."""
        return f"{self.path}/{self.prefix}".rstrip("/")

    def below(self, prefix: str) -> "ZipFiles":
        """The files of a folder in the archive."""
        return ZipFiles(self.path, self.prefix + prefix)

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            FileNotFoundError: if there is none.
            BadInputError: if it is damaged, encrypted, or longer than it says.
            StoreError: if the disk would not give it; that may pass, so nothing is held against the file.
        """
        size = self.size(path)
        if size is None:
            raise FileNotFoundError(f"{self.name}/{path}")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.prefix + path) as stream:
                content = stream.read(size + 1)
        except (OSError, *_DAMAGE) as error:
            _refuse_disk(self.path, error)
            raise self._bad(self.prefix + path, "a whole, plain file", error) from error
        if len(content) != size:
            raise self._bad(self.prefix + path, f"{size} bytes", len(content))
        return content

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, each given as (start, length) in bytes."""
        content = self.read(path)
        return [content[start : start + length] for start, length in ranges]

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none."""
        return self._sizes.get(self.prefix + path)

    def paths(self) -> Iterator[str]:
        """Every file below the folder."""
        return (path.removeprefix(self.prefix) for path in self._sizes if path.startswith(self.prefix))

    def sizes(self) -> dict[str, int | None]:
        """Every file with its bytes."""
        return {path: self.size(path) for path in self.paths()}

    def _take(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        plain = PurePosixPath(name)
        if not name or "\\" in member.orig_filename or ":" in name or plain.is_absolute() or ".." in plain.parts:
            raise self._bad(repr(member.orig_filename), "a name inside the archive", "one that leads out of it")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise self._bad(name, "a plain file", "a link or device")
        if name in self._sizes:
            raise self._bad(name, "one file of this name", "two")
        if member.compress_type not in _METHODS:
            found = _OTHERS.get(member.compress_type, f"method {member.compress_type}")
            raise self._bad(name, "a file stored or deflated", found)
        if member.file_size > MAX_MEMBER_BYTES:
            raise self._bad(name, f"at most {MAX_MEMBER_BYTES} bytes", member.file_size)
        self._sizes[name] = member.file_size

    def _bad(self, field: str, expected: str, found: object) -> BadInputError:
        return BadInputError(
            self.path,
            field=field,
            expected=expected,
            found=found,
            hint="Nothing was unpacked. Download the file again.",
        )


def _refuse_disk(path: Path, error: Exception) -> None:
    if isinstance(error, OSError) and error.errno not in _NOT_THE_DISK:
        raise StoreError(
            f"{path}: expected to read it, found {error.strerror}. Check the disk and run again."
        ) from error
