"""Captures as a consumer sees them: typed, in metres, each array read when it is first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from palm_data.loader.camera_view import CameraView, MonoView
from palm_data.loader.labels import CaptureLabels, Hand, Keypoints
from palm_data.loader.pixels import Pixels
from palm_data.loader.shards import Shard
from palm_data.loader.window import Window
from schemas.camera import Camera
from schemas.errors import StoreError
from schemas.ids import CameraId, Sha256, Slug, SubjectId
from schemas.quality import QualityRow
from schemas.release import CaptureRow, SplitName, SubjectRow

if TYPE_CHECKING:
    from palm_data.loader.release import Release


@dataclass(frozen=True)
class Scan:
    """A capture's textured surface, in the world."""

    vertices: np.ndarray
    """(n, 3) float32, metres, world."""
    faces: np.ndarray
    """(m, 3) int32, rows of `vertices`."""
    uv: np.ndarray | None
    """(k, 2) float32, v up, (0, 0) = lower left corner of the texture; None if the scan has none."""
    uv_faces: np.ndarray | None
    """(m, 3) int32, rows of `uv`; None if the scan has none."""
    texture: np.ndarray | None
    """(h, w, 3) uint8, sRGB; None if the scan has none."""


class View(CameraView):
    """One camera's image, maps and detections in one capture. Only this view's tiles are read, each array once."""

    @property
    def raw_sha256(self) -> Sha256 | None:
        """Digest of the file that the image was made of; None if the rig delivered none."""
        return self._image.raw_sha256

    @cached_property
    def rgb(self) -> np.ndarray:
        """(height, width, 3) uint8, sRGB, undistorted."""
        return self._values("rgb")

    @cached_property
    def mask(self) -> np.ndarray:
        """(height, width) bool: where the scan is seen."""
        return self._values("mask")

    @cached_property
    def depth(self) -> np.ndarray:
        """(height, width) float32: metres along the camera's z, 0 = none."""
        return self._values("depth")

    @cached_property
    def normal(self) -> np.ndarray:
        """(height, width, 3) float32: unit normals in camera axes (x right, y down, z forward), 0 = none."""
        return self._values("normal")

    @cached_property
    def hand_mask(self) -> np.ndarray:
        """(height, width) bool: where the fitted hand is seen; nowhere if none could be fitted."""
        return self._values("hand_mask")

    @cached_property
    def training_mask(self) -> np.ndarray:
        """(height, width) bool: the scan near the fitted hand, and the hand's core; nowhere without a hand."""
        return self._values("training_mask")

    def at(self, name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The values of an array (`rgb`, `depth`, …) at pixels (columns x, rows y), of which only the tiles are read.

        Raises:
            StoreError: if there are no pixels, or one lies outside this view.
        """
        if not len(x):
            raise StoreError(f"{self}: {name}: expected pixels, found none.")
        left, top = int(x.min()), int(y.min())
        box = Window(left, top, int(x.max()) - left + 1, int(y.max()) - top + 1)
        box.check_inside(self.camera.width, self.camera.height)
        if self._window is not None:
            x, y = x + self._window.x, y + self._window.y
        return self._pixels.at(name, self._image.view_index, x, y)


AnyView = TypeVar("AnyView", View, MonoView)


class Sample:
    """One capture: all views and the scan, taken together. Arrays are read when first asked for, and kept."""

    def __init__(self, release: "Release", capture: CaptureRow) -> None:
        self._release, self.capture = release, capture

    def __repr__(self) -> str:
        return f"Sample(subject_id={self.subject_id!r}, frame={self.frame}, gesture={self.gesture!r})"

    @property
    def subject_id(self) -> SubjectId:
        """Who it is."""
        return self.capture.subject_id

    @property
    def frame(self) -> int:
        """Position in the subject's sequence, from 1."""
        return self.capture.frame

    @property
    def gesture(self) -> Slug:
        """What the hand does."""
        return self.capture.gesture

    @property
    def subject(self) -> SubjectRow:
        """What is known of the person, in bands."""
        return self._release.person(self.subject_id)

    @property
    def split(self) -> SplitName:
        """The subject's split."""
        return self._release.split_of(self.subject_id)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras of the undistorted images, in the order of the views."""
        return tuple(view.camera for view in self.views)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views that the release was opened with (all, unless it was asked for some), in the order of the arrays."""
        chosen = self._release.views
        return tuple(view for view in self.every_view if chosen is None or view.camera_id in chosen)

    @cached_property
    def every_view(self) -> tuple[View, ...]:
        """Every view of the capture, whichever the release was opened with: position = `view_index` of the tables."""
        images = self._release.images(self.subject_id, self.frame)
        cameras = self._release.cameras(self.subject_id)
        return tuple(
            View(self._pixels, self.labels, camera, image) for camera, image in zip(cameras, images, strict=True)
        )

    def view(self, camera_id: CameraId) -> View:
        """The view of one camera.

        Raises:
            StoreError: if the capture has no such camera; names those it has.
        """
        return _named(self.views, camera_id, self)

    @cached_property
    def rgb(self) -> np.ndarray:
        """(views, height, width, 3) uint8, sRGB, undistorted; zero where an image is missing."""
        return self._values("rgb")

    @cached_property
    def mask(self) -> np.ndarray:
        """(views, height, width) bool: where the scan is seen."""
        return self._values("mask")

    @cached_property
    def depth(self) -> np.ndarray:
        """(views, height, width) float32: metres along each camera's z, 0 = none."""
        return self._values("depth")

    @cached_property
    def normal(self) -> np.ndarray:
        """(views, height, width, 3) float32: unit normals in each camera's axes, 0 = none."""
        return self._values("normal")

    @cached_property
    def hand_mask(self) -> np.ndarray:
        """(views, height, width) bool: where the fitted hand is seen; nowhere if none could be fitted."""
        return self._values("hand_mask")

    @cached_property
    def training_mask(self) -> np.ndarray:
        """(views, height, width) bool: the scan near the fitted hand, and the hand's core; nowhere without a hand."""
        return self._values("training_mask")

    @cached_property
    def mono(self) -> np.ndarray:
        """(mono cameras, height, width) uint8, grey, undistorted; zero where an image is missing.

        Raises:
            StoreError: if the version has none, as for the two below.
        """
        return self._pixels.values("mono")

    @cached_property
    def mono_views(self) -> tuple[MonoView, ...]:
        """Every mono camera's view, in the order of `mono`'s first axis."""
        images = self._release.tables.mono_images(self.subject_id, self.frame)
        cameras = self._release.mono_cameras(self.subject_id)
        return tuple(
            MonoView(self._pixels, self.labels, camera, image) for camera, image in zip(cameras, images, strict=True)
        )

    def mono_view(self, camera_id: CameraId) -> MonoView:
        """The view of one mono camera.

        Raises:
            StoreError: if the capture has no such camera; names those it has.
        """
        return _named(self.mono_views, camera_id, self)

    @property
    def keypoints(self) -> Keypoints:
        """The joints in space; missing ones are NaN."""
        return self.labels.keypoints

    @property
    def hand(self) -> Hand | None:
        """The fitted hand; None if it could not be fitted."""
        return self.labels.hand

    @property
    def quality(self) -> QualityRow:
        """How good the labels are."""
        return self.labels.quality

    @cached_property
    def labels(self) -> CaptureLabels:
        """All labels of the capture. In a version without labels, each of them raises a StoreError."""
        return CaptureLabels(self._release.tables, self.subject_id, self.frame)

    @cached_property
    def scan(self) -> Scan:
        """The scan's surface, in the world.

        Raises:
            StoreError: if the version holds no scan of it, as one that was imported from elsewhere may not.
        """
        if self.capture.scan_file is None:
            raise StoreError(f"{self}: scan: expected one in version {self._release.version}, found none.")
        uv, uv_faces, texture = self._rows("uv", "uv"), self._rows("uv_faces", "uv_face"), self._texture()
        return Scan(
            vertices=self._rows("vertices", "vertex"),
            faces=self._rows("faces", "face"),
            uv=uv if len(uv) else None,
            uv_faces=uv_faces if len(uv_faces) else None,
            texture=texture,
        )

    def _values(self, name: str) -> np.ndarray:
        if len(self.views) == len(self.every_view):
            return self._pixels.values(name)
        return np.stack([getattr(view, name) for view in self.views])

    @cached_property
    def _pixels(self) -> Pixels:
        return Pixels(self._release.tables, self._shard, self.capture.array_index, self._release.tier)

    @property
    def _shard(self) -> Shard:
        return self._release.shard(self.subject_id)

    def _rows(self, name: str, offsets: str) -> np.ndarray:
        at = self.capture.array_index
        start, stop = self._shard.rows(f"scan/{offsets}_offsets", at, at + 2).tolist()
        return self._shard.rows(f"scan/{name}", start, stop)

    def _texture(self) -> np.ndarray | None:
        at = self.capture.array_index
        ((height, width),) = self._shard.rows("scan/texture_sizes", at, at + 1).tolist()
        return self._shard.frame("scan/texture", at, 0)[:height, :width] if height else None


def _named(views: Sequence[AnyView], camera_id: CameraId, sample: Sample) -> AnyView:
    for view in views:
        if view.camera_id == camera_id:
            return view
    known = ", ".join(view.camera_id for view in views)
    raise StoreError(f"{sample}: expected one of {known}, found {camera_id!r}.")
