"""The tables of a version, held to their released digests, and what is looked up in them.

The tables of labels are large, so each is read when it is first asked for; a version of captures only has none.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from palm_data.loader.location import labelled_beside
from palm_data.store.files import Files
from palm_data.store.label_tables import CONVENTION_FILE, LABEL_MODELS
from palm_data.store.manifest import FILES_FILE, read_manifest
from palm_data.store.tables import load_table
from schemas.arrow import table_to_rows
from schemas.camera import Camera, Matrix3, Row3
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandConvention
from schemas.ids import Sha256, SubjectId
from schemas.quality import QualityRow
from schemas.release import (
    MONO_MODELS,
    CameraRow,
    CaptureRow,
    FileRow,
    GestureRow,
    ImageRow,
    Manifest,
    MonoImageRow,
    SplitRow,
    SubjectRow,
)
from schemas.tier import Tier, in_order

if TYPE_CHECKING:
    import pyarrow.compute as pc

Row = TypeVar("Row", bound=BaseModel)
Where: TypeAlias = "str | Mapping[str, object] | pc.Expression"

MODELS: Mapping[str, type[BaseModel]] = {
    "subjects": SubjectRow,
    "gestures": GestureRow,
    "captures": CaptureRow,
    "images": ImageRow,
    "cameras": CameraRow,
    "splits": SplitRow,
}
"""The tables that every version has."""
_OPTIONAL: Mapping[str, type[BaseModel]] = {**LABEL_MODELS, **MONO_MODELS}
"""Those that some versions have, read when they are asked for."""
_DERIVED = ("wide", "hand_convention", "tiers")
_QUALITY_COLUMNS = tuple(name for name in QualityRow.model_fields if name not in ("subject_id", "frame"))


class Tables:
    """A version's manifest and tables."""

    def __init__(self, files: Files) -> None:
        """Read and verify them.

        Raises:
            IntegrityError: if the manifest, the files table or a table is damaged or missing.
            StoreError: if there is no version here, or a remote place refuses or does not answer.
        """
        self.files = files
        self.manifest: Manifest = read_manifest(files)
        self._files = load_table(files, FILES_FILE, FileRow, sha256=self.manifest.files_sha256)
        named = [path.startswith("tables/") for path in self._files["path"].to_pylist()]
        rows = self._files.filter(pa.array(named)).to_pylist()
        self._digests: dict[str, Sha256] = {row["path"].removeprefix("tables/"): row["sha256"] for row in rows}
        self._tables = {name: self._read(name, model) for name, model in MODELS.items()}
        self._labels: dict[str, pa.Table] = {}
        self._bounds: dict[str, dict[SubjectId, tuple[int, int]]] = {}
        self._cameras: dict[tuple[str, SubjectId], tuple[Camera, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without what is derived, or read again when it is asked for."""
        state = {name: value for name, value in self.__dict__.items() if name not in _DERIVED}
        return {**state, "_labels": {}, "_bounds": {}, "_cameras": {}}

    def __getitem__(self, name: str) -> pa.Table:
        """A table by its name, as released.

        Raises:
            StoreError: if there is no such table, or it is one of labels or mono cameras and the version has none.
            IntegrityError: if it is one of those and is damaged.
        """
        if name in self._tables:
            return self._tables[name]
        if name not in _OPTIONAL:
            known = ", ".join([*MODELS, *_OPTIONAL])
            raise StoreError(f"{self.files.name}: tables: expected one of {known}, found {name!r}.")
        if name in LABEL_MODELS and not self.labelled:
            raise self.no_labels(name)
        if name in MONO_MODELS and not self.has_mono:
            raise self.no_mono(name)
        if name not in self._labels:
            self._labels[name] = self._read(name, _OPTIONAL[name])
        return self._labels[name]

    @property
    def labelled(self) -> bool:
        """Whether the version holds keypoints, hands, quality and hand masks."""
        return f"{next(iter(LABEL_MODELS))}.parquet" in self._digests

    @property
    def has_mono(self) -> bool:
        """Whether the version holds the mono cameras' images."""
        return f"{next(iter(MONO_MODELS))}.parquet" in self._digests

    def no_mono(self, name: str) -> StoreError:
        """What to raise when a version of colour images only is asked for mono ones."""
        return StoreError(
            f"{self.files.name}: {name}: expected a version with the mono cameras' images, found {self.manifest.version}, "
            "which has none. Publish one with shard.mono = true."
        )

    @cached_property
    def tiers(self) -> tuple[Tier, ...]:
        """The resolutions of images and maps, the largest first."""
        return in_order(name for name in self._files["tier"].unique().to_pylist() if name is not None)

    @cached_property
    def hand_convention(self) -> HandConvention:
        """How the numbers of the version's hands are to be read.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the file is damaged.
        """
        if not self.labelled:
            raise self.no_labels("hand_convention")
        content = self._verified(f"tables/{CONVENTION_FILE}", self._digest(CONVENTION_FILE))
        return HandConvention.model_validate_json(content)

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts that come with the version, by their paths in it, sorted."""
        return tuple(sorted(self._documents))

    def document(self, path: str) -> bytes:
        """A text that comes with the version.

        Raises:
            StoreError: if the version has no such document.
            IntegrityError: if it is missing or damaged.
        """
        if path not in self._documents:
            raise StoreError(f"{self.files.name}: expected one of {', '.join(self.documents)}, found {path!r}.")
        return self._verified(path, self._documents[path])

    def no_labels(self, name: str) -> StoreError:
        """What to raise when a version of captures only is asked for a label; names a version that has labels."""
        releases, other = labelled_beside(self.files, self.manifest.version)
        advice = (
            f'Open it with: palm_data.open_release("{releases}", version="{other}").'
            if other
            else "Publish one with release.labels = true."
        )
        return StoreError(
            f"{self.files.name}: {name}: expected a version with labels, found {self.manifest.version}, which holds captures "
            f"only; of the versions beside it, {other or 'none'} has labels. {advice}"
        )

    @cached_property
    def wide(self) -> pa.Table:
        """The captures in their order, with what is known of their subject, split, gesture and quality beside them."""
        wide = self["captures"].append_column("_row", pa.array(np.arange(self["captures"].num_rows)))
        for name, key in (("subjects", "subject_id"), ("splits", "subject_id"), ("gestures", "gesture")):
            columns = [column for column in self[name].column_names if column not in ("captures", "since")]
            wide = wide.join(self[name].select(columns), key)
        if self.labelled:
            wide = wide.join(self["quality"], ["subject_id", "frame"])
        return wide.sort_by("_row").drop_columns(["_row"])

    def matching(self, where: Where) -> np.ndarray:
        """Which rows of `wide` satisfy the condition, one bool a row.

        Raises:
            StoreError: if it names a column that is not there, or compares one with a value of another type.
        """
        if isinstance(where, str) and not self.labelled:
            unlabelled = [name for name in _QUALITY_COLUMNS if re.search(rf"\b{name}\b", where)]
            if unlabelled:
                raise self.no_labels(f"where: {unlabelled[0]}")
        if isinstance(where, str):
            from palm_data.loader.where import parse_where

            condition = parse_where(where, self.wide.column_names)
        else:
            condition = self._condition(where) if isinstance(where, Mapping) else where
        try:
            rows = self.wide.append_column("_row", pa.array(np.arange(self.wide.num_rows))).filter(condition)
        except (pa.ArrowException, ValueError, TypeError) as error:
            asked = [name for name in _QUALITY_COLUMNS if name in str(condition)]
            if asked and not self.labelled:
                raise self.no_labels(f"where: {asked[0]}") from error
            raise StoreError(f"where: expected a condition on {', '.join(self.wide.column_names)}: {error}") from error
        return np.isin(np.arange(self.wide.num_rows), rows["_row"].to_numpy())

    def rows(self, name: str, model: type[Row], subject_id: SubjectId) -> tuple[Row, ...]:
        """A subject's rows of a table, in their order.

        Raises:
            StoreError: if there are none.
        """
        rows = self.subject_rows(name, subject_id)
        if not rows.num_rows:
            raise StoreError(
                f"{self.files.name}: expected a subject of version {self.manifest.version}, found {subject_id!r}."
            )
        return tuple(table_to_rows(model, rows))

    def subject_rows(self, name: str, subject_id: SubjectId) -> pa.Table:
        """A subject's rows of a table, found without looking at the others' each time; may be none.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the table is damaged, or the subject's rows do not stand together.
        """
        table = self[name]
        if name not in self._bounds:
            self._bounds[name] = _runs(table["subject_id"], f"{self.files.name}/tables/{name}.parquet")
        start, stop = self._bounds[name].get(subject_id, (0, 0))
        return table.slice(start, stop - start)

    def images(self, subject_id: SubjectId, frame: int) -> tuple[ImageRow, ...]:
        """The rows of a capture's images, in the order of the views."""
        return tuple(table_to_rows(ImageRow, self._capture_rows("images", subject_id, frame)))

    def cameras(self, subject_id: SubjectId, table: str = "cameras") -> tuple[Camera, ...]:
        """The cameras of a subject's undistorted full images, in the order of the views.

        Raises:
            StoreError: if there is no such subject, or no such table.
        """
        if (table, subject_id) not in self._cameras:
            rows = self.rows(table, CameraRow, subject_id)
            self._cameras[table, subject_id] = tuple(released_camera(row) for row in rows)
        return self._cameras[table, subject_id]

    def mono_images(self, subject_id: SubjectId, frame: int) -> tuple[MonoImageRow, ...]:
        """The rows of a capture's mono images, in the order of the arrays.

        Raises:
            StoreError: if the version has none.
        """
        return tuple(table_to_rows(MonoImageRow, self._capture_rows("mono_images", subject_id, frame)))

    def shard_files(self, subject_id: SubjectId) -> dict[str, tuple[int, Sha256]]:
        """Size and digest of each file of a subject's group, by its path in the group."""
        import pyarrow.compute as pc

        prefix = f"shards/{subject_id}.zarr/"
        rows = self._files.filter(pc.starts_with(self._files["path"], prefix))
        return {row["path"].removeprefix(prefix): (row["bytes"], row["sha256"]) for row in rows.to_pylist()}

    def _capture_rows(self, name: str, subject_id: SubjectId, frame: int) -> pa.Table:
        """A capture's rows of a table, in their order; may be none."""
        theirs = self.subject_rows(name, subject_id)
        # Looked up in numpy: Arrow's filter takes a hundred times as long to start as the few rows here take.
        found = np.flatnonzero(theirs["frame"].to_numpy() == frame)
        together = len(found) and found[-1] - found[0] + 1 == len(found)
        return theirs.slice(int(found[0]), len(found)) if together else theirs.take(pa.array(found, pa.int64()))

    def _condition(self, where: Mapping[str, object]) -> "pc.Expression":
        import pyarrow.compute as pc

        condition = pc.scalar(True)
        for column, value in where.items():
            if column in _QUALITY_COLUMNS and not self.labelled:
                raise self.no_labels(f"where: {column}")
            if column not in self.wide.column_names:
                raise StoreError(
                    f"where: expected columns among {', '.join(self.wide.column_names)}, found {column!r}."
                )
            several = isinstance(value, Collection) and not isinstance(value, str)
            field = pc.field(column)
            condition = condition & (field.isin(list(cast("Collection[object]", value))) if several else field == value)
        return condition

    @property
    def _documents(self) -> dict[str, Sha256]:
        import pyarrow.compute as pc

        rows = self._files.filter(pc.field("modality") == "document").to_pylist()
        return {row["path"]: row["sha256"] for row in rows}

    def _verified(self, file: str, expected: Sha256) -> bytes:
        """A whole file of the version, if it is what was released."""
        path = f"{self.files.name}/{file}"
        try:
            content = self.files.read(file)
        except OSError as error:
            raise IntegrityError(f"{path}: expected a file of this version, found {error.strerror}.") from error
        if (found := hashlib.sha256(content).hexdigest()) != expected:
            raise IntegrityError(
                f"{path}: expected sha256 {expected}, found {found}. The file was damaged or edited after release. "
                "Fetch it again."
            )
        return content

    def _read(self, name: str, model: type[BaseModel]) -> pa.Table:
        file = f"{name}.parquet"
        return load_table(self.files, f"tables/{file}", model, sha256=self._digest(file))

    def _digest(self, file: str) -> Sha256:
        if file not in self._digests:
            raise IntegrityError(f"{self.files.name}/tables/{file}: expected this file in {FILES_FILE}, found none.")
        return self._digests[file]


def _runs(subject_ids: pa.ChunkedArray, source: str) -> dict[SubjectId, tuple[int, int]]:
    """Where each subject's rows start and stop."""
    import pyarrow.compute as pc

    if not len(subject_ids):
        return {}
    encoded = pc.run_end_encode(subject_ids.combine_chunks())
    stops = encoded.run_ends.to_pylist()
    names = encoded.values.to_pylist()
    if len(set(names)) != len(names):
        raise IntegrityError(f"{source}: expected each subject's rows in one piece, found several.")
    return {name: (start, stop) for name, start, stop in zip(names, [0, *stops[:-1]], stops, strict=True)}


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
