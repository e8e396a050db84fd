"""Where in a view there is something to learn from: a mask, and the box around it."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from palm_data.loader.sample import Sample, View
from palm_data.loader.window import Window
from palm_data.store.label_tables import LABEL_ARRAYS
from schemas.errors import StoreError
from schemas.ids import CameraId, SubjectId

if TYPE_CHECKING:
    from palm_data.loader.release import Release

REGIONS = ("mask", *LABEL_ARRAYS)
_NEAR = 32
"""What part of the longer side of its box counts as near a region."""
_KEPT_BOXES = 1 << 18
"""How many boxes a process remembers: those of 37,000 captures in seven views, some 100 MB."""

Key = tuple[SubjectId, int, CameraId]


class Regions:
    """The region of each view; a view's mask is read whole once, to find its box, and within its box from then on."""

    def __init__(self, release: "Release", name: str) -> None:
        """Take which mask it is.

        Raises:
            StoreError: if it is none of `REGIONS`, or one of labels and the version has none.
        """
        if name not in REGIONS:
            raise StoreError(f"region: expected one of {', '.join(REGIONS)}, found {name!r}.")
        if name in LABEL_ARRAYS and not release.labelled:
            raise release.tables.no_labels(name)
        self.name = name
        self._boxes: OrderedDict[Key, Window] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without the boxes, which each finds for itself."""
        return {"name": self.name, "_boxes": OrderedDict()}

    @property
    def labelled(self) -> bool:
        """Whether only captures with a fitted hand have such a region."""
        return self.name in LABEL_ARRAYS

    def box(self, sample: Sample, view: View) -> Window:
        """The smallest window around the region.

        Raises:
            StoreError: if the region is empty in this view.
        """
        key = (sample.subject_id, sample.frame, view.camera_id)
        if key not in self._boxes:
            seen = getattr(view, self.name)
            columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
            if not len(rows):
                raise StoreError(
                    f"subject {key[0]}, frame {key[1]}, {key[2]}: {self.name}: expected pixels, found none. Leave the "
                    'capture out with where=…, or draw from region="mask".'
                )
            left, top = int(columns[0]), int(rows[0])
            self._boxes[key] = Window(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
            if len(self._boxes) > _KEPT_BOXES:
                self._boxes.popitem(last=False)
        return self._boxes[key]

    def around(self, sample: Sample, view: View) -> tuple[np.ndarray, Window]:
        """(n,) int64: the pixels outside the region and near it, counted row by row within its box, grown; and that box.

        Near is within a thirty-second of the longer side of its box: of a hand, some six millimetres.

        Raises:
            StoreError: if the region is empty in this view.
        """
        import cv2

        box, camera = self.box(sample, view), view.camera
        reach = -(-max(box.width, box.height) // _NEAR)
        left, top = max(box.x - reach, 0), max(box.y - reach, 0)
        right, bottom = (
            min(box.x + box.width + reach, camera.width),
            min(box.y + box.height + reach, camera.height),
        )
        grown = Window(left, top, right - left, bottom - top)
        region = getattr(view.window(*grown), self.name)
        square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        return np.flatnonzero((cv2.dilate(region.astype(np.uint8), square) > 0) & ~region), grown

    def pixels(self, sample: Sample, view: View) -> tuple[np.ndarray, Window]:
        """(n,) int64: the region's pixels, counted row by row within its box; and the box.

        Raises:
            StoreError: if the region is empty in this view.
        """
        box = self.box(sample, view)
        return np.flatnonzero(getattr(view.window(*box), self.name)), box
