"""Verification: every byte of a published version against its files table, manifest and merkle root."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.fetched import FETCHED_FILE, read_fetched
from palm_data.store.files import Files, LocalFiles, as_files
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, read_manifest
from palm_data.store.merkle import merkle_root
from palm_data.store.tables import load_rows
from schemas.errors import IntegrityError, StoreError
from schemas.ids import Sha256, VersionId
from schemas.release import FileRow, Manifest, SplitRow

_OUTSIDE = (MANIFEST_FILE, FILES_FILE)
_SPLITS_FILE = "tables/splits.parquet"
_PIECE = 1 << 24
_AT_ONCE = 8
"""Remote files that are read at once."""


class FileProblem(BaseModel):
    """A file that is not what was published."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: Annotated[str, Field(description="Relative to the version's folder, forward slashes.")]
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}."


class VerifyReport(BaseModel):
    """What a verification looked at, and what it found wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    version: VersionId | None
    deep: Annotated[bool, Field(description="True: every byte was read; False: presence and sizes only.")]
    files: Annotated[int, Field(ge=0, description="Files looked at, the manifest and the files table included.")]
    bytes: Annotated[int, Field(ge=0, description="The size they should have together, bytes.")]
    merkle_root: Annotated[str | None, Field(description="Computed from the files table; null if that is damaged.")]
    problems: tuple[FileProblem, ...]
    not_fetched: Annotated[int, Field(ge=0, description="Files left out of a partial copy on purpose.")] = 0
    not_fetched_bytes: Annotated[int, Field(ge=0, description="Their size, bytes.")] = 0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_release(
    place: Path | Files, *, deep: bool = True, progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Compare a version with what was published, file by file; nothing is changed.

    Each damaged, missing, truncated or extra file is named. Damage is reported, never raised. Where files cannot be
    listed (behind a web server), extra ones are not looked for.

    Args:
        place: the version's folder, or its files wherever they lie.
        deep: read every byte; otherwise only presence and sizes are looked at (the manifest and the files table are
            read in any case).
        progress: called with bytes looked at and bytes in all.

    Raises:
        StoreError: if there is no version here, or a remote place refuses or does not answer.
    """
    files = as_files(place)
    if files.size(MANIFEST_FILE) is None:
        read_manifest(files)
    problems: list[FileProblem] = []
    manifest = _manifest(files, problems)
    rows = _files(files, manifest, problems)
    size = sum(files.size(name) or 0 for name in _OUTSIDE)
    if rows is None:
        return VerifyReport(
            version=manifest and manifest.version, deep=deep, files=2, bytes=size, merkle_root=None,
            problems=tuple(problems),
        )  # fmt: skip
    absent = _not_fetched(files, rows, problems)
    problems.extend(differences(files, set(rows) - absent, deep=deep, progress=progress))
    root = merkle_root(rows)
    if manifest is not None:
        problems.extend(_contradictions(files, manifest, rows, root))
    return VerifyReport(
        version=manifest and manifest.version,
        deep=deep,
        files=len(rows) - len(absent) + len(_OUTSIDE),
        bytes=sum(row.bytes for row in rows) - sum(row.bytes for row in absent) + size,
        not_fetched=len(absent),
        not_fetched_bytes=sum(row.bytes for row in absent),
        merkle_root=root,
        problems=tuple(problems),
    )


def differences(
    place: Path | Files, rows: Iterable[FileRow], *, deep: bool, progress: Callable[[int, int], None] | None = None
) -> Iterator[FileProblem]:
    """What is wrong with the files, compared with the rows; by path."""
    files = as_files(place)
    expected = {row.path: row for row in rows}
    present = _present(files, expected)
    done, total = 0, sum(row.bytes for row in expected.values())

    def look(path: str) -> FileProblem | None:
        if path not in expected:
            return FileProblem(path=path, expected="no such file in this version", found="one")
        return _difference(files, expected[path], present, deep=deep)

    paths = sorted(expected.keys() | present.keys() - {*_OUTSIDE, FETCHED_FILE})
    with ThreadPoolExecutor(1 if isinstance(files, LocalFiles) else _AT_ONCE) as pool:
        for path, problem in zip(paths, pool.map(look, paths), strict=True):
            if problem is not None:
                yield problem
            done += expected[path].bytes if path in expected else 0
            if progress is not None:
                progress(done, total)


def _present(files: Files, paths: Iterable[str]) -> Mapping[str, int | None]:
    """Path → size of the files that are there; of these paths only, where files cannot be listed."""
    try:
        return files.sizes()
    except io.UnsupportedOperation:
        return {path: size for path in paths if (size := files.size(path)) is not None}


