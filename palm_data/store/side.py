"""One of two versions that are compared: one that is published, or one that is about to be."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from palm_data.store.file_table import file_rows
from palm_data.store.files import Files
from palm_data.store.manifest import read_manifest
from schemas.errors import IntegrityError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.release import SCHEMA_VERSION, FileRow

SHARDS = "shards/"
Scalar = str | int | float | bool | None


class Source(Protocol):
    """A file to publish: what it has to be, and where it lies."""

    @property
    def row(self) -> FileRow:
        """What it has to be."""

    @property
    def source(self) -> Path | bytes:
        """Where its content is."""


@dataclass(frozen=True)
class Side:
    """What is known of a version without its place."""

    version: VersionId
    schema_version: str
    settings: Mapping[str, Scalar]
    rows: Mapping[str, FileRow]
    """Path → file."""
    fetch: Callable[[str], bytes]
    """The content of a file, by its path."""

    def read(self, path: str) -> bytes:
        """The content of a file, held to its digest.

        Raises:
            IntegrityError: if it is missing or damaged.
        """
        try:
            content = self.fetch(path)
        except OSError as error:
            raise IntegrityError(f"{path} of {self.version}: expected a file, found {error.strerror}.") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.rows[path].sha256:
            raise IntegrityError(
                f"{path} of {self.version}: expected sha256 {self.rows[path].sha256}, found {found}. "
                f"Run: palm verify {self.version}"
            )
        return content

    def table(self, name: str) -> pa.Table:
        """A table with the columns that it has, whatever this code would write.

        Raises:
            IntegrityError: if it is missing or damaged.
        """
        path = f"tables/{name}.parquet"
        try:
            content = pa.BufferReader(self.read(path))
            return pq.ParquetFile(content, page_checksum_verification=True).read(use_threads=False)
        except (ValueError, pa.ArrowException) as error:
            raise IntegrityError(f"{path} of {self.version}: expected a Parquet file, found {error}") from error

    def json(self, path: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            IntegrityError: if it is missing, damaged or something else.
        """
        try:
            values = json.loads(self.read(path))
        except ValueError as error:
            raise IntegrityError(f"{path} of {self.version}: expected JSON, found {error}") from error
        if not isinstance(values, dict):
            raise IntegrityError(f"{path} of {self.version}: expected a JSON object, found {type(values).__name__}.")
        return values

    @cached_property
    def group_files(self) -> Mapping[SubjectId, Mapping[str, Sha256]]:
        """Subject → path in the subject's group → digest."""
        found: dict[SubjectId, dict[str, Sha256]] = {}
        for path, row in self.rows.items():
            group, _, inner = path.removeprefix(SHARDS).partition(".zarr/")
            if path.startswith(SHARDS) and inner:
                found.setdefault(group, {})[inner] = row.sha256
        return found

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables, sorted."""
        names = (path.removeprefix("tables/") for path in self.rows if path.startswith("tables/"))
        return tuple(sorted(name.removesuffix(".parquet") for name in names if name.endswith(".parquet")))


def published_side(files: Files) -> Side:
    """A published version.

    Raises:
        StoreError: if there is none.
        IntegrityError: if its manifest or its files table is damaged.
    """
    manifest = read_manifest(files)
    return Side(
        version=manifest.version,
        schema_version=manifest.schema_version,
        settings=manifest.settings,
        rows={row.path: row for row in file_rows(files)},
        fetch=files.read,
    )


def planned_side(
    version: VersionId,
    settings: Mapping[str, Scalar],
    files: Iterable[Source],
    *,
    schema_version: str = SCHEMA_VERSION,
) -> Side:
    """A version that is not published yet, as this code writes it.

    Args:
        files: each file, and where its content comes from.
    """
    sources = {one.row.path: one for one in files}

    def fetch(path: str) -> bytes:
        source = sources[path].source
        return source if isinstance(source, bytes) else source.read_bytes()

    rows = {path: one.row for path, one in sources.items()}
    return Side(version=version, schema_version=schema_version, settings=settings, rows=rows, fetch=fetch)
