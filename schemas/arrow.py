"""Arrow schemas derived from the row models: same columns, same order; description, unit and frame in the field metadata."""

import types
import typing
from datetime import date, datetime
from enum import StrEnum

import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.column import Frame, Unit

Row = typing.TypeVar("Row", bound=BaseModel)

_SCALARS: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def _arrow_type(annotation: object) -> tuple[pa.DataType, bool]:
    """The Arrow type of a Python annotation, and whether it may be null."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _arrow_type(args[0])
    if origin in (typing.Union, types.UnionType):
        (inner,) = [arg for arg in args if arg is not type(None)]
        return _arrow_type(inner)[0], True
    if origin is typing.Literal:
        return _SCALARS[type(args[0])], False
    if origin is tuple:
        return pa.list_(_arrow_type(args[0])[0]), False
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return pa.string(), False
    return _SCALARS[typing.cast(type, annotation)], False


def _arrow_field(name: str, info: FieldInfo) -> pa.Field:
    data_type, nullable = _arrow_type(info.annotation)
    metadata = {"description": info.description} if info.description else {}
    metadata |= {type(one).__name__.lower(): one.name for one in info.metadata if isinstance(one, Unit | Frame)}
    return pa.field(name, data_type, nullable=nullable, metadata=metadata or None)


def arrow_schema(model: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a flat row model; the model's docstring becomes the table's description."""
    fields = [_arrow_field(name, info) for name, info in model.model_fields.items()]
    return pa.schema(fields, metadata={"description": (model.__doc__ or "").strip().splitlines()[0]})


def rows_to_table(model: type[BaseModel], rows: typing.Sequence[BaseModel]) -> pa.Table:
    """The rows as an Arrow table under the model's schema, in the order given."""
    return pa.Table.from_pylist([row.model_dump() for row in rows], schema=arrow_schema(model))


def table_to_rows(model: type[Row], table: pa.Table) -> list[Row]:
    """The table's rows as models, validated.

    Raises:
        pydantic.ValidationError: if a value is not what the model allows.
    """
    return [model.model_validate(row) for row in table.to_pylist()]
