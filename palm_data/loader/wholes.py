"""Whole views and whole captures as training samples: nothing is drawn, so epochs differ in their order only."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from palm_data.loader.fields import FIELDS, Arrays, capture_fields, checked_fields, view_fields
from palm_data.loader.selection import camera_positions, selected_views
from schemas.ids import CameraId

if TYPE_CHECKING:
    from palm_data.loader.release import Release


class WholeViews:
    """Each view of each capture, whole."""

    def __init__(
        self,
        release: "Release",
        fields: Collection[str],
        *,
        cameras: Collection[CameraId] | None = None,
        absent: bool = False,
    ) -> None:
        """Take the views.

        Raises:
            StoreError: if a field or camera is not known, or a field needs labels and the version has none.
        """
        self.release, self._fields = release, checked_fields(fields, FIELDS, release.tables)
        self._views = selected_views(release, cameras, absent=absent)
        self.identity = ("views", self._fields, self._views.digest())

    def __len__(self) -> int:
        return len(self._views)

    def draw(self, index: int, _: np.random.Generator) -> Arrays:
        """The view at a position."""
        sample = self.release[int(self._views.captures[index])]
        return view_fields(sample, sample.every_view[self._views.views[index]], self._fields)


class WholeCaptures:
    """Each capture, its views stacked."""

    def __init__(
        self, release: "Release", fields: Collection[str], *, cameras: Collection[CameraId] | None = None
    ) -> None:
        """Take the captures.

        Raises:
            StoreError: as `WholeViews` does, and if subjects differ in their cameras.
        """
        self.release, self._fields = release, checked_fields(fields, FIELDS, release.tables)
        self._views = camera_positions(release, cameras)
        self.identity = ("captures", self._fields, self._views.tolist())

    def __len__(self) -> int:
        return len(self.release)

    def draw(self, index: int, _: np.random.Generator) -> Arrays:
        """The capture at a position."""
        return capture_fields(self.release[index], self._fields, self._views)
