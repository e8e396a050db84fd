"""What a colour and a mono camera's view of a capture have in common: a camera, detections, windows."""

from functools import cached_property
from typing import Self

import numpy as np

from palm_data.loader.labels import CaptureLabels
from palm_data.loader.pixels import Pixels
from palm_data.loader.window import Window, windowed
from schemas.camera import Camera
from schemas.ids import CameraId
from schemas.release import ImageRow, MonoImageRow
from schemas.tier import FACTORS


class CameraView:
    """One camera's view of a capture, or a window of it."""

    def __init__(
        self,
        pixels: Pixels,
        labels: CaptureLabels,
        camera: Camera,
        image: ImageRow | MonoImageRow,
        window: Window | None = None,
    ) -> None:
        self._pixels, self._labels, self._image = pixels, labels, image
        self._window = window
        self.camera = camera
        """The camera of the undistorted image, or of the window of it."""

    def __repr__(self) -> str:
        size = f"{self.camera.width}×{self.camera.height}"
        return f"{type(self).__name__}({self.camera_id}, {size}, present={self.present})"

    @property
    def camera_id(self) -> CameraId:
        """The camera's name."""
        return self.camera.camera_id

    @property
    def present(self) -> bool:
        """Whether the rig delivered this image; if not, its pixels are zero."""
        return self._image.present

    @property
    def keypoints_px(self) -> np.ndarray:
        """(21, 2) float64: the joints as detected in this image, px, integers at pixel corners; NaN = not detected."""
        points_px = self._labels.detections(self.camera_id)[0] / FACTORS[self._pixels.tier]
        return points_px if self._window is None else points_px - self._window[:2]

    @property
    def keypoint_confidence(self) -> np.ndarray:
        """(21,) float64: how sure each detection is, from 0 to 1; 0 = not detected."""
        return self._labels.detections(self.camera_id)[1]

    def window(self, x: int, y: int, width: int, height: int) -> Self:
        """A part of this view as a view of its own: only the tiles it touches are read; camera and joints are moved.

        Raises:
            StoreError: if a part of it lies outside this view.
        """
        window = Window(x, y, width, height)
        window.check_inside(self.camera.width, self.camera.height)
        absolute = window if self._window is None else window.moved(self._window.x, self._window.y)
        return type(self)(self._pixels, self._labels, windowed(self.camera, window), self._image, absolute)

    def _values(self, name: str) -> np.ndarray:
        return self._pixels.values(name, self._image.view_index, self._window)


class MonoView(CameraView):
    """One mono camera's image and detections in one capture. There are no maps of it."""

    @cached_property
    def grey(self) -> np.ndarray:
        """(height, width) uint8, as the camera encodes it, undistorted."""
        return self._values("mono")
