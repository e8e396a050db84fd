"""The square about a projected scan that the detector looks at, and the way between its pixels and the image's.

Needs the calibration and the scan only. Coordinates have integers at pixel corners on both sides.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.camera.pinhole import project, undistorted
from palm_data.maps.surface import Surface
from schemas.camera import Camera

_MIN_SIDE_PX = 8
_MIN_CUT_M = 0.03
"""A border of a smaller extent is a hole, not where the forearm was cut."""


@dataclass(frozen=True)
class CropBox:
    """A square of whole pixels of an undistorted image; it may reach past the image's border."""

    left: int
    top: int
    side: int

    def to_crop(self, points_px: Float[ndarray, "*n 2"], size: int) -> Float[ndarray, "*n 2"]:
        """Image pixels in a crop of `size` × `size`."""
        return (points_px - np.array([self.left, self.top])) * (size / self.side)

    def to_image(self, points_px: Float[ndarray, "*n 2"], size: int) -> Float[ndarray, "*n 2"]:
        """Pixels of a crop of `size` × `size` in the image."""
        return points_px * (self.side / size) + np.array([self.left, self.top])


def hand_vertices(surface: Surface, reach_m: float) -> Float[ndarray, "n 3"]:
    """The scan's vertices up to `reach_m` from the fingertips towards the forearm; all if it was cut nowhere.

    A forearm is often longer than the hand in the image, and would leave it few of the crop's pixels. The cut is the
    border that lies farthest from the scan's middle (the hollow of a fist can have a longer one); the tips are what
    lies farthest from the cut.
    """
    vertices = surface.vertices
    borders = [vertices[rim] for rim in surface.rims]
    middles = [(rim.min(axis=0) + rim.max(axis=0)) / 2.0 for rim in borders if np.ptp(rim, axis=0).max() >= _MIN_CUT_M]
    if not middles:
        return vertices
    centre = vertices.mean(axis=0)
    cut = max(middles, key=lambda middle: float(np.linalg.norm(middle - centre)))
    distance = np.linalg.norm(vertices - cut, axis=1)
    return vertices[distance >= distance.max() - reach_m]


def scan_box(vertices: Float[ndarray, "n 3"], camera: Camera, margin: float) -> CropBox | None:
    """The square about the part of a scan (world, metres) that lies in the undistorted image; None if none does.

    Args:
        margin: side of the square as a multiple of the projection's longer side.
    """
    points_px, _ = project(undistorted(camera), vertices)
    inside = ((points_px >= 0) & (points_px <= (camera.width, camera.height))).all(axis=1)
    if not inside.any():
        return None
    low, high = points_px[inside].min(axis=0), points_px[inside].max(axis=0)
    side = max(int(np.ceil((high - low).max() * margin)), _MIN_SIDE_PX)
    left, top = np.floor((low + high) / 2.0 - side / 2.0).astype(int)
    return CropBox(int(left), int(top), side)


def cut_crop(image: UInt8[ndarray, "height width *channels"], box: CropBox, size: int) -> UInt8[ndarray, "size size 3"]:
    """The box's pixels, RGB, scaled to `size` × `size`; a grey image is repeated, and what lies outside is black."""
    height, width = image.shape[:2]
    left, top = max(box.left, 0), max(box.top, 0)
    right, bottom = min(box.left + box.side, width), min(box.top + box.side, height)
    square = np.zeros((box.side, box.side, 3), dtype=np.uint8)
    if right > left and bottom > top:
        part = image[top:bottom, left:right]
        square[top - box.top : bottom - box.top, left - box.left : right - box.left] = (
            part[..., None] if part.ndim == 2 else part
        )
    how = cv2.INTER_AREA if box.side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=how)
