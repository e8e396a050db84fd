"""Fits that a person can judge: the hand over the image, and how far the scan lies from it, in false colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.calibration.cameras import colour_cameras
from palm_data.camera.pinhole import undistort_image
from palm_data.maps.captured import read_view_image
from palm_data.maps.surface import Surface
from palm_data.maps.zbuffer import Raster, rasterize
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.posed import Posed
from palm_data.report.pictures import as_rgb, draw_contours
from palm_data.report.skeletons import draw_skeleton
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.settings import Settings

TILE_PX = 224
ERROR_TOP_MM = 5.0
"""Distance drawn in the last colour."""

Tile = UInt8[ndarray, "tile tile 3"]
_MM = 1000.0
_MARGIN = 1.25
_BLANK = 40
_UNKNOWN = (120, 120, 120)
_BACKGROUND = 24
_HAND = np.array([90, 190, 250], dtype=np.float64)
_OPACITY = 0.6
_LEGEND_PX = 30
_ENOUGH_JOINTS = 12  # to say where the whole hand is


@dataclass(frozen=True)
class PicturedFit:
    """One capture with its scan and joints, and its fitted hand if it has one. World, metres."""

    capture: CaptureRecord
    scan: Surface
    keypoints: Float[ndarray, "21 3"]
    """NaN = missing."""
    hand: Float[ndarray, "vertices 3"] | None
    error_mm: Float[ndarray, " scan_vertices"]
    """Distance of each of the scan's vertices to the hand; NaN beyond the wrist, or without a hand."""


@dataclass(frozen=True)
class _Crop:
    """A square of an image, scaled to a tile."""

    left: int
    top: int
    side: int
    intrinsics: Float[ndarray, "3 3"]


def pictured_fit(
    context: HandShapeContext,
    capture: CaptureRecord,
    scan: Surface,
    keypoints: Float[ndarray, "21 3"],
    posed: Posed | None,
) -> PicturedFit:
    """A capture ready to be drawn."""
    error = np.full(len(scan.vertices), np.nan)
    if posed is not None:
        known = ~context.rim.plane(posed.vertices).beyond(scan.vertices, 0.0)
        closest = context.surface.at(posed.vertices)(scan.vertices[known])
        error[known] = np.linalg.norm(closest.points - scan.vertices[known], axis=1) * _MM
    return PicturedFit(capture, scan, keypoints, None if posed is None else posed.vertices, error)


