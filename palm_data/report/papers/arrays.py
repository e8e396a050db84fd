"""Pixels and scans of a version that is about to be published, read from where they lie now, and only if they are whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy import ndarray

from palm_data.store.arrays import frame_file
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file
from schemas.errors import IntegrityError
from schemas.ids import SubjectId
from schemas.release import FileRow

_METADATA = "zarr.json"


class Source(Protocol):
    """A file to publish: what it has to be, and where it lies."""

    @property
    def row(self) -> FileRow:
        """What it has to be."""

    @property
    def source(self) -> Path | bytes:
        """Where its content is."""


class Arrays:
    """The subjects' arrays."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """Take the files of the version by their path in it."""
        self._sources = sources
        self._opened: dict[tuple[SubjectId, str], Any] = {}

    def has(self, subject_id: SubjectId, name: str) -> bool:
        """Whether the version has this array of the subject."""
        return f"shards/{subject_id}.zarr/{name}/{_METADATA}" in self._sources

    def view(self, subject_id: SubjectId, name: str, row: int, view: int) -> ndarray:
        """One view of one capture (y, x[, channel]).

        Raises:
            IntegrityError: if its file is damaged.
        """
        array = self._array(subject_id, name)
        self._whole(subject_id, frame_file(name, row, array.ndim))
        return np.asarray(array[row, view])

    def rows(self, subject_id: SubjectId, name: str, offsets: str, row: int) -> ndarray:
        """One capture's rows of a table of rows.

        Raises:
            IntegrityError: if a file of the table is damaged.
        """
        start, stop = (int(value) for value in self.all(subject_id, offsets)[row : row + 2])
        return self.all(subject_id, name)[start:stop]

    def all(self, subject_id: SubjectId, name: str) -> ndarray:
        """A whole table of rows.

        Raises:
            IntegrityError: if a file of the table is damaged.
        """
        array = self._array(subject_id, name)
        prefix = f"shards/{subject_id}.zarr/{name}/c/"
        for path in self._sources:
            if path.startswith(prefix):
                self._whole(subject_id, path.removeprefix(f"shards/{subject_id}.zarr/"))
        return np.asarray(array[...])

    def _array(self, subject_id: SubjectId, name: str) -> Any:
        key = (subject_id, name)
        if key not in self._opened:
            metadata = self._whole(subject_id, f"{name}/{_METADATA}")
            self._opened[key] = zarr.open_array(metadata.parent, mode="r", zarr_format=3)
        return self._opened[key]

    def _whole(self, subject_id: SubjectId, file: str) -> Path:
        """Where a file lies, once it is known to be what it has to be."""
        path = f"shards/{subject_id}.zarr/{file}"
        entry = self._sources.get(path)
        if entry is None or isinstance(entry.source, bytes):
            raise IntegrityError(f"{path}: expected a file of the version, found none.")
        check_file(entry.source, size=entry.row.bytes, sha256=entry.row.sha256, hint=DAMAGED_WORKSPACE)
        return entry.source
