"""The stage `scan_maps`: mask, metric depth and normals of each capture's scan in every colour view, at every tier.

The views are the undistorted ones, so that the maps lie on the released images pixel for pixel. How well the scan's
silhouette agrees with the image is measured in the same pass and kept per view.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.calibration.blind import BlindSpots, blind_mask, blind_spots
from palm_data.calibration.cameras import cameras_digest, colour_cameras, load_cameras
from palm_data.calibration.contour import edge_reach_px
from palm_data.calibration.silhouette import Agreement, measure_agreement
from palm_data.camera.pinhole import undistort_image, undistortion_maps
from palm_data.camera.tier import camera_at
from palm_data.capture.index import usable_index
from palm_data.maps.captured import read_surface, read_view_image
from palm_data.maps.encoding import encode_depth, encode_normals
from palm_data.maps.render import render_surface
from palm_data.maps.surface import Surface
from palm_data.maps.views import VIEWS_FILE, ViewRow, write_views
from palm_data.maps.zbuffer import Raster
from palm_data.report.pictures import (
    colourise,
    contact_sheet,
    fit_within,
    normals_to_rgb,
    overlay_mask,
    write_png,
)
from palm_data.store.arrays import create_group, create_tier_array, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.errors import BadInputError
from schemas.ids import SubjectId
from schemas.settings import Settings
from schemas.tier import FULL, Tier

STAGE = "scan_maps"
CODE_VERSION = "5"
MAPS = "maps.zarr"
_TILE_PX = 256

Tile = UInt8[ndarray, "height width 3"]
Remap = tuple[ndarray, ndarray]


def make_scan_maps(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Draw the maps of all the subject's captures, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, the colour cameras differ in image size, or a raw file is not
            the one that was ingested.
        GeometryError: if a depth cannot be stored in the unit of the settings.
        StoreError: if an earlier stage has not finished.
    """
    index = usable_index(workspace, subject_id)
    calibration_id = index.session.calibration_id
    cameras = colour_cameras(load_cameras(workspace, calibration_id))
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings={
            "depth_unit_mm": settings.maps.depth_unit_mm,
            "tile_px": settings.shard.tile_px,
            "tiers": " ".join(settings.shard.tiers),
        },
        inputs={
            "capture_index": workspace.require("capture_index", subject_id).digest,
            "cameras": cameras_digest(workspace, calibration_id),
        },
        work=lambda folder: _draw(folder, index, cameras, settings),
    )


class _Maps(NamedTuple):
    """The three maps of every view at one tier, as stored: arrays of the group, or one capture's pixels."""

    mask: Any
    depth: Any
    normal: Any


TierMaps = Mapping[Tier, _Maps]


@dataclass(frozen=True)
class _Drawn:
    """What is kept of a capture once its maps are written."""

    capture: CaptureRecord
    rows: tuple[ViewRow, ...]
    tiles: tuple[tuple[Tile, Tile, Tile, Tile], ...]
    """Image, mask over it, depth and normals of each view, small."""
    dropped_pieces: int

    @property
    def agreement(self) -> float:
        """Mean silhouette IoU over the views that could be measured; 1 if none could."""
        measured = [row.silhouette_iou for row in self.rows if row.silhouette_iou is not None]
        return float(np.mean(measured)) if measured else 1.0


def _draw(folder: Path, index: CaptureIndex, cameras: Sequence[Camera], settings: Settings) -> None:
    tiers = _create_arrays(folder / MAPS, index, cameras, settings)
    remaps = [undistortion_maps(camera) for camera in cameras]
    drawn = []
    for position, capture in enumerate(index.captures):
        pixels = {
            tier: _Maps(*(np.zeros(array.shape[1:], dtype=array.dtype) for array in arrays))
            for tier, arrays in tiers.items()
        }
        drawn.append(_draw_capture(capture, cameras, remaps, pixels, settings))
        for tier, arrays in tiers.items():
            for array, values in zip(arrays, pixels[tier], strict=True):
                write_frame(array, position, values)
    write_views(folder / VIEWS_FILE, tuple(row for item in drawn for row in item.rows))
    write_bytes(folder / "figures.json", (json.dumps(_figures(drawn), indent=1) + "\n").encode())
    write_png(folder / "picture.png", _picture(min(drawn, key=lambda item: item.agreement)))


def _create_arrays(path: Path, index: CaptureIndex, cameras: Sequence[Camera], settings: Settings) -> TierMaps:
    sizes = {(camera.height, camera.width) for camera in cameras}
    if len(sizes) != 1:
        raise BadInputError(
            index.session.calibration_id, field="image size", expected="one size for all colour cameras, once turned",
            found=", ".join(f"{width}×{height}" for height, width in sorted(sizes)),
        )  # fmt: skip
    group = create_group(
        path,
        {
            "subject_id": index.subject.subject_id,
            "frames": [capture.frame for capture in index.captures],
            "camera_ids": [camera.camera_id for camera in cameras],
        },
    )
    shape = (len(index.captures), len(cameras), *sizes.pop())
    tile_px = settings.shard.tile_px
    extra = {"depth": {"unit_mm": settings.maps.depth_unit_mm}}
    return {
        tier: _Maps(
            *(
                create_tier_array(group, name, tier, shape, tile_px=tile_px, attributes=extra.get(name))
                for name in _Maps._fields
            )
        )
        for tier in settings.shard.tiers
    }