class FitPainter:
    """Draws fits in the colour views of one calibration."""

    def __init__(self, cameras: Sequence[Camera], faces: ndarray, settings: Settings) -> None:
        """Args: cameras: as stored, of all kinds; faces: of the hand model."""
        self._cameras, self._faces, self._settings = colour_cameras(cameras), faces, settings

    def views(self, capture: CaptureRecord, count: int) -> list[Camera]:
        """So many colour cameras, spread over those that delivered an image of the capture, or over all if none did."""
        seen = [camera for camera in self._cameras if capture.image(camera.camera_id) is not None] or [*self._cameras]
        return [seen[len(seen) * place // count] for place in range(count)]

    def outlined(self, fit: PicturedFit, camera: Camera) -> Tile:
        """The image with the triangulated joints and the fitted hand's outline."""
        crop = _crop(fit, camera)
        tile = self._image(fit.capture, camera, crop)
        pixels = _to_tile(fit.keypoints, camera, crop)
        tile = draw_skeleton(tile, pixels)
        if fit.hand is None:
            return tile
        return draw_contours(tile, _drawn(fit.hand, self._faces, camera, crop).face_id >= 0)

    def overlaid(self, fit: PicturedFit, camera: Camera) -> Tile:
        """The image with the fitted hand's shaded surface over it."""
        crop = _crop(fit, camera)
        tile = self._image(fit.capture, camera, crop)
        if fit.hand is None:
            return tile
        drawn = _drawn(fit.hand, self._faces, camera, crop)
        seen = drawn.face_id >= 0
        blended = (1.0 - _OPACITY) * tile[seen] + _OPACITY * _HAND * _shade(drawn)[seen]
        tile[seen] = np.rint(blended).astype(np.uint8)
        return draw_contours(tile, seen)

    def errors(self, fit: PicturedFit, camera: Camera) -> Tile:
        """The scan, coloured by its distance to the fitted hand; grey where there is none to compare with."""
        drawn = _drawn(fit.scan.vertices, fit.scan.faces, camera, _crop(fit, camera))
        seen = drawn.face_id >= 0
        corners = fit.scan.faces[drawn.face_id[seen]]
        values = np.einsum("pk,pk->p", drawn.barycentric[seen].astype(np.float64), fit.error_mm[corners])
        tile = np.full((TILE_PX, TILE_PX, 3), _BACKGROUND, dtype=np.uint8)
        tile[seen] = np.rint(error_colours(values) * _shade(drawn)[seen]).astype(np.uint8)
        return tile

    def _image(self, capture: CaptureRecord, camera: Camera, crop: _Crop) -> Tile:
        record = capture.image(camera.camera_id)
        if record is None:
            return np.full((TILE_PX, TILE_PX, 3), _BLANK, dtype=np.uint8)
        image = as_rgb(undistort_image(read_view_image(record, camera, self._settings), camera))
        square = np.full((crop.side, crop.side, 3), _BLANK, dtype=np.uint8)
        top, left = max(crop.top, 0), max(crop.left, 0)
        bottom, right = min(crop.top + crop.side, camera.height), min(crop.left + crop.side, camera.width)
        if top < bottom and left < right:
            inside = slice(top - crop.top, bottom - crop.top), slice(left - crop.left, right - crop.left)
            square[inside] = image[top:bottom, left:right]
        shrinks = crop.side > TILE_PX
        return cv2.resize(
            square, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        ).astype(np.uint8)


def error_colours(error_mm: Float[ndarray, " values"]) -> Float[ndarray, "values 3"]:
    """RGB of distances: blue at 0, red at `ERROR_TOP_MM` and beyond, grey where unknown."""
    known = np.isfinite(error_mm)
    level = np.rint(np.clip(np.where(known, error_mm, 0.0) / ERROR_TOP_MM, 0.0, 1.0) * 255).astype(np.uint8)
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return np.where(known[:, None], table[level], np.array(_UNKNOWN)).astype(np.float64)


def with_legend(sheet: UInt8[ndarray, "height width 3"]) -> UInt8[ndarray, "taller width 3"]:
    """The picture with the colours of `error_colours` and what they mean below it."""
    width = sheet.shape[1]
    strip = np.full((_LEGEND_PX, width, 3), _BACKGROUND, dtype=np.uint8)
    bar = min(width // 3, 300)
    strip[6:-6, 28 : 28 + bar] = error_colours(np.linspace(0.0, ERROR_TOP_MM, bar))[None].astype(np.uint8)
    ink = ((8, "0"), (34 + bar, f"{ERROR_TOP_MM:g} mm and more: scan to fitted hand; grey: not compared"))
    for left, text in ink:
        cv2.putText(strip, text, (left, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return np.concatenate([sheet, strip])


def _crop(fit: PicturedFit, camera: Camera) -> _Crop:
    """The square about the hand; about the joints, or the whole scan, where there is no hand."""
    found = fit.keypoints[np.isfinite(fit.keypoints).all(axis=1)]
    shown = fit.hand if fit.hand is not None else found if len(found) >= _ENOUGH_JOINTS else fit.scan.vertices
    pixels = _project(shown, camera)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels):
        pixels = np.array([[0.0, 0.0], [camera.width, camera.height]])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin = _MARGIN if fit.hand is not None else 2.0 * _MARGIN - 1.0
    side = int(np.ceil(np.clip((high - low).max() * margin, 16, 2 * max(camera.width, camera.height))))
    left, top = (int(value) for value in np.floor((low + high) / 2.0 - side / 2.0))
    intrinsics = camera.intrinsics()
    intrinsics[:2, 2] -= (left, top)
    intrinsics[:2] *= TILE_PX / side
    return _Crop(left, top, side, intrinsics)


def _project(points: Float[ndarray, "n 3"], camera: Camera) -> Float[ndarray, "n 2"]:
    """Pixels of the undistorted image; NaN behind the camera."""
    pose = camera.world_to_camera()
    in_camera = points @ pose[:3, :3].T + pose[:3, 3]
    depth = np.where(in_camera[:, 2] > 0, in_camera[:, 2], np.nan)
    return in_camera[:, :2] / depth[:, None] * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def _to_tile(points: Float[ndarray, "n 3"], camera: Camera, crop: _Crop) -> Float[ndarray, "n 2"]:
    return (_project(points, camera) - (crop.left, crop.top)) * (TILE_PX / crop.side)


def _drawn(vertices: Float[ndarray, "n 3"], faces: ndarray, camera: Camera, crop: _Crop) -> Raster:
    pose = camera.world_to_camera()
    in_camera = vertices @ pose[:3, :3].T + pose[:3, 3]
    return rasterize(in_camera, faces, crop.intrinsics, TILE_PX, TILE_PX)


def _shade(drawn: Raster) -> Float[ndarray, "tile tile 1"]:
    """Lit from the camera."""
    return 0.35 + 0.65 * np.abs(drawn.normal[..., 2:].astype(np.float64))
