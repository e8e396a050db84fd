"""A subject's group, read so that nothing unverified gets through.

Each metadata file is held to its released digest before it is used; each shard object to its presence and size, and
its index and each tile that is read to their CRC-32C. zarr is not needed: `palm_data.loader.tiles` reads the format.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from palm_data.loader.tiles import DAMAGED, TileReader
from palm_data.loader.window import Window
from palm_data.store.files import Files
from palm_data.store.layout import METADATA_FILE, ArrayLayout, parse_layout, shard_file
from schemas.errors import IntegrityError
from schemas.ids import Sha256

_IMAGE_AXES = (4, 5)
_MAX_BYTES = 1 << 33
_MAX_METADATA_BYTES = 1 << 24


class Shard:
    """A subject's arrays; damage is raised, never returned. May be used by several threads, and sent to processes."""

    def __init__(self, place: Files, group: str, files: Mapping[str, tuple[int, Sha256]]) -> None:
        """Take the version's files, where in it the group lies, and size and digest of the group's by their path in it."""
        self._place, self._group, self._files = place, group, files
        self._readers: dict[str, TileReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without what was read."""
        return {**self.__dict__, "_readers": {}}

    def has(self, name: str) -> bool:
        """Whether the release has an array of this name for the subject."""
        return f"{name}/{METADATA_FILE}" in self._files

    def attributes(self, name: str) -> dict[str, Any]:
        """An array's attributes.

        Raises:
            IntegrityError: if the array is not in the release, or its metadata is damaged.
        """
        return dict(self._reader(name).layout.attributes)

    def frame(self, name: str, row: int, view: int | None = None, window: Window | None = None) -> np.ndarray:
        """One capture's pixels (view, y, x[, channel]), or one view's (y, x[, channel]), of which only it is read.

        Of a window, only the tiles that it touches are read, and verified.

        Raises:
            StoreError: if the window is not inside the image.
            IntegrityError: if the shard object is missing, truncated or damaged; names it.
        """
        reader, file, size = self._image(name, row)
        _, views, height, width, *channels = reader.layout.shape
        x, y = (0, width), (0, height)
        if window is not None:
            window.check_inside(width=width, height=height)
            x, y = (window.x, window.x + window.width), (window.y, window.y + window.height)
        of_views = (0, views) if view is None else (view, view + 1)
        self._check_view(name, view, views)
        box = ((0, 1), of_views, y, x, *((0, count) for count in channels))
        out = self._empty(name, tuple(stop - start for start, stop in box), reader.layout)
        reader.read(file, size, box, out)
        return out[0] if view is None else out[0, 0]

    def pixels(self, name: str, row: int, view: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The values (n[, channel]) of one view of a capture at pixels (columns x, rows y); only their tiles are read.

        Raises:
            StoreError: if a pixel is not inside the image.
            IntegrityError: if the shard object is missing, truncated or damaged; names it.
        """
        reader, file, size = self._image(name, row)
        _, views, height, width, *_ = reader.layout.shape
        left, top = int(x.min()), int(y.min())
        Window(left, top, int(x.max()) - left + 1, int(y.max()) - top + 1).check_inside(width=width, height=height)
        self._check_view(name, view, views)
        return reader.gather(file, size, (0, view), y, x)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of a table of rows.

        Raises:
            IntegrityError: if there are no such rows, or a shard object is missing, truncated or damaged; names it.
        """
        reader = self._reader(name)
        layout = reader.layout
        count, *columns = layout.shape
        if not 0 <= start <= stop <= count or any(a > b for a, b in zip(columns, layout.shard[1:], strict=True)):
            raise IntegrityError(
                f"{self._path(name)}: expected rows {start} to {stop}, found {layout.shape}. {DAMAGED}"
            )
        out = self._empty(name, (stop - start, *columns), layout)
        step, of_columns = layout.shard[0], tuple((0, one) for one in columns)
        for first in range(start - start % step, stop, step):
            low, high = max(start, first), min(stop, first + step)
            file = shard_file(name, first // step, len(layout.shape))
            box = ((low - first, high - first), *of_columns)
            reader.read(self._path(file), self._released(file)[0], box, out[low - start : high - start])
        return out

    def _image(self, name: str, row: int) -> tuple[TileReader, str, int]:
        """The reader of an array of images, and path and size of a capture's shard object."""
        reader = self._reader(name)
        layout = reader.layout
        whole = all(a <= b for a, b in zip(layout.shape[1:], layout.shard[1:], strict=True))
        if len(layout.shape) not in _IMAGE_AXES or layout.shard[0] != 1 or not whole:
            raise IntegrityError(
                f"{self._path(name)}/{METADATA_FILE}: expected images, a capture a shard, found an array of {layout.shape} in "
                f"shards of {layout.shard}."
            )
        file = shard_file(name, row, len(layout.shape))
        if not 0 <= row < layout.shape[0]:
            raise IntegrityError(f"{self._path(file)}: expected one of {layout.shape[0]} captures, found {row}.")
        return reader, self._path(file), self._released(file)[0]

    def _reader(self, name: str) -> TileReader:
        if name not in self._readers:
            parts = name.split("/")
            for depth in range(len(parts) + 1):
                content = self._metadata("/".join([*parts[:depth], METADATA_FILE]))
            source = f"{self._place.name}/{self._path(name)}/{METADATA_FILE}"
            self._readers[name] = TileReader(self._place, parse_layout(content, source))
        return self._readers[name]

    def _metadata(self, file: str) -> bytes:
        """A metadata file, held to its released size and digest."""
        size, sha256 = self._released(file)
        path = self._path(file)
        if size > _MAX_METADATA_BYTES:
            raise IntegrityError(
                f"{self._place.name}/{path}: expected at most {_MAX_METADATA_BYTES} bytes, found {size} in the version's "
                "files table."
            )
        try:
            (content,) = self._place.read_ranges(path, [(0, size + 1)])
            found = hashlib.sha256(content).hexdigest()
        except OSError as error:
            found = error.strerror or "nothing"
        if found != sha256:
            raise IntegrityError(f"{self._place.name}/{path}: expected sha256 {sha256}, found {found}. {DAMAGED}")
        return content

    def _released(self, file: str) -> tuple[int, Sha256]:
        try:
            return self._files[file]
        except KeyError:
            raise IntegrityError(
                f"{self._place.name}/{self._path(file)}: expected a file of this version, found no such one."
            ) from None

    def _path(self, file: str) -> str:
        return f"{self._group}/{file}"

    def _empty(self, name: str, shape: tuple[int, ...], layout: ArrayLayout) -> np.ndarray:
        if math.prod(shape) * layout.dtype.itemsize > _MAX_BYTES:
            raise IntegrityError(
                f"{self._place.name}/{self._path(name)}: expected at most {_MAX_BYTES} bytes at once, found {shape} values."
            )
        return np.empty(shape, dtype=layout.dtype)

    def _check_view(self, name: str, view: int | None, views: int) -> None:
        if view is not None and not 0 <= view < views:
            raise IntegrityError(f"{self._place.name}/{self._path(name)}: expected one of {views} views, found {view}.")
