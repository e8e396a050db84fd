"""Square pieces of views for training, of which only the tiles that they touch are read."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from palm_data.loader.fields import FIELDS, Arrays, checked_fields, view_fields
from palm_data.loader.region import Regions
from palm_data.loader.selection import selected_views
from palm_data.loader.window import Window
from schemas.errors import StoreError
from schemas.ids import CameraId
from schemas.tier import tier_length

if TYPE_CHECKING:
    from palm_data.loader.release import Release


class Patches:
    """Patches of every view in which the region is seen, each drawn anew in every epoch."""

    def __init__(
        self,
        release: "Release",
        size: int,
        fields: Collection[str],
        *,
        per_view: int = 1,
        region: str = "mask",
        cameras: Collection[CameraId] | None = None,
    ) -> None:
        """Take the views.

        Args:
            size: side of a patch, px.
            per_view: how many patches of a view are in an epoch.
            region: `mask` (the scan), `hand_mask` or `training_mask`; the latter two leave out captures without a hand.

        Raises:
            StoreError: if a number is not positive, a field, region or camera is not known or needs labels and the
                version has none, or a patch does not fit into an image.
        """
        self.release, self._fields = release, checked_fields(fields, FIELDS, release.tables)
        self._size, self._per_view, self._regions = size, per_view, Regions(release, region)
        if size < 1 or per_view < 1:
            raise StoreError(f"patches: expected size and per_view of at least 1, found {size} and {per_view}.")
        cameras_here = release.tables["cameras"]
        smallest = tier_length(
            min(cameras_here["width"].to_pylist() + cameras_here["height"].to_pylist()), release.tier
        )
        if size > smallest:
            raise StoreError(f"patches: size: expected at most {smallest}, the side of an image, found {size}.")
        self._views = selected_views(release, cameras, seen=True, fitted=self._regions.labelled)
        self.identity = ("patches", size, per_view, self._fields, region, self._views.digest())

    def __len__(self) -> int:
        return len(self._views) * self._per_view

    def draw(self, index: int, random: np.random.Generator) -> Arrays:
        """A patch of the view at position index // per_view; `corner_px` (2,) int64 is its upper left pixel (x, y).

        Camera and detected joints are those of the patch: (0, 0) is its upper left corner.

        Raises:
            StoreError: if the region is empty in this view.
        """
        at = index // self._per_view
        sample = self.release[int(self._views.captures[at])]
        view = sample.every_view[self._views.views[at]]
        window = patch_window(
            self._regions.box(sample, view), self._size, (view.camera.width, view.camera.height), random
        )
        found = view_fields(sample, view.window(*window), self._fields)
        return {**found, "corner_px": np.array([window.x, window.y], dtype=np.int64)}


def patch_window(box: Window, size: int, image: tuple[int, int], random: np.random.Generator) -> Window:
    """A square in the image (width, height): along each axis uniformly within the box, or about it if the box is smaller."""
    corner = []
    for start, length, limit in zip((box.x, box.y), (box.width, box.height), image, strict=True):
        low, high = sorted((start, start + length - size))
        low, high = max(low, 0), min(high, limit - size)
        corner.append(int(random.integers(low, high + 1)))
    return Window(corner[0], corner[1], size, size)
