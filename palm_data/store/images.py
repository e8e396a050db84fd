"""A subject's images in its group, undistorted, at every tier.

    rgb/<tier>    (capture, view, y, x, channel) uint8   the colour cameras
    mono/<tier>   (capture, view, y, x) uint8            the mono cameras, if the settings want them

A tier's image is averaged from the undistorted full one, background and all, and loses its background by its own mask:
whatever the tier, a pixel is there or zero as its mask says.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import zarr
from jaxtyping import Bool
from numpy import ndarray

from palm_data.camera.area import image_at
from palm_data.camera.pinhole import undistort_image, undistorted, undistortion_maps
from palm_data.camera.tier import camera_at
from palm_data.maps.captured import read_surface, read_view_image
from palm_data.maps.render import project_mask
from palm_data.maps.surface import Surface
from palm_data.store.arrays import create_tier_array, open_array, write_frame
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.settings import Settings
from schemas.tier import FULL, Tier

Kept = Callable[[int, Tier], Bool[ndarray, "views height width"]]
"""Which pixels of a capture's images at a tier are not background."""


def kept_by_maps(maps: zarr.Group) -> Kept:
    """What the scan maps have as mask."""

    def kept(row: int, tier: Tier) -> ndarray:
        return np.asarray(open_array(maps, f"mask/{tier}")[row]) > 0

    return kept


def kept_by_scans(captures: Sequence[CaptureRecord], cameras: Sequence[Camera], settings: Settings) -> Kept:
    """Where the cameras see the scan, drawn here, as the scan maps draw it for the colour cameras."""

    @lru_cache(maxsize=1)
    def surface(row: int) -> Surface:
        return read_surface(captures[row], settings)

    def kept(row: int, tier: Tier) -> ndarray:
        return np.stack([project_mask(surface(row), undistorted(camera_at(camera, tier))) for camera in cameras])

    return kept


def write_images(
    group: zarr.Group,
    name: str,
    captures: Sequence[CaptureRecord],
    cameras: Sequence[Camera],
    settings: Settings,
    *,
    kept: Kept | None = None,
) -> ndarray:
    """Write what the cameras (of one image size) saw, one capture in memory at a time; returns the first one's full images.

    Args:
        name: `rgb` or `mono`.
        kept: where the background begins; all is kept by default.

    Raises:
        BadInputError: if a raw file is not the one that was ingested.
    """
    shape = (len(captures), len(cameras), cameras[0].height, cameras[0].width)
    about = {"background": "keep" if kept is None else "zero"}
    arrays = {
        tier: create_tier_array(group, name, tier, shape, tile_px=settings.shard.tile_px, attributes=about)
        for tier in settings.shard.tiers
    }
    remaps = [undistortion_maps(camera) for camera in cameras]
    first = None
    for row, capture in enumerate(captures):
        pixels: dict[Tier, ndarray] = {tier: np.zeros(array.shape[1:], np.uint8) for tier, array in arrays.items()}
        for view, (camera, remap) in enumerate(zip(cameras, remaps, strict=True)):
            record = capture.image(camera.camera_id)
            if record is not None:
                image = undistort_image(read_view_image(record, camera, settings), camera, remap)
                for tier, values in pixels.items():
                    values[view] = image_at(image, tier)
        for tier, values in pixels.items():
            if kept is not None:
                values[~kept(row, tier)] = 0
            write_frame(arrays[tier], row, values)
        first = pixels[FULL] if first is None else first
    return np.asarray(first)
