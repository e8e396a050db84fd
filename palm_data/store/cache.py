"""Keeping what was read of remote versions: by content, so that versions share it; bounded; verified in and out.

    <folder>/<2 digits>/<sha256>            a whole file
    <folder>/<2 digits>/<sha256>.<number>   a block of a shard object, and its CRC-32

Whole files are held to their released digest before they are kept and when they are read. Blocks are parts of files
whose digest is of the whole: they are kept with a checksum of their own, and what is in them, tiles, has checksums that
the loader verifies in any case. What is damaged here is read again from its source, never returned.

Several processes may share a folder: what is kept appears whole, by a rename. Each looks at the whole folder once it
has added a share of the bound, and then forgets what was used longest ago, so that the folder may be a few per cent over the
bound for a while.
"""

import hashlib
import os
import sys
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from palm_data.store.files import Files
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, parse_manifest
from palm_data.store.tables import parse_table
from schemas.ids import Sha256, SubjectId
from schemas.release import FileRow

BLOCK = 1 << 17
"""Bytes of a block: about one tile of an image."""
_CHECKSUM = 4
_SHARE = 1 / 32
"""How much of the bound a process adds before it looks at the folder again."""
_KEPT = 0.9
"""How much of the bound is left when something was forgotten."""


def default_cache() -> Path:
    """The folder for what may be lost, as the operating system has it."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "palm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palm"


class CacheFolder:
    """What is kept, by names; knows nothing of versions."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take the folder, which need not be there yet, and how much may be in it."""
        self.folder, self.max_bytes = folder, max_bytes
        self._added: int | None = None
        """Since the folder was looked at; None: it never was."""

    def get(self, name: str) -> bytes | None:
        """What is kept under a name, which counts as used now; None if there is nothing."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # a folder that is shared read-only
            os.utime(path)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Keep something, if that is possible: a full or read-only disk is no reason for a reader to fail."""
        if len(content) > self.max_bytes * _KEPT:
            return
        path = self._path(name)
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            try:
                partial.write_bytes(content)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError:
            return
        if self._added is not None:
            self._added += len(content)
        if self._added is None or self._added > self.max_bytes * _SHARE:
            self.shrink()

    def drop(self, name: str) -> None:
        """Forget what is kept under a name."""
        with suppress(OSError):
            self._path(name).unlink()

    def purge(self, digests: Collection[Sha256]) -> int:
        """Forget everything of files with these digests, whole or in blocks; returns the bytes that are gone.

        Raises:
            OSError: if something cannot be deleted.
        """
        gone, wanted = 0, set(digests)
        for path, size, _ in list(self._kept()):
            if path.name.partition(".")[0] in wanted:
                path.unlink(missing_ok=True)
                gone += size
        return gone

    def size(self, digests: Collection[Sha256] | None = None) -> int:
        """Bytes kept; of files with these digests only, if some are given."""
        wanted = None if digests is None else set(digests)
        return sum(size for path, size, _ in self._kept() if wanted is None or path.name.partition(".")[0] in wanted)

    def shrink(self) -> None:
        """Forget what was used longest ago, as far as there is more than the bound; and what writers left that died."""
        self._added = 0
        kept = sorted(self._kept(), key=lambda one: one[2])
        total = sum(size for _, size, _ in kept)
        if total <= self.max_bytes:
            return
        for path, size, _ in kept:
            if total <= self.max_bytes * _KEPT:
                return
            with suppress(OSError):
                path.unlink()
            total -= size

    def _kept(self) -> Iterator[tuple[Path, int, float]]:
        """Each file that is kept, its bytes, and when it was last used; others may be at work here."""
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    stat = (Path(parent) / name).stat()
                    yield Path(parent) / name, stat.st_size, stat.st_mtime

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name


