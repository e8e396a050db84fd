"""A subject's group, read so that nothing unverified gets through.

Zarr checks the CRC-32C of each tile and shard index it decodes, but reads a missing shard object as zeros and does
not check its own metadata. So each metadata file is held to its released digest before it is used, and each shard
object to its presence and size before it is read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from palm_data.loader.window import Window
from palm_data.store.arrays import frame_file
from palm_data.store.files import Files, LocalFiles
from palm_data.store.objects import check_file
from schemas.errors import IntegrityError, StoreError
from schemas.ids import Sha256

_METADATA = "zarr.json"
_DAMAGED = "The file was damaged or edited after release. Fetch it again."


class Shard:
    """A subject's arrays; damage is raised, never returned."""

    def __init__(self, place: Files, group: str, files: Mapping[str, tuple[int, Sha256]]) -> None:
        """Take the version's files, where in it the group lies, and the size and digest of the group's by their path in it.

        Raises:
            StoreError: if the version does not lie in a folder of this machine.
        """
        if not isinstance(place, LocalFiles):
            raise StoreError(f"{place.name}: expected a folder of this machine, found a remote place.")
        self._folder = place.root / group
        self._files = files
        self._arrays: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without open arrays."""
        return {"_folder": self._folder, "_files": self._files, "_arrays": {}}

    def has(self, name: str) -> bool:
        """Whether the release has an array of this name for the subject."""
        return f"{name}/{_METADATA}" in self._files

    def attributes(self, name: str) -> dict[str, Any]:
        """An array's attributes.

        Raises:
            IntegrityError: if the array is not in the release, or its metadata is damaged.
        """
        return dict(self._array(name).attrs)

    def frame(self, name: str, row: int, view: int | None = None, window: Window | None = None) -> np.ndarray:
        """One capture's pixels (view, y, x[, channel]), or one view's (y, x[, channel]), of which only it is read.

        Of a window, only the tiles that it touches are read, and verified.

        Raises:
            StoreError: if the window is not inside the image.
            IntegrityError: if the shard object is missing, truncated or damaged; names it.
        """
        array = self._array(name)
        self._check_object(file := frame_file(name, row, array.ndim))
        views: int | slice = slice(None) if view is None else view
        if window is None:
            return self._read(array, (row, views), file)
        window.check_inside(width=array.shape[3], height=array.shape[2])
        return self._read(array, (row, views, *window.slices), file)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of a table of rows.

        Raises:
            IntegrityError: if a shard object is missing, truncated or damaged; names it.
        """
        array = self._array(name)
        if stop <= start:
            return np.zeros((0, *array.shape[1:]), dtype=array.dtype)
        step = array.shards[0]
        objects = [frame_file(name, at, array.ndim) for at in range(start // step, (stop - 1) // step + 1)]
        for file in objects:
            self._check_object(file)
        return self._read(array, slice(start, stop), objects[0] if len(objects) == 1 else f"{name}/c")

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            import zarr  # half a second that opening a release does not need

            parts = name.split("/")
            for depth in range(len(parts) + 1):
                self._check_metadata("/".join([*parts[:depth], _METADATA]))
            self._arrays[name] = zarr.open_array(self._folder / name, mode="r", zarr_format=3)
        return self._arrays[name]

    def _check_metadata(self, file: str) -> None:
        size, sha256 = self._released(file)
        check_file(self._folder / file, size=size, sha256=sha256, hint=_DAMAGED)

    def _check_object(self, file: str) -> None:
        size, _ = self._released(file)
        path = self._folder / file
        try:
            found = f"{path.stat().st_size} bytes"
        except OSError as error:
            found = error.strerror or "nothing"
        if found != f"{size} bytes":
            raise IntegrityError(f"{path}: expected {size} bytes, found {found}. {_DAMAGED}")

    def _released(self, file: str) -> tuple[int, Sha256]:
        try:
            return self._files[file]
        except KeyError:
            raise IntegrityError(
                f"{self._folder / file}: expected a file of this version, found no such one."
            ) from None

    def _read(self, array: Any, selection: Any, file: str) -> np.ndarray:
        try:
            return np.asarray(array[selection])
        except (ValueError, RuntimeError, OSError, EOFError) as error:
            raise IntegrityError(f"{self._folder / file}: expected whole tiles, found: {error} {_DAMAGED}") from None
