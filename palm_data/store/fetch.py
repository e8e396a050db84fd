"""Copying a version here, or parts of it: in several files at once, going on where an earlier try stopped, each checked.

<to>/.fetching/<version>/<sha256>…   what is not whole yet, by its content; grows, and is moved when it is whole
<to>/<version>/…                     read-only files, each of which was whole and right when it appeared
<to>/<version>/fetched.json          which part of the version this is; none if it is all of it
<to>/<version>/manifest.json         last: now the copy opens
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import Lock

from palm_data.store.atomic import flush_directory, write_bytes
from palm_data.store.fetched import FETCHED_FILE, Fetched, Selection, fetched_bytes, read_fetched
from palm_data.store.file_table import file_rows
from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, manifest_bytes, read_manifest
from palm_data.store.objects import describe_difference
from palm_data.store.places import place_at
from palm_data.store.withdrawals import STATUS, read_status
from schemas.errors import ConflictError, IntegrityError, StoreError
from schemas.release import FileRow, Manifest
from schemas.withdrawal import VersionStatus

_FETCHING = ".fetching"
_AT_ONCE = 8
_PIECE = 1 << 23
_SPARE_BYTES = 1 << 26
"""What is to stay free on the disk beside what is fetched."""


@dataclass(frozen=True)
class FetchPlan:
    """What is to be copied from where to where; nothing was written yet."""

    source: Files
    manifest: Manifest
    to: Path
    fetched: Fetched
    rows: Sequence[FileRow]
    """All files that the copy is to have, those of earlier fetches too."""
    status: VersionStatus
    """Who of the version withdrew, as the source says; their files are not copied."""

    @property
    def folder(self) -> Path:
        """Where the copy will be."""
        return self.to / self.manifest.version

    @cached_property
    def missing(self) -> tuple[FileRow, ...]:
        """The files that are not there in full size."""
        return tuple(row for row in self.rows if LocalFiles(self.folder).size(row.path) != row.bytes)

    @property
    def missing_bytes(self) -> int:
        """What is to be fetched, less what an earlier try left."""
        begun = self.to / _FETCHING / self.manifest.version
        have = {path.name: path.stat().st_size for path in begun.iterdir()} if begun.is_dir() else {}
        return sum(max(row.bytes - have.get(_part_name(row), 0), 0) for row in self.missing)

    @property
    def free_bytes(self) -> int:
        """What the disk has left there."""
        there = next(path for path in (self.to, *self.to.parents) if path.exists())
        return shutil.disk_usage(there).free


def plan_fetch(source: Files, to: Path, selection: Selection) -> FetchPlan:
    """Look at what a fetch would copy; nothing is written.

    Raises:
        ConflictError: if there is another version of the same number.
        ConsentError: if a subject is selected who withdrew.
        IntegrityError: if the source's manifest, files table or status is damaged.
        StoreError: if the source has no version, or not what is selected, or it refuses or does not answer.
    """
    manifest, rows = read_manifest(source), _safe_rows(source)
    selection.checked(rows, source.name)
    status = _status(source, manifest)
    selection = selection.consented(rows, status)
    to = to.expanduser().absolute()
    selections = [selection]
    earlier = _earlier(to / manifest.version, manifest)
    if earlier is not None:
        selections += [one for one in earlier.selections if one != selection]
    fetched = Fetched(
        version=manifest.version, merkle_root=manifest.merkle_root, source=source.name, selections=tuple(selections)
    )
    wanted = [row for row in rows if fetched.takes(row) and row.subject_id not in status.withdrawn_ids]
    return FetchPlan(source=source, manifest=manifest, to=to, fetched=fetched, rows=wanted, status=status)


def plan_repair(source: Files, to: Path, _selection: Selection) -> FetchPlan:
    """Look at what mending a copy would copy again, beside what a look at its content finds; nothing is written.

    Raises:
        ConflictError: as `plan_fetch`.
        IntegrityError: as `plan_fetch`, or if it is not known any more what was fetched.
        StoreError: as `plan_fetch`, and if there is no copy.
    """
    to = to.expanduser().absolute()
    manifest, rows = read_manifest(source), _safe_rows(source)
    folder = to / manifest.version
    if not folder.is_dir():
        raise StoreError(f"{folder}: expected a copy to mend, found none. Fetch one without --repair.")
    _earlier(folder, manifest)
    earlier = read_fetched(LocalFiles(folder))
    if earlier is None:
        whole = (Selection(),)
        earlier = Fetched(
            version=manifest.version, merkle_root=manifest.merkle_root, source=source.name, selections=whole
        )
    status = _status(source, manifest)
    wanted = [row for row in rows if earlier.takes(row) and row.subject_id not in status.withdrawn_ids]
    return FetchPlan(source=source, manifest=manifest, to=to, fetched=earlier, rows=wanted, status=status)


def fetch(plan: FetchPlan, *, progress: Callable[[int, int], None] | None = None) -> tuple[str, ...]:
    """Carry a plan out: afterwards the copy opens, and everything planned was verified. Returns the paths that were copied.

    Files that are there already are read and checked, and copied again if they are not right: this is how damage is
    mended, too.

    Args:
        progress: called with bytes that are there and bytes in all.

    Raises:
        ConflictError: if another fetch of this version into this folder is at work.
        IntegrityError: if the source's files are damaged; what was fetched until then stays.
        StoreError: if the disk is too small, or the source refuses or does not answer.
    """
    needed = plan.missing_bytes + _SPARE_BYTES
    if needed > plan.free_bytes:
        raise StoreError(
            f"{plan.to}: expected {needed / 1e9:.2f} GB free, found {plan.free_bytes / 1e9:.2f} GB. Nothing was fetched. "
            "Choose fewer subjects or modalities, or another disk with --to."
        )
    with _alone(plan.to / _FETCHING, plan.manifest.version) as parts:
        copied = _copy_all(plan, parts, progress)
        _finish(plan)
    return tuple(copied)


def _status(source: Files, manifest: Manifest) -> VersionStatus:
    return read_status(place_at(source.name.rpartition("/")[0]), manifest.version)


def _safe_rows(source: Files) -> list[FileRow]:
    """The files of a version, none of which would be written outside its folder or over what makes it a copy.

    Raises:
        IntegrityError: if one would be.
    """
    rows = file_rows(source)
    for row in rows:
        path = PurePosixPath(row.path)
        strange = path.is_absolute() or ".." in path.parts or str(path) != row.path or not row.path.isprintable()
        if strange or "\\" in row.path or row.path in (FILES_FILE, MANIFEST_FILE, FETCHED_FILE):
            raise IntegrityError(
                f"{source.name}/{FILES_FILE}: path: expected one below the version's folder, found {row.path!r}. Nothing was "
                "fetched. Do not trust this source."
            )
    return rows


def _earlier(folder: Path, manifest: Manifest) -> Fetched | None:
    """What was fetched here before, of the same version.

    Raises:
        ConflictError: if it is of another version of the same number.
    """
    files = LocalFiles(folder)
    try:
        there = read_manifest(files).merkle_root
        earlier = read_fetched(files)
    except StoreError:  # none, or a damaged one, which is replaced
        return None
    if there != manifest.merkle_root:
        raise ConflictError(
            f"{folder}: expected no version {manifest.version}, or one with merkle root {manifest.merkle_root}; found one "
            f"with {there}. Nothing was changed. Fetch into another folder."
        )
    whole = Fetched(version=manifest.version, merkle_root=there, source="", selections=(Selection(),))
    return earlier or whole


def _copy_all(plan: FetchPlan, parts: Path, progress: Callable[[int, int], None] | None) -> list[str]:
    total, lock = sum(row.bytes for row in plan.rows), Lock()
    done, copied = [0], []

    def moved(count: int) -> None:
        with lock:
            done[0] += count
            if progress is not None:
                progress(done[0], total)

    def one(row: FileRow) -> None:
        if describe_difference(plan.folder / row.path, size=row.bytes, sha256=row.sha256) is None:
            moved(row.bytes)
            return
        _copy(plan.source, row, parts / _part_name(row), plan.folder / row.path, moved)
        with lock:
            copied.append(row.path)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(one, row) for row in plan.rows]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(copied)


def _copy(source: Files, row: FileRow, part: Path, target: Path, moved: Callable[[int], None]) -> None:
    """Fetch what a part lacks, check the whole, and put it in its place.

    Raises:
        IntegrityError: if the source has other content than the version's table of files says.
    """
    begun = part.stat().st_size if part.exists() else 0
    moved(min(begun, row.bytes))
    _grow(source, row, part, moved)
    found = describe_difference(part, size=row.bytes, sha256=row.sha256)
    if found is not None and begun:  # what an earlier try left was no good
        part.unlink()
        _grow(source, row, part, lambda _: None)
        found = describe_difference(part, size=row.bytes, sha256=row.sha256)
    if found is not None:
        part.unlink()
        raise IntegrityError(
            f"{source.name}/{row.path}: expected {found[0]}, found {found[1]}. The source is damaged: fetch from another "
            "copy of this version. What was fetched so far stays."
        )
    part.chmod(0o444)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    flush_directory(target.parent)


def _part_name(row: FileRow) -> str:
    """By content, so that nothing of another file is gone on with; and by path, since two files may have one content."""
    return f"{row.sha256}.{hashlib.sha256(row.path.encode()).hexdigest()[:16]}"


def _grow(source: Files, row: FileRow, part: Path, moved: Callable[[int], None]) -> None:
    """Append to a part until it has the size it should have, or the source has no more."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        while stream.tell() < row.bytes:
            try:
                start = stream.tell()
                piece = source.read_ranges(row.path, [(start, min(_PIECE, row.bytes - start))])[0]
            except FileNotFoundError:
                return
            if not piece:
                return
            stream.write(piece)
            moved(len(piece))
        stream.flush()
        os.fsync(stream.fileno())