class CachedFiles:
    """A version's files, of which what was read once is kept on this machine."""

    def __init__(self, files: Files, cache: CacheFolder) -> None:
        """Take the files and where to keep what is read of them; nothing is read yet."""
        self.files, self.cache = files, cache
        self._rows: dict[str, tuple[int, Sha256]] | None = None
        self._manifest: bytes | None = None

    @property
    def name(self) -> str:
        """The place that is read from."""
        return self.files.name

    def read(self, path: str) -> bytes:
        """A whole file, kept under its digest; the manifest is asked for anew by each reader."""
        if path == MANIFEST_FILE:
            self._manifest = self.files.read(path)
            return self._manifest
        known = self._known(path)
        return self.files.read(path) if known is None else self._whole(path, known[1])

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file, out of whole blocks of it that are kept."""
        known = self._known(path)
        if known is None:
            return self.files.read_ranges(path, ranges)
        size, digest = known
        spans = [(start, min(start + length, size)) for start, length in ranges]
        numbers = sorted({number for start, stop in spans for number in range(start // BLOCK, -(-stop // BLOCK))})
        blocks = self._blocks(path, size, digest, numbers)
        return [_cut(blocks, start, stop) for start, stop in spans]

    def size(self, path: str) -> int | None:
        """Bytes of a file, as the version's own table says; what that does not list is asked for."""
        known = self._known(path)
        return self.files.size(path) if known is None else known[0]

    def forget(self, path: str) -> None:
        """Keep nothing of a file: a block that came damaged from its source would otherwise outlive a mended source."""
        if (known := self._known(path)) is not None:
            size, digest = known
            for name in (digest, *(f"{digest}.{number}" for number in range(-(-size // BLOCK)))):
                self.cache.drop(name)

    def paths(self) -> Iterator[str]:
        """Every file."""
        return self.files.paths()

    def sizes(self) -> dict[str, int | None]:
        """Every file with its bytes."""
        return self.files.sizes()

    def _known(self, path: str) -> tuple[int, Sha256] | None:
        """Size and digest of a file of the version; None if it lists none."""
        if path == MANIFEST_FILE:
            return None
        if self._rows is None:
            content = self._manifest if self._manifest is not None else self.read(MANIFEST_FILE)
            digest = parse_manifest(content, f"{self.name}/{MANIFEST_FILE}").files_sha256
            content = self._whole(FILES_FILE, digest)
            table = parse_table(content, f"{self.name}/{FILES_FILE}", FileRow, sha256=digest)
            columns = (table[name].to_pylist() for name in ("path", "bytes", "sha256"))
            rows = {path: (size, sha256) for path, size, sha256 in zip(*columns, strict=True)}
            self._rows = {**rows, FILES_FILE: (len(content), digest)}
        return self._rows.get(path)

    def _whole(self, path: str, digest: Sha256) -> bytes:
        kept = self.cache.get(digest)
        if kept is not None:
            if hashlib.sha256(kept).hexdigest() == digest:
                return kept
            self.cache.drop(digest)
        content = self.files.read(path)
        if hashlib.sha256(content).hexdigest() == digest:  # or whoever asked says what is wrong
            self.cache.put(digest, content)
        return content

    def _blocks(self, path: str, size: int, digest: Sha256, numbers: Sequence[int]) -> dict[int, bytes]:
        """Whole blocks of a file, those that are not kept by one call."""
        found = {number: block for number in numbers if (block := self._kept(digest, number, size)) is not None}
        missing = [number for number in numbers if number not in found]
        if missing:
            read = self.files.read_ranges(path, [(number * BLOCK, _block_bytes(number, size)) for number in missing])
            for number, block in zip(missing, read, strict=True):
                if len(block) == _block_bytes(number, size):
                    self.cache.put(f"{digest}.{number}", block + zlib.crc32(block).to_bytes(_CHECKSUM))
                found[number] = block
        return found

    def _kept(self, digest: Sha256, number: int, size: int) -> bytes | None:
        name = f"{digest}.{number}"
        kept = self.cache.get(name)
        if kept is None:
            return None
        block = kept[:-_CHECKSUM]
        if len(block) != _block_bytes(number, size) or zlib.crc32(block).to_bytes(_CHECKSUM) != kept[-_CHECKSUM:]:
            self.cache.drop(name)
            return None
        return block


def digests_of_subjects(rows: Iterable[FileRow], subjects: Collection[SubjectId]) -> set[Sha256]:
    """What `CacheFolder.purge` is to be told so that nothing of these subjects is left of a version with these files:
    their arrays, and what is about everybody (tables, texts).
    """
    return {row.sha256 for row in rows if row.subject_id is None or row.subject_id in subjects}


def _block_bytes(number: int, size: int) -> int:
    return min(BLOCK, size - number * BLOCK)


def _cut(blocks: dict[int, bytes], start: int, stop: int) -> bytes:
    """A range out of the blocks that it lies in; shorter if those are."""
    if stop <= start:
        return b""
    first = start // BLOCK
    together = b"".join(blocks[number] for number in range(first, -(-stop // BLOCK)))
    return together[start - first * BLOCK : stop - first * BLOCK]
