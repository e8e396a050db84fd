from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.arrow import arrow_schema, rows_to_table, table_to_rows
from schemas.release import CameraRow, CaptureRow, FileRow, GestureRow, ImageRow, SplitRow, SubjectRow

SHA = st.binary(min_size=32, max_size=32).map(bytes.hex)
RELEASED = (CameraRow, CaptureRow, FileRow, GestureRow, ImageRow, SplitRow, SubjectRow)


class Kind(StrEnum):
    """A closed vocabulary."""

    ONE = "one"


class Everything(BaseModel):
    """Every kind of column. Second line, not shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flag: bool
    count: int
    size_m: Annotated[float, Field(description="Length, metres.")]
    name: str
    day: date
    moment: datetime
    kind: Kind
    choice: Literal["a", "b"]
    turn: Literal[0, 90]
    values: tuple[float, ...]
    perhaps: float | None
    perhaps_named: Annotated[str | None, Field(description="May be missing.")]


def test_each_type_has_its_column() -> None:
    schema = arrow_schema(Everything)
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("flag", "bool", False),
        ("count", "int64", False),
        ("size_m", "double", False),
        ("name", "string", False),
        ("day", "date32[day]", False),
        ("moment", "timestamp[us, tz=UTC]", False),
        ("kind", "string", False),
        ("choice", "string", False),
        ("turn", "int64", False),
        ("values", "list<item: double>", False),
        ("perhaps", "double", True),
        ("perhaps_named", "string", True),
    ]


def test_descriptions_travel_with_the_columns_and_the_table() -> None:
    schema = arrow_schema(Everything)
    assert schema.field("size_m").metadata == {b"description": b"Length, metres."}
    assert schema.metadata == {b"description": b"Every kind of column. Second line, not shown."}


@given(
    st.lists(
        st.builds(
            Everything,
            count=st.integers(-(2**63), 2**63 - 1),
            size_m=st.floats(allow_nan=False),
            moment=st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)),
            values=st.lists(st.floats(allow_nan=False)).map(tuple),
            perhaps=st.none() | st.floats(allow_nan=False),
            name=st.text(st.characters(exclude_categories=["Cs"])),
            perhaps_named=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=5,
    )
)
def test_rows_go_into_a_table_and_come_back_the_same(rows: list[Everything]) -> None:
    assert table_to_rows(Everything, rows_to_table(Everything, rows)) == rows


@given(st.lists(st.builds(FileRow, sha256=SHA, bytes=st.integers(0, 2**50), subject_id=st.none() | st.just("0001"))))
def test_released_rows_come_back_the_same(rows: list[FileRow]) -> None:
    assert table_to_rows(FileRow, rows_to_table(FileRow, rows)) == rows


@pytest.mark.parametrize("model", RELEASED)
def test_a_table_without_rows_keeps_its_columns(model: type[BaseModel]) -> None:
    assert rows_to_table(model, []).schema.equals(arrow_schema(model), check_metadata=True)


@pytest.mark.parametrize("model", RELEASED)
def test_every_released_number_says_what_it_is(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        if pa.types.is_floating(arrow_schema(model).field(name).type) or "_px" in name:
            assert field.description, name


def test_a_row_that_the_model_does_not_allow_is_refused() -> None:
    table = pa.Table.from_pylist([{"gesture": "Not A Slug", "description": "", "simple": True}])
    with pytest.raises(ValidationError, match="gesture"):
        table_to_rows(GestureRow, table)
