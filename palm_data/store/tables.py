"""Parquet tables: the same rows give the same bytes, and every page carries a checksum.

A page checksum does not cover a file's footer, so whoever knows a table's SHA-256 has `read_table` hold it to that.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from palm_data.store.atomic import write_bytes
from palm_data.store.files import Files, LocalFiles
from palm_data.store.workspace import StageRecord
from schemas.arrow import arrow_schema, rows_to_table, table_to_rows
from schemas.errors import IntegrityError
from schemas.ids import Sha256, SubjectId

Row = TypeVar("Row", bound=BaseModel)

_ROW_GROUP = 1 << 16


def table_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file; a function of its rows and schema alone."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks(),
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=_ROW_GROUP,
        write_page_checksum=True,
        version="2.6",
        data_page_version="1.0",
    )
    return sink.getvalue().to_pybytes()


def rows_bytes(model: type[BaseModel], rows: Sequence[BaseModel]) -> bytes:
    """The rows as a Parquet file, in the order given."""
    return table_bytes(rows_to_table(model, rows))


def write_rows(path: Path, model: type[BaseModel], rows: Sequence[BaseModel]) -> None:
    """Write the rows as a Parquet file, in the order given; it appears whole or not at all."""
    write_bytes(path, rows_bytes(model, rows))


def read_table(path: Path, model: type[BaseModel], *, sha256: Sha256 | None = None) -> pa.Table:
    """A local table of the model's columns, with its page checksums (and its digest, if given) verified.

    Raises:
        IntegrityError: if the file is missing or damaged, or its columns are not the model's.
    """
    return load_table(LocalFiles(path.parent), path.name, model, sha256=sha256)


def load_table(files: Files, file: str, model: type[BaseModel], *, sha256: Sha256 | None = None) -> pa.Table:
    """A table of a version, wherever that lies; as `read_table`.

    Raises:
        IntegrityError: as `read_table`.
        StoreError: if a remote place refuses or does not answer.
    """
    path = f"{files.name}/{file}"
    try:
        content = files.read(file)
    except OSError as error:
        raise IntegrityError(f"{path}: expected a table, found {error.strerror}.") from error
    return parse_table(content, path, model, sha256=sha256)


def parse_table(content: bytes, path: str, model: type[BaseModel], *, sha256: Sha256 | None = None) -> pa.Table:
    """The table that these bytes are; as `read_table`.

    Raises:
        IntegrityError: as `read_table`; says where it lies.
    """
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise IntegrityError(
            f"{path}: expected sha256 {sha256}, found {found}. The file was damaged or edited after it was written."
        )
    try:
        # Not pq.read_table: its threads, beside torch's, now and then abort a short process as it exits.
        table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read(use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: expected a Parquet file, found {error}") from error
    expected = arrow_schema(model)
    if not _reads_as(table.schema, expected):
        raise IntegrityError(f"{path}: expected columns {_columns(expected)}, found {_columns(table.schema)}.")
    return table if table.schema.equals(expected) else table.cast(expected.with_metadata(table.schema.metadata))


def concatenated(
    name: str, model: type[BaseModel], records: Mapping[SubjectId, StageRecord], folders: Mapping[SubjectId, Path]
) -> pa.Table:
    """The rows of `tables/<name>.parquet` of several outputs, one subject after the other.

    Raises:
        IntegrityError: if a table is missing or damaged.
    """
    parts = []
    for subject_id, record in records.items():
        path = f"tables/{name}.parquet"
        (digest,) = (item.sha256 for item in record.outputs if item.path == path)
        parts.append(read_table(folders[subject_id] / path, model, sha256=digest))
    return pa.concat_tables(parts)


def read_rows(path: Path, model: type[Row], *, sha256: Sha256 | None = None) -> list[Row]:
    """The table's rows as models, validated.

    Raises:
        IntegrityError: as `read_table`, and if a value is not what the model allows.
    """
    return load_rows(LocalFiles(path.parent), path.name, model, sha256=sha256)


def load_rows(files: Files, file: str, model: type[Row], *, sha256: Sha256 | None = None) -> list[Row]:
    """The rows of a version's table as models, wherever that lies; as `read_rows`.

    Raises:
        IntegrityError: as `read_rows`.
        StoreError: if a remote place refuses or does not answer.
    """
    table = load_table(files, file, model, sha256=sha256)
    try:
        return table_to_rows(model, table)
    except ValidationError as error:
        raise IntegrityError(f"{files.name}/{file}: expected rows of {model.__name__}, found {error}") from error


def _reads_as(found: pa.Schema, expected: pa.Schema) -> bool:
    """Whether the columns are the expected ones; older tables promise a value where newer ones may have none."""
    return found.names == expected.names and all(
        old.type == new.type and (new.nullable or not old.nullable) for old, new in zip(found, expected, strict=True)
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
