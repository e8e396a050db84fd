"""The picture of `hand_maps`: outlines of the fitted hand and of the training mask over the images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from palm_data.camera.pinhole import undistort_image, undistortion_maps
from palm_data.maps.captured import read_view_image
from palm_data.report.pictures import GOOD, NEUTRAL, contact_sheet, draw_contours, fit_within
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.settings import Settings

_TILE_PX = 256
_COLUMNS = 6
_MARGIN = 0.2


class HandTile(NamedTuple):
    """One view of a capture that is worth a look."""

    capture: CaptureRecord
    position: int
    view: int
    iou: float | None
    """Hand against the scan within its reach; None if no hand is drawn."""


def hand_picture(
    tiles: Sequence[HandTile], cameras: Sequence[Camera], masks: Sequence[Any], settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """Each tile's undistorted image about the hand, with the outline of the hand (green) and of the training mask (blue).

    Args:
        masks: the arrays of the hand's mask and of the training mask, captures first, views second.
    """
    pictures, labels = [], []
    for tile in tiles:
        camera = cameras[tile.view]
        hand, training = (np.asarray(array[tile.position, tile.view]) > 0 for array in masks)
        pictures.append(_outlined(_image(tile, camera, settings), hand, training))
        verdict = "no hand" if tile.iou is None else f"IoU {tile.iou:.3f}"
        labels.append(f"{tile.capture.gesture} {camera.camera_id} {verdict}")
    if not pictures:
        return np.zeros((_TILE_PX, _TILE_PX, 3), dtype=np.uint8)
    return contact_sheet(pictures, labels, min(_COLUMNS, len(pictures)), tile_px=_TILE_PX)


def _image(tile: HandTile, camera: Camera, settings: Settings) -> UInt8[ndarray, "height width 3"]:
    record = tile.capture.image(camera.camera_id)
    assert record is not None  # noqa: S101 - only views with an image are shown
    return undistort_image(read_view_image(record, camera, settings), camera, undistortion_maps(camera))


def _outlined(
    image: UInt8[ndarray, "height width 3"],
    hand: Bool[ndarray, "height width"],
    training: Bool[ndarray, "height width"],
) -> UInt8[ndarray, "tile_height tile_width 3"]:
    """The part of the image about the masks, small, with their outlines drawn at that size."""
    box = _box(hand | training)
    shown = fit_within(image[box], _TILE_PX, _TILE_PX)
    size = (shown.shape[1], shown.shape[0])
    for mask, colour in ((training, NEUTRAL), (hand, GOOD)):
        small = cv2.resize(mask[box].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        shown = draw_contours(shown, small, colour)
    return shown


def _box(mask: Bool[ndarray, "height width"]) -> tuple[slice, slice]:
    """The smallest box with the mask and a margin; the whole image if the mask is empty."""
    slices = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        if not len(there):
            return slice(None), slice(None)
        margin = round(_MARGIN * (there[-1] - there[0] + 1)) + 1
        slices.append(slice(max(int(there[0]) - margin, 0), int(there[-1]) + margin + 1))
    return slices[0], slices[1]
