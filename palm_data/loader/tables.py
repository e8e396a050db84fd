"""The tables of a version, held to their released digests, and what is looked up in them."""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from palm_data.store.manifest import FILES_FILE, read_manifest
from palm_data.store.tables import read_table
from schemas.arrow import table_to_rows
from schemas.camera import Camera, Matrix3, Row3
from schemas.errors import IntegrityError, StoreError
from schemas.ids import Sha256, SubjectId
from schemas.release import CameraRow, CaptureRow, FileRow, GestureRow, ImageRow, Manifest, SplitRow, SubjectRow

Row = TypeVar("Row", bound=BaseModel)
Where: TypeAlias = Mapping[str, object] | pc.Expression

MODELS: Mapping[str, type[BaseModel]] = {
    "subjects": SubjectRow,
    "gestures": GestureRow,
    "captures": CaptureRow,
    "images": ImageRow,
    "cameras": CameraRow,
    "splits": SplitRow,
}


class Tables:
    """A version's manifest and tables."""

    def __init__(self, folder: Path) -> None:
        """Read and verify them.

        Raises:
            IntegrityError: if the manifest, the files table or a table is damaged or missing.
        """
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self._files = read_table(folder / FILES_FILE, FileRow, sha256=self.manifest.files_sha256)
        digests = dict(zip(self._files["path"].to_pylist(), self._files["sha256"].to_pylist(), strict=True))
        self._tables: dict[str, pa.Table] = {}
        for name, model in MODELS.items():
            path = f"tables/{name}.parquet"
            if path not in digests:
                raise IntegrityError(f"{folder / path}: expected this table in {FILES_FILE}, found none.")
            self._tables[name] = read_table(folder / path, model, sha256=digests[path])

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without what is derived."""
        return {name: value for name, value in self.__dict__.items() if name != "wide"}

    def __getitem__(self, name: str) -> pa.Table:
        """A table by its name, as released."""
        try:
            return self._tables[name]
        except KeyError:
            raise StoreError(f"{self.folder}: tables: expected one of {', '.join(MODELS)}, found {name!r}.") from None

    @cached_property
    def wide(self) -> pa.Table:
        """The captures in their order, with what is known of their subject, split and gesture beside them."""
        wide = self["captures"].append_column("_row", pa.array(np.arange(self["captures"].num_rows)))
        for name, key in (("subjects", "subject_id"), ("splits", "subject_id"), ("gestures", "gesture")):
            columns = [column for column in self[name].column_names if column not in ("captures", "since")]
            wide = wide.join(self[name].select(columns), key)
        return wide.sort_by("_row").drop_columns(["_row"])

    def matching(self, where: Where) -> np.ndarray:
        """Which rows of `wide` satisfy the condition, one bool a row.

        Raises:
            StoreError: if it names a column that is not there, or compares one with a value of another type.
        """
        condition = self._condition(where) if isinstance(where, Mapping) else where
        try:
            rows = self.wide.append_column("_row", pa.array(np.arange(self.wide.num_rows))).filter(condition)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise StoreError(f"where: expected a condition on {', '.join(self.wide.column_names)}: {error}") from error
        return np.isin(np.arange(self.wide.num_rows), rows["_row"].to_numpy())

    def rows(self, name: str, model: type[Row], subject_id: SubjectId) -> tuple[Row, ...]:
        """A subject's rows of a table, in their order.

        Raises:
            StoreError: if there are none.
        """
        rows = self[name].filter(pc.field("subject_id") == subject_id)
        if not rows.num_rows:
            raise StoreError(
                f"{self.folder}: expected a subject of version {self.manifest.version}, found {subject_id!r}."
            )
        return tuple(table_to_rows(model, rows))

    def images(self, subject_id: SubjectId, frame: int) -> tuple[ImageRow, ...]:
        """The rows of a capture's images, in the order of the views."""
        rows = self["images"].filter((pc.field("subject_id") == subject_id) & (pc.field("frame") == frame))
        return tuple(table_to_rows(ImageRow, rows))

    def shard_files(self, subject_id: SubjectId) -> dict[str, tuple[int, Sha256]]:
        """Size and digest of each file of a subject's group, by its path in the group."""
        prefix = f"shards/{subject_id}.zarr/"
        rows = self._files.filter(pc.starts_with(self._files["path"], prefix))
        return {row["path"].removeprefix(prefix): (row["bytes"], row["sha256"]) for row in rows.to_pylist()}

    def _condition(self, where: Mapping[str, object]) -> pc.Expression:
        condition = pc.scalar(True)
        for column, value in where.items():
            if column not in self.wide.column_names:
                raise StoreError(
                    f"where: expected columns among {', '.join(self.wide.column_names)}, found {column!r}."
                )
            several = isinstance(value, Collection) and not isinstance(value, str)
            field = pc.field(column)
            condition = condition & (field.isin(list(cast("Collection[object]", value))) if several else field == value)
        return condition


def released_camera(row: CameraRow) -> Camera:
    """The camera of the undistorted image."""
    k, pose = np.reshape(row.intrinsics, (3, 3)), np.reshape(row.world_to_camera, (4, 4))
    return Camera(
        camera_id=row.camera_id,
        calibration_id=row.calibration_id,
        width=row.width,
        height=row.height,
        fx=k[0, 0],
        fy=k[1, 1],
        cx=k[0, 2],
        cy=k[1, 2],
        rotation=cast("Matrix3", pose[:3, :3].tolist()),
        translation=cast("Row3", pose[:3, 3].tolist()),
        turn_deg=row.turn_deg,
    )
