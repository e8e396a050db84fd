"""What changed in the tables of two versions: columns, and rows by subject and capture."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.side import Side
from schemas.errors import IntegrityError
from schemas.ids import SubjectId

_PACKING = {"captures": ("array_index",), "subjects": ("captures",), "images": ("view_index",)}
"""Columns that say where something lies, or count what other rows say."""


class ColumnChange(BaseModel):
    """A column that was added, removed, or is of another type; null: there was or is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    table: str
    column: str
    before: Annotated[str | None, Field(description="Its Arrow type, with `, may be null` if it may.")]
    after: str | None

    @property
    def breaking(self) -> bool:
        """Whether a program that reads the column as it was may fail, or read something else."""
        return self.before is not None and self.before not in (self.after, f"{self.after}{_NULLABLE}")

    @property
    def text(self) -> str:
        """What the later version does."""
        name = f"column {self.table}.{self.column}"
        if self.before is None:
            return f"adds {name} ({self.after})"
        return f"removes {name}" if self.after is None else f"makes {name} {self.after} (was {self.before})"


_NULLABLE = ", may be null"


def frames_by_subject(side: Side) -> dict[SubjectId, dict[int, int]]:
    """Subject → frame of each capture → its row of the subject's arrays."""
    table = side.table("captures").select(["subject_id", "frame", "array_index"])
    people = side.table("subjects")["subject_id"].to_pylist()
    found: dict[SubjectId, dict[int, int]] = {subject_id: {} for subject_id in people}
    for row in table.to_pylist():
        found.setdefault(row["subject_id"], {})[row["frame"]] = row["array_index"]
    return found


class TableChanges(NamedTuple):
    """What changed in a table that both versions have."""

    columns: tuple[ColumnChange, ...]
    """Those that differ in name, type or whether they may be null."""
    frames: Mapping[SubjectId, frozenset[int]]
    """Whose rows differ in the columns of both → the frames of those rows; none, if the table has no frames but one row
    or a few of the subject."""


def changed_table(name: str, before: Side, after: Side, subjects: Sequence[SubjectId]) -> TableChanges:
    """Compare a table of both; it is read, once, only if it differs by digest.

    Raises:
        IntegrityError: if it is damaged.
    """
    if _same(name, before, after):
        return TableChanges((), {})
    tables = before.table(name), after.table(name)
    columns, found = _common(name, *tables), {}
    if "subject_id" in columns:
        bounds = [_bounds(name, side, table) for side, table in zip((before, after), tables, strict=True)]
        for subject_id in subjects:
            earlier, later = (
                table.slice(*where.get(subject_id, (0, 0))).select(columns)
                for table, where in zip(tables, bounds, strict=True)
            )
            if not _equal(earlier, later):
                found[subject_id] = _frames(earlier, later) if "frame" in columns else frozenset()
    frames = {subject_id: some for subject_id, some in found.items() if some or "frame" not in columns}
    return TableChanges(tuple(schema_changes(name, tables[0].schema, tables[1].schema)), frames)


def schema_changes(name: str, before: pa.Schema, after: pa.Schema) -> list[ColumnChange]:
    """The columns that differ; their order and descriptions may be others."""
    earlier = {field.name: _type(field) for field in before}
    later = {field.name: _type(field) for field in after}
    return [
        ColumnChange(table=name, column=column, before=earlier.get(column), after=later.get(column))
        for column in sorted(earlier.keys() | later.keys())
        if earlier.get(column) != later.get(column)
    ]


def changed_rows(name: str, key: str, before: Side, after: Side) -> tuple[str, ...]:
    """The keys of a table that both versions have, with other values in the columns that both have."""
    if name not in before.tables or name not in after.tables or _same(name, before, after):
        return ()
    old, new = before.table(name), after.table(name)
    columns = _common(name, old, new)
    earlier, later = ({row[key]: row for row in table.select(columns).to_pylist()} for table in (old, new))
    return tuple(sorted(one for one in earlier.keys() & later.keys() if earlier[one] != later[one]))


def _same(name: str, before: Side, after: Side) -> bool:
    path = f"tables/{name}.parquet"
    return before.rows[path].sha256 == after.rows[path].sha256


def _type(field: pa.Field) -> str:
    return f"{field.type}{_NULLABLE if field.nullable else ''}"


def _common(name: str, old: pa.Table, new: pa.Table) -> list[str]:
    """Columns of one type in both; what another type holds is another column's matter."""
    packing: Collection[str] = _PACKING.get(name, ())
    return [
        field.name for field in old.schema
        if field.name in new.column_names and new.schema.field(field.name).type == field.type and field.name not in packing
    ]  # fmt: skip


def _bounds(name: str, side: Side, table: pa.Table) -> dict[SubjectId, tuple[int, int]]:
    """Start and number of each subject's rows."""
    if not table.num_rows:
        return {}
    runs = pc.run_end_encode(table["subject_id"].combine_chunks())
    stops, names = runs.run_ends.to_pylist(), runs.values.to_pylist()
    if len(set(names)) != len(names):
        raise IntegrityError(
            f"tables/{name}.parquet of {side.version}: expected each subject's rows in one piece, found several."
        )
    return {
        subject_id: (start, stop - start)
        for subject_id, start, stop in zip(names, [0, *stops[:-1]], stops, strict=True)
    }


def _equal(earlier: pa.Table, later: pa.Table) -> bool:
    """Whether the values are the same; nullability is the schema's matter."""
    return earlier.num_rows == later.num_rows and all(
        first.equals(second) for first, second in zip(earlier.columns, later.columns, strict=True)
    )


def _frames(earlier: pa.Table, later: pa.Table) -> frozenset[int]:
    old, new = _by_frame(earlier), _by_frame(later)
    return frozenset(frame for frame in old.keys() | new.keys() if old.get(frame) != new.get(frame))


def _by_frame(table: pa.Table) -> Mapping[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["frame"], []).append(row)
    return found
