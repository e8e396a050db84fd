"""One capture's arrays: from what is stored to what a consumer sees."""

import numpy as np

from palm_data.loader.shards import Shard
from palm_data.loader.tables import Tables
from palm_data.loader.window import Window
from palm_data.store.label_tables import LABEL_ARRAYS
from schemas.errors import StoreError
from schemas.tier import Tier

_NORMAL_STEPS = np.float32(32767.0)


class Pixels:
    """One capture's stored arrays at one tier, of all views or of one."""

    def __init__(self, tables: Tables, shard: Shard, row: int, tier: Tier) -> None:
        self._tables, self._shard, self._row = tables, shard, row
        self.tier = tier

    def values(self, name: str, view: int | None = None, window: Window | None = None) -> np.ndarray:
        """An array as a consumer sees it; of a window, only the tiles that it touches are read.

        Raises:
            StoreError: if the version does not hold such an array, or the window is not inside the image.
        """
        return self._decoded(name, self._shard.frame(self._array(name), self._row, view, window))

    def at(self, name: str, view: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """An array's values at pixels (columns x, rows y) of a view, as a consumer sees them; only their tiles are read.

        Raises:
            StoreError: as `values` does, and if a pixel is not inside the image.
        """
        return self._decoded(name, self._shard.pixels(self._array(name), self._row, view, x, y))

    def _array(self, name: str) -> str:
        if name in LABEL_ARRAYS and not self._tables.labelled:
            raise self._tables.no_labels(name)
        if name == "mono" and not self._tables.has_mono:
            raise self._tables.no_mono(name)
        self._require(name)
        return f"{name}/{self.tier}"

    def _decoded(self, name: str, stored: np.ndarray) -> np.ndarray:
        """Stored values as a consumer sees them: masks bool, depth in metres, normals of unit length."""
        if name == "depth":
            return stored * self.depth_unit
        if name == "normal":
            return stored / _NORMAL_STEPS
        return stored if name in ("rgb", "mono") else stored != 0

    @property
    def depth_unit(self) -> np.float32:
        """Metres of one step of the stored depth."""
        self._require("depth")
        return np.float32(self._shard.attributes(f"depth/{self.tier}")["unit_mm"] / 1000.0)

    def _require(self, name: str) -> None:
        if not self._shard.has(f"{name}/{self.tier}"):
            raise StoreError(
                f"{self._tables.files.name}: {name}: expected an array of this name at {self.tier} size, found none in version "
                f"{self._tables.manifest.version}. What was imported from elsewhere holds what there was."
            )
