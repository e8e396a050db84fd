"""Smaller pictures: the official release has two sizes, XR20A as captured and XR20B resized, its cameras with it.

The official validation overlays a rendering of 1600×1600 px, so that full-size images break it.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from schemas.camera import Camera

SMALL_PX = 1600
"""Longest side that the official validation has room for."""
_HALF = 0.5


def shrunk_camera(camera: Camera, longest: int | None) -> Camera:
    """The camera of the image resized to `longest` px on its longer side; the same if it is no larger, or None is given."""
    largest = max(camera.width, camera.height)
    if longest is None or largest <= longest:
        return camera
    width, height = (max(1, round(side * longest / largest)) for side in (camera.width, camera.height))
    x, y = width / camera.width, height / camera.height  # pixel coordinates are integers at corners: a plain scale
    sizes = {"width": width, "height": height}
    return camera.model_copy(
        update={**sizes, "fx": camera.fx * x, "cx": camera.cx * x, "fy": camera.fy * y, "cy": camera.cy * y}
    )


def shrunk_image(image: UInt8[ndarray, "h w 3"], camera: Camera) -> UInt8[ndarray, "y x 3"]:
    """The image at the camera's size, each pixel the mean of what it covers."""
    return np.asarray(_resized(image, camera), dtype=np.uint8)


def shrunk_mask(mask: Bool[ndarray, "h w"], camera: Camera) -> Bool[ndarray, "y x"]:
    """Where at least half of what a pixel covers is set."""
    return np.asarray(_resized(mask.astype(np.float32), camera) >= _HALF)


def shrunk_normals(normals: Float[ndarray, "h w 3"], camera: Camera) -> Float[ndarray, "y x 3"]:
    """The mean direction of what a pixel covers, of unit length; 0 where less than half of it has one."""
    there = shrunk_mask((normals != 0).any(axis=-1), camera)[..., None]
    mean = _resized(normals.astype(np.float32), camera)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    return np.where(there & (length > 0), mean / np.where(length > 0, length, 1.0), 0.0)


def _resized(image: ndarray, camera: Camera) -> ndarray:
    if image.shape[:2] == (camera.height, camera.width):
        return image
    return cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