def _finish(plan: FetchPlan) -> None:
    """Have the copy open as what it is; who withdrew is known beside it before it opens."""
    if plan.status.withdrawn:
        write_bytes(plan.to / STATUS / f"{plan.manifest.version}.json", plan.status.model_dump_json(indent=1).encode())
    for name, content in (
        (FILES_FILE, plan.source.read(FILES_FILE)),
        (FETCHED_FILE, fetched_bytes(plan.fetched)),
        (MANIFEST_FILE, manifest_bytes(plan.manifest)),
    ):
        target = plan.folder / name
        if name == FETCHED_FILE and any(one.everything for one in plan.fetched.selections):
            target.unlink(missing_ok=True)
        elif not target.is_file() or target.is_symlink() or target.read_bytes() != content:
            write_bytes(target, content)
            target.chmod(0o444)


def _names(path: Path, descriptor: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _alone(fetching: Path, version: str) -> Iterator[Path]:
    """The folder of what is not whole yet, which nobody else uses; removed when all is whole.

    Raises:
        ConflictError: if somebody else uses it.
    """
    parts = fetching / version
    parts.mkdir(parents=True, exist_ok=True)
    lock = fetching / f"{version}.lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _names(lock, descriptor):  # its holder unlinked it after we had opened it: another may be in its place
            raise BlockingIOError
        parts.mkdir(exist_ok=True)
        yield parts
        shutil.rmtree(parts)
        lock.unlink(missing_ok=True)
        with suppress(OSError):  # somebody fetches another version
            fetching.rmdir()
    except BlockingIOError:
        raise ConflictError(
            f"{fetching.parent}: expected to be the only one who fetches {version} into it, found another one at work."
        ) from None
    finally:
        os.close(descriptor)
