"""Rays for training: uniform over the pixels in which the hand is seen, and some beside it, in the world."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np

from palm_data.loader.fields import PIXEL_FIELDS, Arrays, checked_fields
from palm_data.loader.region import Regions
from palm_data.loader.sample import View
from palm_data.loader.selection import selected_views
from palm_data.loader.window import Window
from schemas.camera import Camera
from schemas.errors import StoreError
from schemas.ids import CameraId

if TYPE_CHECKING:
    from palm_data.loader.release import Release

NormalAxes = Literal["world", "camera"]
_NOWHERE, _NO_WINDOW = np.empty(0, dtype=np.int64), Window(0, 0, 0, 0)


class Rays:
    """A bundle of rays of every view in which the region is seen, drawn anew in every epoch."""

    def __init__(
        self,
        release: "Release",
        count: int,
        fields: Collection[str],
        *,
        per_view: int = 1,
        normals: NormalAxes = "world",
        region: str = "mask",
        cameras: Collection[CameraId] | None = None,
        around: int = 0,
    ) -> None:
        """Take the views.

        Args:
            count: rays of a bundle, through pixels that are all different unless the region has fewer.
            per_view: how many bundles of a view are in an epoch.
            normals: axes of the normals.
            region: `mask` (the scan), `hand_mask` or `training_mask`; the latter two leave out captures without a hand.
            around: how many of the rays, the last ones, pass near the region instead of through it; none where it fills the
                image.

        Raises:
            StoreError: if a number makes no sense, or a field, region, camera or the axes are not known, or need labels
                and the version has none.
        """
        self.release, self._fields = release, checked_fields(fields, PIXEL_FIELDS, release.tables)
        self._count, self._per_view, self._normals, self._regions = count, per_view, normals, Regions(release, region)
        if count < 1 or per_view < 1:
            raise StoreError(f"rays: expected count and per_view of at least 1, found {count} and {per_view}.")
        if not 0 <= around < count:
            raise StoreError(f"rays: around: expected 0 to {count - 1}, found {around}.")
        if normals not in ("world", "camera"):
            raise StoreError(f"rays: normals: expected world or camera, found {normals!r}.")
        self._views = selected_views(release, cameras, seen=True, fitted=self._regions.labelled)
        self._around = around
        beside = (around,) if around else ()
        self.identity = ("rays", count, per_view, self._fields, normals, region, self._views.digest(), *beside)

    def __len__(self) -> int:
        return len(self._views) * self._per_view

    def draw(self, index: int, random: np.random.Generator) -> Arrays:
        """A bundle of rays of the view at position index // per_view.

        `origins` (n, 3) m, `directions` (n, 3) unit, both world; `points_px` (n, 2) in the image; each field's values (n, …);
        with depth also `distance` (n,) m: a surface point is origin + distance × direction.

        Raises:
            StoreError: if the region is empty in this view.
        """
        at = index // self._per_view
        sample = self.release[int(self._views.captures[at])]
        view = sample.every_view[self._views.views[at]]
        beside, grown = self._regions.around(sample, view) if self._around else (_NOWHERE, _NO_WINDOW)
        through = self._count - (self._around if len(beside) else 0)
        x, y = _chosen(*self._regions.pixels(sample, view), through, random)
        if through < self._count:
            further = _chosen(beside, grown, self._count - through, random)
            x, y = np.concatenate([x, further[0]]), np.concatenate([y, further[1]])
        return {
            "subject_id": sample.subject_id,
            "frame": sample.frame,
            "gesture": sample.gesture,
            "camera_id": view.camera_id,
            **self._bundle(view, x, y, through),
        }

    def _bundle(self, view: View, x: np.ndarray, y: np.ndarray, through: int) -> Arrays:
        points_px = np.stack([x, y], axis=1) + 0.5
        in_camera = camera_directions(view.camera, points_px)
        rotation = np.asarray(view.camera.rotation)
        found: Arrays = {
            "origins": np.tile(view.camera.centre().astype(np.float32), (len(x), 1)),
            "directions": (in_camera @ rotation).astype(np.float32),
            "points_px": points_px.astype(np.float32),
        }
        for name in self._fields:
            # The region's own mask was read to draw from it.
            found[name] = np.arange(len(x)) < through if name == self._regions.name else view.at(name, x, y)
        if "normal" in found and self._normals == "world":
            found["normal"] = (found["normal"] @ rotation).astype(np.float32)
        if "depth" in found:
            found["distance"] = (found["depth"] / in_camera[:, 2]).astype(np.float32)
        return found


def _chosen(pixels: np.ndarray, box: Window, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """So many of the pixels of a box, all different unless there are fewer: columns and rows in the image."""
    y, x = np.divmod(pixels[random.choice(len(pixels), count, replace=len(pixels) < count)], box.width)
    return x + box.x, y + box.y


def camera_directions(camera: Camera, points_px: np.ndarray) -> np.ndarray:
    """(n, 3) float64: unit directions in camera axes through pixels (n, 2) of an undistorted image."""
    directions = np.ones((len(points_px), 3))
    directions[:, :2] = (points_px - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions
