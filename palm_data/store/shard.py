"""The `subject_shard` stage: everything released about a subject, in one Zarr group and three tables.

    shard.zarr/{rgb,mask,depth,normal}/full      (capture, view, y, x[, channel]); one shard object a capture
    shard.zarr/scan/*                            the scans, concatenated over captures (`palm_data.store.scans`)
    tables/{captures,images,cameras}.parquet     the subject's rows of the released tables
    figures.json, picture.png

Maps are shared with the output of `scan_maps` by hard link. Images are turned to the rig's common orientation and
undistorted; pixels are all that is taken from a raw file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.camera.pinhole import undistort_image, undistortion_maps
from palm_data.capture.index import usable_index
from palm_data.maps.captured import read_view_image
from palm_data.report.pictures import contact_sheet, draw_contours, write_png
from palm_data.store.arrays import create_group, create_image_array, open_array, open_group, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file, place
from palm_data.store.rows import camera_rows, capture_rows, image_rows
from palm_data.store.scans import ScanSize, write_scans
from palm_data.store.sources import TIER, ShardSources, load_sources, shard_inputs
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex
from schemas.errors import StoreError
from schemas.ids import SubjectId
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings

STAGE = "subject_shard"
SHARD = "shard.zarr"
CODE_VERSION = "1"

Images = UInt8[ndarray, "views height width 3"]


def build_subject_shard(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Undistort the subject's images and put them beside the maps and scans, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a raw file is not the one that was ingested.
        StoreError: if an earlier stage has not finished, or its output does not fit.
    """
    index = usable_index(workspace, subject_id)
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=recorded_settings(settings),
        inputs=shard_inputs(index, workspace),
        work=lambda folder: _build(folder, load_sources(index, workspace, settings), settings),
    )


def recorded_settings(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """The settings that shape a shard's bytes, by their dotted names."""
    return {
        "shard.tile_px": settings.shard.tile_px,
        "shard.background": settings.shard.background,
        "maps.depth_unit_mm": settings.maps.depth_unit_mm,
        "ingest.tka_pixel_origin": str(settings.ingest.tka_pixel_origin),
    }


def out_of_date(index: CaptureIndex, workspace: Workspace, settings: Settings) -> str | None:
    """Why the subject's shard is not the one that the present inputs and settings give; None if it is.

    Raises:
        IntegrityError: if a record of the workspace is damaged.
    """
    record = workspace.record(STAGE, index.subject.subject_id)
    if record is None:
        return f"{STAGE}: expected a finished output, found nothing"
    try:
        inputs = shard_inputs(index, workspace)
    except StoreError:
        return f"{STAGE}: expected finished inputs, found some missing"
    changed = [name for name, digest in inputs.items() if record.inputs.get(name) != digest]
    if record.settings != recorded_settings(settings):
        changed.append("settings")
    if record.code_version != CODE_VERSION:
        changed.append("code version")
    return (
        f"{STAGE}: expected one made from the present inputs, found others: {', '.join(changed)}" if changed else None
    )


def _build(folder: Path, sources: ShardSources, settings: Settings) -> None:
    group = create_group(folder / SHARD, _attributes(sources))
    for item in sources.map_files:
        source = sources.maps / item.path
        check_file(source, size=item.bytes, sha256=item.sha256, hint=DAMAGED_WORKSPACE)
        place(source, folder / SHARD / item.path)
    first = _write_images(group, sources, settings)
    scans = write_scans(group, sources.index.captures, sources.raw, settings)
    captures, images = capture_rows(sources, scans), image_rows(sources)
    write_rows(folder / "tables" / "captures.parquet", CaptureRow, captures)
    write_rows(folder / "tables" / "images.parquet", ImageRow, images)
    write_rows(folder / "tables" / "cameras.parquet", CameraRow, camera_rows(sources))
    figures = {**_figures(images, scans), "megabytes": _megabytes(folder / SHARD)}
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    write_png(folder / "picture.png", _picture(first, sources))


def _attributes(sources: ShardSources) -> dict[str, object]:
    index = sources.index
    return {
        "subject_id": index.subject.subject_id,
        "frames": [capture.frame for capture in index.captures],
        "gestures": [capture.gesture for capture in index.captures],
        "camera_ids": [camera.camera_id for camera in sources.cameras],
        "arrays": "rgb, mask, depth, normal: (capture as in frames, view as in camera_ids, y down, x right[, channel])",
        "world": "rig frame, metres",
        "camera_axes": "x right, y down, z forward; pixel coordinates are integers at pixel corners",
    }


def _write_images(group: zarr.Group, sources: ShardSources, settings: Settings) -> Images:
    """Write every capture's images, undistorted, one capture in memory at a time; returns the first one's."""
    attributes = {
        "description": "sRGB, undistorted, in the rig's common orientation; zero where there is no image",
        "background": settings.shard.background,
    }
    array = create_image_array(
        group, f"rgb/{TIER}", (*sources.shape, 3), np.uint8, tile_px=settings.shard.tile_px, attributes=attributes
    )
    masks = open_array(open_group(sources.maps), f"mask/{TIER}")
    remaps = [undistortion_maps(camera) for camera in sources.cameras]
    first = None
    for row, capture in enumerate(sources.index.captures):
        pixels = np.zeros((*sources.shape[1:], 3), dtype=np.uint8)
        for view, (camera, remap) in enumerate(zip(sources.cameras, remaps, strict=True)):
            record = capture.image(camera.camera_id)
            if record is not None:
                pixels[view] = undistort_image(read_view_image(record, camera, settings), camera, remap)
        if settings.shard.background == "zero":
            pixels[np.asarray(masks[row]) == 0] = 0
        write_frame(array, row, pixels)
        first = pixels if first is None else first
    return np.asarray(first)


def _figures(images: Sequence[ImageRow], scans: Sequence[ScanSize]) -> dict[str, float | int]:
    ious = [row.silhouette_iou for row in images if row.silhouette_iou is not None]
    return {
        "captures": len(scans),
        "views": len(images) // len(scans),
        "images": sum(row.present for row in images),
        "images_missing": sum(not row.present for row in images),
        "mask_px_mean": round(float(np.mean([row.mask_px for row in images])), 1),
        "silhouette_iou_mean": round(float(np.mean(ious)), 4) if ious else 0.0,
        "scan_vertices": sum(scan.vertices for scan in scans),
        "scan_faces": sum(scan.faces for scan in scans),
    }


def _megabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 3)


def _picture(images: Images, sources: ShardSources) -> UInt8[ndarray, "h w 3"]:
    """The first capture as released, the mask's outline drawn."""
    masks = np.asarray(open_array(open_group(sources.maps), f"mask/{TIER}")[0])
    outlined = [draw_contours(image, mask) for image, mask in zip(images, masks, strict=True)]
    gesture = sources.index.captures[0].gesture
    return contact_sheet(outlined, [f"{camera.camera_id} {gesture}" for camera in sources.cameras], columns=4)
