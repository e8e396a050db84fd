"""Verification: every byte of a published version against its files table, manifest and merkle root."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, read_manifest
from palm_data.store.merkle import merkle_root
from palm_data.store.objects import describe_difference
from palm_data.store.tables import read_rows
from schemas.errors import IntegrityError, StoreError
from schemas.ids import VersionId
from schemas.release import FileRow, Manifest, SplitRow

_OUTSIDE = (MANIFEST_FILE, FILES_FILE)
_SPLITS_FILE = "tables/splits.parquet"


class FileProblem(BaseModel):
    """A file that is not what was published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(description="Relative to the version's folder, forward slashes.")]
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}."


class VerifyReport(BaseModel):
    """What a verification looked at, and what it found wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: VersionId | None
    deep: Annotated[bool, Field(description="True: every byte was read; False: presence and sizes only.")]
    files: Annotated[int, Field(ge=0, description="Files looked at, the manifest and the files table included.")]
    bytes: Annotated[int, Field(ge=0, description="The size they should have together, bytes.")]
    merkle_root: Annotated[str | None, Field(description="Computed from the files table; null if that is damaged.")]
    problems: tuple[FileProblem, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_release(
    folder: Path, *, deep: bool = True, progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Compare a version's folder with what was published, file by file; nothing is changed.

    Each damaged, missing, truncated or extra file is named. Damage is reported, never raised.

    Args:
        deep: read every byte; otherwise only presence and sizes are looked at (the manifest and the files table are
            read in any case).
        progress: called with bytes looked at and bytes in all.

    Raises:
        StoreError: if there is no version in the folder.
    """
    if not (folder / MANIFEST_FILE).exists():
        read_manifest(folder)
    problems: list[FileProblem] = []
    manifest = _manifest(folder, problems)
    rows = _files(folder, manifest, problems)
    size = sum(path.stat().st_size for path in (folder / name for name in _OUTSIDE) if path.is_file())
    if rows is None:
        return VerifyReport(
            version=manifest and manifest.version, deep=deep, files=2, bytes=size, merkle_root=None,
            problems=tuple(problems),
        )  # fmt: skip
    problems.extend(differences(folder, rows, deep=deep, progress=progress))
    root = merkle_root(rows)
    if manifest is not None:
        problems.extend(_contradictions(folder, manifest, rows, root))
    return VerifyReport(
        version=manifest and manifest.version,
        deep=deep,
        files=len(rows) + len(_OUTSIDE),
        bytes=sum(row.bytes for row in rows) + size,
        merkle_root=root,
        problems=tuple(problems),
    )


def differences(
    folder: Path, rows: Iterable[FileRow], *, deep: bool, progress: Callable[[int, int], None] | None = None
) -> Iterator[FileProblem]:
    """What is wrong with the files below a folder, compared with the rows; by path."""
    expected = {row.path: row for row in rows}
    present = set(_walk(folder)) - set(_OUTSIDE)
    done, total = 0, sum(row.bytes for row in expected.values())
    for path in sorted(expected.keys() | present):
        row = expected.get(path)
        if row is None:
            yield FileProblem(path=path, expected="no such file in this version", found="one")
            continue
        difference = describe_difference(folder / path, size=row.bytes, sha256=row.sha256 if deep else None)
        if difference is not None:
            yield FileProblem(path=path, expected=difference[0], found=difference[1])
        done += row.bytes
        if progress is not None:
            progress(done, total)


def _manifest(folder: Path, problems: list[FileProblem]) -> Manifest | None:
    try:
        manifest = read_manifest(folder)
    except StoreError as error:
        problems.append(_whole(MANIFEST_FILE, "the manifest that was published", error))
        return None
    if manifest.version != folder.name:
        problems.append(
            FileProblem(path=MANIFEST_FILE, expected=f"version {folder.name}, as the folder", found=manifest.version)
        )
    return manifest


def _files(folder: Path, manifest: Manifest | None, problems: list[FileProblem]) -> list[FileRow] | None:
    """The rows of the files table, as far as it can be trusted."""
    path = folder / FILES_FILE
    try:
        if manifest is not None:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != manifest.files_sha256:
                problems.append(
                    FileProblem(path=FILES_FILE, expected=f"sha256 {manifest.files_sha256}", found=f"sha256 {found}")
                )
                return None
        return read_rows(path, FileRow)
    except (OSError, IntegrityError) as error:
        problems.append(_whole(FILES_FILE, "the table of files that was published", error))
        return None


def _contradictions(folder: Path, manifest: Manifest, rows: list[FileRow], root: str) -> Iterator[FileProblem]:
    """Where the manifest says something else than the files do."""
    if root != manifest.merkle_root:
        yield FileProblem(path=MANIFEST_FILE, expected=f"merkle root {manifest.merkle_root}", found=root)
    counts = {"files": len(rows), "bytes": sum(row.bytes for row in rows)}
    for name, value in counts.items():
        if manifest.counts.get(name) != value:
            yield FileProblem(path=MANIFEST_FILE, expected=f"{name} {manifest.counts.get(name)}", found=str(value))
    try:
        splits = read_rows(folder / _SPLITS_FILE, SplitRow)
    except IntegrityError:
        return  # named already
    for split in manifest.splits:
        found = tuple(row.subject_id for row in splits if row.split == split)
        if found != manifest.splits[split]:
            yield FileProblem(path=_SPLITS_FILE, expected=f"{split}: {manifest.splits[split]}", found=str(found))


def _walk(folder: Path) -> Iterator[str]:
    """Every file and link below a folder, relative to it; links are not followed."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _whole(path: str, expected: str, error: Exception) -> FileProblem:
    return FileProblem(path=path, expected=expected, found=f"{type(error).__name__}: {error}")
