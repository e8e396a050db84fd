"""What our own exports carry beside the official layout: which capture became which file, and the release's rows of them.

<out>/palm_export.json           subject → frames, hand convention, what was left out; not read by the official code
<out>/palm_tables/*.parquet      the release's tables, of the exported captures: people, gestures, splits, joints, quality, …
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.capture.raw_files import read_bounded
from palm_data.hand.model import SHIPPED_MODEL
from palm_data.interop.official_layout import VALIDATION_FRAMES
from palm_data.interop.official_plan import LeftOut
from palm_data.loader.release import Release
from palm_data.loader.tables import MODELS
from palm_data.store.atomic import file_sha256, write_bytes
from palm_data.store.label_tables import LABEL_MODELS
from palm_data.store.tables import read_rows, table_bytes
from schemas.errors import IntegrityError, PalmError
from schemas.hand import HandConvention
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.release import GestureRow

RECORD_FILE = "palm_export.json"
TABLES = "palm_tables"
_MAX_BYTES = 64 << 20
Row = TypeVar("Row", bound=BaseModel)


class OfficialExport(BaseModel):
    """What was exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: VersionId
    merkle_root: Sha256
    hand_convention: HandConvention
    scaled: Annotated[bool, Field(description="Whether images are smaller than the release's.")]
    subjects: Annotated[
        dict[SubjectId, tuple[int, ...]],
        Field(description="Subject → the release's frame numbers; the first one became file 000001."),
    ]
    left_out: tuple[LeftOut, ...]

    @property
    def frames(self) -> int:
        """How many captures were exported."""
        return sum(map(len, self.subjects.values()))

    @property
    def standin(self) -> bool:
        """Whether the hands' numbers belong to the shipped stand-in, which the official code does not have."""
        return self.hand_convention.model_sha256 == file_sha256(SHIPPED_MODEL)

    @property
    def validation_subjects(self) -> tuple[SubjectId, ...]:
        """The subjects with as many frames as the official validation asks for."""
        return tuple(one for one, frames in self.subjects.items() if len(frames) >= VALIDATION_FRAMES)


def read_record(out: Path) -> OfficialExport:
    """What an exported folder says of itself.

    Raises:
        IntegrityError: if its record is missing or damaged.
    """
    path = out / RECORD_FILE
    try:
        return OfficialExport.model_validate_json(read_bounded(path, max_bytes=_MAX_BYTES))
    except (PalmError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected the record of an export, found {error}. Export again.") from error


def write_tables(release: Release, record: OfficialExport, folder: Path) -> None:
    """The release's rows of the exported captures; in-image joints only if the images are the release's."""
    for name in (*MODELS, *LABEL_MODELS):
        table = _of(release.tables[name], record)
        write_bytes(
            folder / TABLES / f"{name}.parquet",
            table_bytes(table.slice(0, 0) if name == "keypoints_2d" and record.scaled else table),
        )


class Sidecar:
    """The record and rows of an export of ours, or nothing, of somebody else's release."""

    def __init__(self, root: Path) -> None:
        """Look for them.

        Raises:
            IntegrityError: if there is a record, but it or a table is damaged.
        """
        self.record = read_record(root) if (root / RECORD_FILE).is_file() else None
        self._root = root
        self._rows: dict[str, dict[SubjectId, list[Any]]] = {}

    @cached_property
    def digest(self) -> Sha256:
        """SHA-256 of the record and the tables; of nothing, if there are none."""
        found = sorted((self._root / TABLES).glob("*.parquet")) if self.record is not None else []
        parts = [path.name + file_sha256(path) for path in found]
        record = "" if self.record is None else self.record.model_dump_json()
        return hashlib.sha256("\n".join([record, *parts]).encode()).hexdigest()

    def frame(self, subject_id: SubjectId, number: int) -> int:
        """The release's frame that a file number stands for; the number itself, if nothing says."""
        frames = self.record.subjects.get(subject_id, ()) if self.record is not None else ()
        return frames[number - 1] if 1 <= number <= len(frames) else number

    def rows(self, name: str, model: type[Row], subject_id: SubjectId, **key: object) -> list[Row]:
        """A subject's rows of a table whose columns have these values; none, if there is no such table."""
        if self.record is None:
            return []
        if name not in self._rows:
            self._rows[name] = {}
            for row in read_rows(self._root / TABLES / f"{name}.parquet", model):
                self._rows[name].setdefault(getattr(row, "subject_id", ""), []).append(row)
        theirs: list[Row] = self._rows[name].get(subject_id, [])
        return [row for row in theirs if all(getattr(row, column) == value for column, value in key.items())]

    def gestures(self) -> list[GestureRow]:
        """The gestures of the release."""
        return self.rows("gestures", GestureRow, "")


def _of(table: pa.Table, record: OfficialExport) -> pa.Table:
    """The rows of the exported subjects, and of their captures."""
    if "subject_id" not in table.column_names:
        return table
    if "frame" not in table.column_names:
        return table.filter(pc.field("subject_id").isin(list(record.subjects)))
    kept = pc.scalar(False)
    for subject_id, frames in record.subjects.items():
        kept = kept | ((pc.field("subject_id") == subject_id) & pc.field("frame").isin(list(frames)))
    return table.filter(kept)


def updated(row: Row, values: Mapping[str, Any]) -> Row:
    """The row with other values, validated."""
    return type(row).model_validate({**row.model_dump(), **values})
