"""What a scan says nothing about: the arm beyond its cut, and its holes. There the image is not compared with it."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.calibration.morphology import grown
from palm_data.camera.pinhole import project, undistorted
from palm_data.maps.surface import Surface
from schemas.camera import Camera

MARGIN_M = 0.003
CUT_SIZE_M = 0.030
"""A rim at least this wide is a cut through the arm; smaller ones are holes."""
_BEYOND_M = 0.25
_WIDENING = 1.5
_PIXEL_LIMIT = 1e5


@dataclass(frozen=True)
class BlindSpots:
    """Points in the world (m) whose projected convex hulls cover what the scan says nothing about."""

    hulls: tuple[Float[ndarray, "_ 3"], ...]


def blind_spots(surface: Surface) -> BlindSpots:
    """The scan's holes, and the arm beyond its cut: the cut's rim swept outwards, widening."""
    return BlindSpots(tuple(_swept(surface, surface.vertices[rim]) for rim in surface.rims))


def blind_mask(spots: BlindSpots, camera: Camera) -> Bool[ndarray, "height width"]:
    """Where in the camera's image not to compare; the lens's distortion is within the margin."""
    covered = np.zeros((camera.height, camera.width), dtype=np.uint8)
    nearest = np.inf
    for hull in spots.hulls:
        points_px, depth = project(undistorted(camera), hull)
        seen = points_px[np.isfinite(points_px).all(axis=1)]
        if len(seen) == 0:
            continue
        nearest = min(nearest, float(depth[depth > 0].min()))
        corners = np.rint(np.clip(seen - 0.5, -_PIXEL_LIMIT, _PIXEL_LIMIT)).astype(np.int32)
        cv2.fillConvexPoly(covered, cv2.convexHull(corners), 1)
    if not covered.any():
        return covered.astype(bool)
    return grown(covered.astype(bool), MARGIN_M * max(camera.fx, camera.fy) / nearest)


def _swept(surface: Surface, rim: Float[ndarray, "rim 3"]) -> Float[ndarray, "points 3"]:
    centre = rim.mean(axis=0)
    radius = float(np.linalg.norm(rim - centre, axis=1).max())
    if 2.0 * radius < CUT_SIZE_M:
        return rim
    around = surface.vertices[np.linalg.norm(surface.vertices - centre, axis=1) < 2.0 * radius]
    outwards = centre - around.mean(axis=0)  # the surface lies on one side of its cut
    outwards /= np.linalg.norm(outwards) + 1e-12
    return np.concatenate([rim, centre + _WIDENING * (rim - centre) + _BEYOND_M * outwards])