def _not_fetched(files: Files, rows: Sequence[FileRow], problems: list[FileProblem]) -> set[FileRow]:
    """The files that a partial copy leaves out on purpose, and that are not there."""
    try:
        fetched = read_fetched(files)
    except IntegrityError as error:
        problems.append(_whole(FETCHED_FILE, "what was fetched, as palm fetch wrote it", error))
        return set()
    if fetched is None:
        return set()
    present = _present(files, [row.path for row in rows])
    return {row for row in rows if not fetched.takes(row) and row.path not in present}


def _difference(files: Files, row: FileRow, present: Mapping[str, int | None], *, deep: bool) -> FileProblem | None:
    """What is wrong with one file, given which there are and their sizes."""
    size = present.get(row.path)
    if size is None:
        folder = any(path.startswith(f"{row.path}/") for path in present)
        found = "a symbolic link" if row.path in present else "a folder" if folder else "nothing"
        return FileProblem(path=row.path, expected=f"a file of {row.bytes} bytes", found=found)
    if size != row.bytes:
        return FileProblem(path=row.path, expected=f"{row.bytes} bytes", found=f"{size} bytes")
    if not deep:
        return None
    try:
        digest = files_sha256(files, row.path, row.bytes)
    except OSError as error:
        expected = f"a readable file of {row.bytes} bytes"
        return FileProblem(path=row.path, expected=expected, found=error.strerror or str(error))
    return (
        None
        if digest == row.sha256
        else FileProblem(path=row.path, expected=f"sha256 {row.sha256}", found=f"sha256 {digest}")
    )


def files_sha256(files: Files, path: str, size: int) -> Sha256:
    """SHA-256 of the first bytes of a file, read piece by piece.

    Raises:
        OSError: if it cannot be read.
        StoreError: if a remote place refuses or does not answer.
    """
    digest = hashlib.sha256()
    for start in range(0, size, _PIECE):
        digest.update(files.read_ranges(path, [(start, min(_PIECE, size - start))])[0])
    return digest.hexdigest()


def _manifest(files: Files, problems: list[FileProblem]) -> Manifest | None:
    try:
        manifest = read_manifest(files)
    except StoreError as error:
        problems.append(_whole(MANIFEST_FILE, "the manifest that was published", error))
        return None
    name = files.name.rstrip("/").rpartition("/")[2]
    if manifest.version != name:
        problems.append(
            FileProblem(path=MANIFEST_FILE, expected=f"version {name}, as the folder", found=manifest.version)
        )
    return manifest


def _files(files: Files, manifest: Manifest | None, problems: list[FileProblem]) -> list[FileRow] | None:
    """The rows of the files table, as far as it can be trusted."""
    try:
        if manifest is not None:
            found = hashlib.sha256(files.read(FILES_FILE)).hexdigest()
            if found != manifest.files_sha256:
                problems.append(
                    FileProblem(path=FILES_FILE, expected=f"sha256 {manifest.files_sha256}", found=f"sha256 {found}")
                )
                return None
        return load_rows(files, FILES_FILE, FileRow)
    except (OSError, IntegrityError) as error:
        problems.append(_whole(FILES_FILE, "the table of files that was published", error))
        return None


def _contradictions(files: Files, manifest: Manifest, rows: list[FileRow], root: str) -> Iterator[FileProblem]:
    """Where the manifest says something else than the files do."""
    if root != manifest.merkle_root:
        yield FileProblem(path=MANIFEST_FILE, expected=f"merkle root {manifest.merkle_root}", found=root)
    counts = {"files": len(rows), "bytes": sum(row.bytes for row in rows)}
    for name, value in counts.items():
        if manifest.counts.get(name) != value:
            yield FileProblem(path=MANIFEST_FILE, expected=f"{name} {manifest.counts.get(name)}", found=str(value))
    try:
        splits = load_rows(files, _SPLITS_FILE, SplitRow)
    except IntegrityError:
        return  # named already
    for split in manifest.splits:
        found = tuple(row.subject_id for row in splits if row.split == split)
        if found != manifest.splits[split]:
            yield FileProblem(path=_SPLITS_FILE, expected=f"{split}: {manifest.splits[split]}", found=str(found))


def _whole(path: str, expected: str, error: Exception) -> FileProblem:
    return FileProblem(path=path, expected=expected, found=f"{type(error).__name__}: {error}")