def _draw_capture(
    capture: CaptureRecord, cameras: Sequence[Camera], remaps: Sequence[Remap], pixels: TierMaps, settings: Settings
) -> _Drawn:
    """Fill the capture's pixels, view by view, and measure each at the full tier."""
    surface = read_surface(capture, settings)
    spots = blind_spots(surface)
    rows, tiles = [], []
    for view, (camera, remap) in enumerate(zip(cameras, remaps, strict=True)):
        rasters = {
            tier: _draw_view(surface, camera_at(camera, tier), maps, view, settings) for tier, maps in pixels.items()
        }
        mask = pixels[FULL].mask[view] > 0
        image = _undistorted_image(capture, camera, remap, settings)
        agreement = _agreement(image, mask, spots, camera)
        rows.append(_row(capture, camera, mask, agreement))
        tiles.append(_tiles(image, mask, rasters[FULL]))
    return _Drawn(capture, tuple(rows), tuple(tiles), surface.dropped_pieces)


def _draw_view(surface: Surface, camera: Camera, maps: _Maps, view: int, settings: Settings) -> Raster:
    """Fill one view's pixels at one tier: drawn by the tier's own camera, so that every tier means the same."""
    raster = render_surface(surface, camera)
    maps.mask[view][raster.roi.slices] = np.where(raster.face_id >= 0, np.uint8(255), np.uint8(0))
    maps.depth[view][raster.roi.slices] = encode_depth(raster.depth, settings.maps.depth_unit_mm)
    maps.normal[view][raster.roi.slices] = encode_normals(raster.normal)
    return raster


def _undistorted_image(
    capture: CaptureRecord, camera: Camera, remap: Remap, settings: Settings
) -> UInt8[ndarray, "height width 3"] | None:
    record = capture.image(camera.camera_id)
    return None if record is None else undistort_image(read_view_image(record, camera, settings), camera, remap)


def _agreement(image: ndarray | None, mask: ndarray, spots: BlindSpots, camera: Camera) -> Agreement | None:
    if image is None:
        return None
    return measure_agreement(
        image, mask, blind_mask(spots, camera), edge_reach_px=edge_reach_px(camera.width, camera.height)
    )


def _row(capture: CaptureRecord, camera: Camera, mask: ndarray, agreement: Agreement | None) -> ViewRow:
    iou = None if agreement is None else agreement.iou
    contour = None if agreement is None else agreement.contour
    return ViewRow(
        frame=capture.frame,
        camera_id=camera.camera_id,
        mask_px=int(np.count_nonzero(mask)),
        silhouette_iou=None if iou is None else round(iou, 5),
        contour_offset_px=None if contour is None else round(contour.offset_px, 3),
    )


def _tiles(image: ndarray | None, mask: ndarray, raster: Raster) -> tuple[Tile, Tile, Tile, Tile]:
    depth, normal = np.zeros(mask.shape, np.float32), np.zeros((*mask.shape, 3), np.float32)
    depth[raster.roi.slices], normal[raster.roi.slices] = raster.depth, raster.normal
    shown = fit_within(np.zeros(mask.shape, np.uint8) if image is None else image, _TILE_PX, _TILE_PX)
    size = (shown.shape[1], shown.shape[0])
    small = [cv2.resize(a, size, interpolation=cv2.INTER_NEAREST) for a in (mask.astype(np.uint8), depth, normal)]
    return shown, overlay_mask(shown, small[0]), colourise(small[1]), normals_to_rgb(small[2])


def _figures(drawn: Sequence[_Drawn]) -> dict[str, float | int]:
    rows = [row for item in drawn for row in item.rows]
    ious = [row.silhouette_iou for row in rows if row.silhouette_iou is not None]
    offsets = [row.contour_offset_px for row in rows if row.contour_offset_px is not None]
    figures: dict[str, float | int] = {
        "captures": len(drawn),
        "views": len(rows),
        "views_measured": len(ious),
        "mask_px_mean": round(float(np.mean([row.mask_px for row in rows])), 1),
        "fragments_left_out": sum(item.dropped_pieces for item in drawn),
    }
    if ious:
        figures["silhouette_iou_mean"] = round(float(np.mean(ious)), 4)
        figures["silhouette_iou_min"] = round(min(ious), 4)
    if offsets:
        figures["contour_offset_px_median"] = round(float(np.median(offsets)), 3)
    return figures


def _picture(worst: _Drawn) -> UInt8[ndarray, "height width 3"]:
    """The capture whose silhouettes agree least: image, mask, depth and normals, one column a view."""
    gesture = worst.capture.gesture
    named = [row.camera_id for row in worst.rows]
    ious = ["not measured" if row.silhouette_iou is None else f"IoU {row.silhouette_iou:.3f}" for row in worst.rows]
    labels = [f"{name} {gesture}" for name in named]
    labels += [f"{name} {iou}" for name, iou in zip(named, ious, strict=True)]
    labels += [f"{name} {kind}" for kind in ("depth", "normals") for name in named]
    images = [tiles[kind] for kind in range(4) for tiles in worst.tiles]
    return contact_sheet(images, labels, len(named), tile_px=_TILE_PX)
