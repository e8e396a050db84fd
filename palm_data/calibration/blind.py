"""What a scan says nothing about: the arm beyond its cut, and its holes. There the image is not compared with it."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32
from numpy import ndarray

from palm_data.calibration.morphology import grown
from palm_data.camera.pinhole import project, undistorted
from palm_data.maps.surface import Surface
from schemas.camera import Camera

MARGIN_M = 0.003
HOLE_SIZE_M = 0.015
"""A hole no wider than this is not compared at all; of a wider one, its rim."""
CUT_SIZE_M = 0.030
"""A cut through the arm is at least this wide."""
_MAX_ACROSS = 0.4
_MAX_SHARE_BEYOND = 0.02
_BEYOND_TOLERANCE_M = 0.005
_BEYOND_M = 0.25
_WIDENING = 1.5
_PIXEL_LIMIT = 1e5


@dataclass(frozen=True)
class BlindSpots:
    """Points in the world (m) that show where the scan says nothing."""

    hulls: tuple[Float[ndarray, "_ 3"], ...]
    """The projected convex hull of each is covered."""
    rims: Float[ndarray, "points 3"]
    """Each point is covered by itself."""


def blind_spots(surface: Surface) -> BlindSpots:
    """The scan's holes, and the arm beyond its cut: the cut's rim swept outwards, widening."""
    hulls, rims = [], [np.zeros((0, 3))]
    for rows in surface.rims:
        rim = surface.vertices[rows]
        size = 2.0 * float(np.linalg.norm(rim - rim.mean(axis=0), axis=1).max())
        outwards = _cut_direction(surface, rows, size) if size >= CUT_SIZE_M else None
        if outwards is not None:
            centre = rim.mean(axis=0)
            hulls.append(np.concatenate([rim, centre + _WIDENING * (rim - centre) + _BEYOND_M * outwards]))
        elif size <= HOLE_SIZE_M:
            hulls.append(rim)
        else:
            rims.append(rim)
    return BlindSpots(tuple(hulls), np.concatenate(rims))


def blind_mask(spots: BlindSpots, camera: Camera) -> Bool[ndarray, "height width"]:
    """Where in the camera's image not to compare; the lens's distortion is within the margin."""
    covered = np.zeros((camera.height, camera.width), dtype=np.uint8)
    pinhole, nearest = undistorted(camera), np.inf
    for hull in (*spots.hulls, spots.rims):
        points_px, depth = project(pinhole, hull)
        seen = np.isfinite(points_px).all(axis=1)
        if not seen.any():
            continue
        nearest = min(nearest, float(depth[seen].min()))
        corners = np.floor(np.clip(points_px[seen], -_PIXEL_LIMIT, _PIXEL_LIMIT)).astype(np.int32)
        if hull is spots.rims:
            inside = ((corners >= 0) & (corners < (camera.width, camera.height))).all(axis=1)
            covered[corners[inside, 1], corners[inside, 0]] = 1
        else:
            cv2.fillConvexPoly(covered, cv2.convexHull(corners), 1)
    if not covered.any():
        return covered.astype(bool)
    return grown(covered.astype(bool), MARGIN_M * max(camera.fx, camera.fy) / nearest)


def _cut_direction(surface: Surface, rows: Int32[ndarray, " rim"], size: float) -> Float[ndarray, "3"] | None:
    """The direction in which the arm goes on beyond the rim; None if the rim is that of a hole.

    At a cut the surface runs along that direction, as a tube's, and ends; around a hole it lies across, or goes on.
    A scan of one side of the hand ends like a tube too, but is wider than it is deep.
    """
    rim = surface.vertices[rows]
    centre = rim.mean(axis=0)
    around = surface.vertices[np.linalg.norm(surface.vertices - centre, axis=1) < size]
    outwards = centre - around.mean(axis=0)
    outwards /= np.linalg.norm(outwards) + 1e-12
    across = np.abs(surface.normals[rows] @ outwards).mean()
    beyond = (surface.vertices - centre) @ outwards > np.ptp(rim @ outwards) / 2.0 + _BEYOND_TOLERANCE_M
    shallow = np.ptp(surface.vertices @ outwards) < size
    return None if across > _MAX_ACROSS or beyond.mean() > _MAX_SHARE_BEYOND or shallow else outwards
