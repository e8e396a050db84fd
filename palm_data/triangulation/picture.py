"""The capture whose joints agree least, seen from every colour camera: what was detected, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.camera.pinhole import project, undistort_image, undistorted
from palm_data.maps.captured import read_view_image
from palm_data.report.pictures import as_rgb, contact_sheet
from palm_data.report.skeletons import draw_skeleton
from palm_data.triangulation.keypoints import Detections
from schemas.camera import Camera
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.ids import is_colour_camera
from schemas.settings import Settings

_TILE_PX = 256
_MARGIN = 1.35
_BLANK = 40


@dataclass(frozen=True)
class Reprojected:
    """What was detected, and what came of it; captures in the index's order, cameras in the picture's."""

    seen: Detections
    points: Float[ndarray, "captures 21 3"]
    """Metres; NaN = missing."""
    error_px: Float[ndarray, "captures 21"]
    """Reprojection error; NaN = missing."""


def reprojection_picture(
    index: CaptureIndex, cameras: Sequence[Camera], found: Reprojected, settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """First row: detections; second row: triangulated joints, back in the images. Of the worst capture."""
    seen, points = found.seen, found.points
    row = worst_capture(found.error_px)
    capture = index.captures[row]
    colour = [column for column, camera in enumerate(cameras) if is_colour_camera(camera.camera_id)]
    above, below, above_labels, below_labels = [], [], [], []
    for column in colour:
        camera = cameras[column]
        image = _image(capture, camera, settings)
        detected = np.where(seen.confidence[row, column][:, None] > 0, seen.points_px[row, column], np.nan)
        back, _ = project(undistorted(camera), points[row])
        both = np.concatenate([detected, back])
        above.append(_tile(image, detected, both, seen.confidence[row, column]))
        below.append(_tile(image, back, both, None))
        offset = np.linalg.norm(detected - back, axis=1)
        agreeing = offset[np.isfinite(offset)]
        above_labels.append(f"{camera.camera_id} {capture.gesture}: detected")
        below_labels.append(f"{np.median(agreeing):.1f} px median" if len(agreeing) else "nothing in common")
    return contact_sheet(above + below, above_labels + below_labels, len(colour), tile_px=_TILE_PX)


def worst_capture(error_px: Float[ndarray, "captures 21"]) -> int:
    """The capture with most joints missing, and of those with equally many, the largest mean error."""
    missing = np.isnan(error_px).sum(axis=1)
    filled = np.where(np.isnan(error_px), 0.0, error_px).sum(axis=1) / np.maximum(error_px.shape[1] - missing, 1)
    return int(np.lexsort((-filled, -missing))[0])


def _image(capture: CaptureRecord, camera: Camera, settings: Settings) -> UInt8[ndarray, "height width *channels"]:
    record = capture.image(camera.camera_id)
    if record is None:
        return np.full((camera.height, camera.width), _BLANK, dtype=np.uint8)
    return undistort_image(read_view_image(record, camera, settings), camera)


def _tile(
    image: UInt8[ndarray, "height width *channels"],
    points_px: Float[ndarray, "21 2"],
    frame_px: Float[ndarray, "n 2"],
    confidence: Float[ndarray, "21"] | None,
) -> UInt8[ndarray, "tile tile 3"]:
    """The skeleton on the square about the points that the tile must hold."""
    inside = np.isfinite(frame_px).all(axis=1)
    held = frame_px[inside] if inside.any() else np.array([[0.0, 0.0], image.shape[1::-1]], dtype=np.float64)
    low, high = np.percentile(held, 2, axis=0), np.percentile(held, 98, axis=0)
    side = max(float((high - low).max()) * _MARGIN, 16.0)
    corner = (low + high) / 2.0 - side / 2.0
    scale = _TILE_PX / side
    to_tile = np.array(
        [[scale, 0.0, 0.5 * scale - corner[0] * scale - 0.5], [0.0, scale, 0.5 * scale - corner[1] * scale - 0.5]]
    )
    shown = cv2.warpAffine(as_rgb(image), to_tile, (_TILE_PX, _TILE_PX), flags=cv2.INTER_AREA)
    return draw_skeleton(shown, (points_px - corner) * scale, confidence)
