"""The picture of an ingest: the first capture's images as delivered and turned, and its scan."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.capture.captures import THUMBNAIL_PX, CaptureOutcome
from palm_data.report.pictures import BAD, colourise, contact_sheet, framed, write_png
from schemas.camera import Camera
from schemas.ids import CameraId, is_colour_camera

_COLUMNS = 6


def write_contact_sheet(path: Path, outcome: CaptureOutcome, cameras: Mapping[CameraId, Camera]) -> None:
    """Write the capture's images, a red tile where a camera has none, and the scan's vertices by depth.

    Images stand upright as the rig's common orientation has them; colour cameras come first.
    """
    order = sorted(cameras, key=lambda camera_id: (not is_colour_camera(camera_id), camera_id))
    tiles: list[ndarray] = []
    labels: list[str] = []
    for camera_id in order:
        camera = cameras[camera_id]
        image = outcome.thumbnails.get(camera_id)
        tiles.append(_absent(camera) if image is None else image)
        turn = f" turned {camera.turn_deg}" if camera.turn_deg else ""
        labels.append(camera_id + turn if image is not None else f"{camera_id} absent")
    if outcome.scan is not None:
        size_px = max((max(tile.shape[:2]) for tile in outcome.thumbnails.values()), default=THUMBNAIL_PX)
        tiles.append(draw_scan(outcome.scan.vertices, cameras[order[0]], size_px=size_px))
        labels.append(f"scan, {len(outcome.scan.faces)} faces, from {order[0]}")
    write_png(path, contact_sheet(tiles, labels, _COLUMNS, tile_px=THUMBNAIL_PX))


def _absent(camera: Camera) -> UInt8[ndarray, "h w 3"]:
    scale = THUMBNAIL_PX / max(camera.width, camera.height)
    size = max(1, round(camera.height * scale)), max(1, round(camera.width * scale))
    return framed(np.zeros(size, dtype=np.uint8), BAD)


def draw_scan(vertices: Float[ndarray, "v 3"], camera: Camera, *, size_px: int) -> UInt8[ndarray, "h w 3"]:
    """The vertices as dots, seen along the camera's axis without perspective, near warm and far cold.

    Needs no unit: the dots fill the tile.
    """
    turned = (vertices - vertices.mean(axis=0)) @ np.asarray(camera.rotation).T
    size = float(np.ptp(turned[:, :2], axis=0).max()) or 1.0
    centre = (turned[:, :2].max(axis=0) + turned[:, :2].min(axis=0)) / 2
    pixels = (((turned[:, :2] - centre) / size * 0.9 + 0.5) * (size_px - 1)).astype(np.int64)
    depth = turned[:, 2] - turned[:, 2].min() + size
    radius: Sequence[int] = (-1, 0, 1) if len(vertices) < size_px**2 // 2 else (0,)
    nearest = np.full((size_px, size_px), np.inf)
    for dx in radius:
        for dy in radius:
            column, row = np.clip(pixels + np.array([dx, dy]), 0, size_px - 1).T
            np.minimum.at(nearest, (row, column), depth)
    return colourise(np.where(np.isfinite(nearest), nearest, 0.0))
