"""The tables beside the captures: people, gestures, and each person's session."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from palm_data.capture.raw_files import read_bounded, require_inside
from schemas.capture import Gesture, Session, Subject
from schemas.errors import BadInputError
from schemas.ids import SubjectId

SUBJECTS_FILE = "subjects.csv"
GESTURES_FILE = "gestures.csv"
SESSION_FILE = "session.json"
_MAX_TABLE_BYTES = 16 << 20
_MAX_SESSION_BYTES = 1 << 20

Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True)
class RowTable(Generic[Row]):
    """A table's rows by key; the rows that are wrong stand aside, by key too, and cost nobody else."""

    source: Path
    key: str
    rows: Mapping[str, Row]
    problems: Mapping[str, BadInputError]

    def row(self, key: str) -> Row:
        """The row of a key.

        Raises:
            BadInputError: if there is none, or it is wrong.
        """
        if key in self.problems:
            raise self.problems[key]
        if key not in self.rows:
            raise BadInputError(
                self.source,
                field=self.key,
                expected=f"a row for {key!r}",
                found="none",
                hint="Ids are text: a spreadsheet drops leading zeros.",
            )
        return self.rows[key]


def read_subjects(raw: Path) -> RowTable[Subject]:
    """The people of `subjects.csv`.

    Raises:
        BadInputError: if the file is missing or not a table of exactly the columns of `Subject`.
    """
    require_inside(raw / SUBJECTS_FILE, raw)
    return _read_table(raw / SUBJECTS_FILE, Subject, key="subject_id")


def read_gestures(raw: Path) -> RowTable[Gesture]:
    """The gestures of `gestures.csv`.

    Raises:
        BadInputError: if the file is missing or not a table of exactly the columns of `Gesture`.
    """
    require_inside(raw / GESTURES_FILE, raw)
    return _read_table(raw / GESTURES_FILE, Gesture, key="gesture")


def read_session(raw: Path, subject_id: SubjectId) -> Session:
    """What `session.json` says of a subject's visit.

    Raises:
        BadInputError: if the file is missing or not a session; names the key.
    """
    path = raw / subject_id / SESSION_FILE
    require_inside(path, raw)
    try:
        return Session.model_validate_json(read_bounded(path, max_bytes=_MAX_SESSION_BYTES))
    except ValidationError as error:
        raise _from_validation(path, error, prefix="") from None


def _read_table(path: Path, model: type[Row], *, key: str) -> RowTable[Row]:
    rows: dict[str, Row] = {}
    problems: dict[str, BadInputError] = {}
    for line, cells in _csv_rows(path, set(model.model_fields)):
        name = cells.get(key) or ""
        if name in rows or name in problems:
            rows.pop(name, None)
            problems[name] = BadInputError(
                path, field=f"line {line}, {key}", expected="one row for each", found=f"{name!r} again"
            )
            continue
        try:
            rows[name] = model.model_validate(cells)
        except ValidationError as error:
            problems[name] = _from_validation(path, error, prefix=f"line {line}, ")
    return RowTable(source=path, key=key, rows=rows, problems=problems)


def _csv_rows(path: Path, columns: set[str]) -> list[tuple[int, dict[str, str | None]]]:
    """The rows as line number and cells, blanks trimmed, empty lines left out."""
    reader = csv.DictReader(io.StringIO(_decoded(read_bounded(path, max_bytes=_MAX_TABLE_BYTES)), newline=""))
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        if set(header) != columns or len(header) != len(columns):
            raise BadInputError(
                path,
                field="line 1 (columns)",
                expected=", ".join(sorted(columns)),
                found=", ".join(header) or "none",
                hint="Columns are separated by commas; nothing else about a person is accepted.",
            )
        rows = [(reader.line_num, dict(cells)) for cells in reader]
    except csv.Error as error:
        raise BadInputError(path, field=f"line {reader.line_num}", expected="a CSV row", found=error) from None
    for line, cells in rows:
        if None in cells:
            raise BadInputError(path, field=f"line {line}", expected=f"{len(columns)} cells", found="more")
    return [(line, {k: v.strip() if v else v for k, v in cells.items()}) for line, cells in rows if any(cells.values())]


def _decoded(content: bytes) -> str:
    """UTF-8 with or without a byte order mark; else Latin-1, as older rig software writes."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _from_validation(path: Path, error: ValidationError, *, prefix: str) -> BadInputError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return BadInputError(path, field="content", expected="whole JSON", found=first["msg"])
    where = ".".join(map(str, first["loc"])) or "content"
    return BadInputError(path, field=f"{prefix}{where}", expected=first["msg"], found=repr(first["input"])[:120])
