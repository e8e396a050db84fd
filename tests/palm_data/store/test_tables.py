from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_data.store.atomic import file_sha256
from palm_data.store.tables import read_rows, read_table, rows_bytes, write_rows
from schemas.errors import IntegrityError
from schemas.release import FileRow, GestureRow, SplitRow

ROWS = [FileRow(path=f"a/{n}", bytes=n, sha256=f"{n:064x}", modality="rgb", tier="full") for n in range(300)]


@given(
    st.lists(
        st.builds(GestureRow, gesture=st.from_regex(r"\A[a-z0-9]{1,9}\Z"), description=st.text(), simple=st.booleans())
    )
)
def test_rows_come_back_and_their_bytes_are_the_same_each_time(rows: list[GestureRow]) -> None:
    assert rows_bytes(GestureRow, rows) == rows_bytes(GestureRow, rows)


def test_rows_written_are_the_rows_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "files.parquet", FileRow, ROWS)
    assert read_rows(tmp_path / "files.parquet", FileRow) == ROWS


def test_any_parquet_reader_opens_the_table_and_finds_units_in_the_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "files.parquet", FileRow, ROWS)
    table = pq.read_table(tmp_path / "files.parquet", page_checksum_verification=True)
    assert table.schema.field("bytes").metadata == {b"description": b"Size.", b"unit": b"B"}


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "files.parquet", FileRow, ROWS)
    with pytest.raises(IntegrityError, match="expected columns subject_id string"):
        read_table(tmp_path / "files.parquet", SplitRow)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"none\.parquet: expected a table, found No such file"):
        read_table(tmp_path / "none.parquet", SplitRow)


def test_every_flipped_bit_is_found_by_a_reader_that_knows_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "files.parquet"
    write_rows(path, FileRow, ROWS[:3])
    digest, whole = file_sha256(path), path.read_bytes()
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="expected sha256"):
            read_table(path, FileRow, sha256=digest)


def test_a_flipped_bit_in_a_page_is_found_by_the_page_checksum_alone(tmp_path: Path) -> None:
    path = tmp_path / "files.parquet"
    write_rows(path, FileRow, ROWS)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start, whole = column.dictionary_page_offset or column.data_page_offset, path.read_bytes()
    damaged = bytearray(whole)
    damaged[start + column.total_compressed_size - 5] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=r"files\.parquet: expected a Parquet file"):
        read_table(path, FileRow)
