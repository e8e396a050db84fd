"""The `subject_shard` stage: everything that was captured of a subject, as released, in one Zarr group and tables.

    shard.zarr/{rgb,mask,depth,normal}/<tier>    (capture, view, y, x[, channel]); one shard object a capture
    shard.zarr/mono/<tier>                       the mono cameras' images, if the settings want them, with two tables
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

from palm_data.capture.index import usable_index
from palm_data.report.pictures import contact_sheet, draw_contours, write_png
from palm_data.store.arrays import create_group, open_array, open_group
from palm_data.store.atomic import write_bytes
from palm_data.store.images import kept_by_maps, kept_by_scans, write_images
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file, place
from palm_data.store.rows import camera_rows, capture_rows, image_rows, mono_camera_rows, mono_image_rows
from palm_data.store.scans import ScanSize, write_scans
from palm_data.store.sources import ShardSources, load_sources, shard_inputs
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex
from schemas.errors import StoreError
from schemas.ids import SubjectId
from schemas.release import CameraRow, CaptureRow, ImageRow, MonoImageRow
from schemas.settings import Settings
from schemas.tier import FULL

STAGE = "subject_shard"
SHARD = "shard.zarr"
CODE_VERSION = "2"

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
        "shard.tiers": " ".join(settings.shard.tiers),
        "shard.background": settings.shard.background,
        "shard.mono": settings.shard.mono,
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
    figures = {
        **_figures(images, scans),
        **_write_mono(folder, group, sources, settings),
        "megabytes": _megabytes(folder / SHARD),
    }
    write_bytes(folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    write_png(folder / "picture.png", _picture(first, sources))


def _write_images(group: zarr.Group, sources: ShardSources, settings: Settings) -> Images:
    """Write the colour images; returns the first capture's."""
    kept = kept_by_maps(open_group(sources.maps)) if settings.shard.background == "zero" else None
    return write_images(group, "rgb", sources.index.captures, sources.cameras, settings, kept=kept)


def _write_mono(folder: Path, group: zarr.Group, sources: ShardSources, settings: Settings) -> dict[str, int]:
    """Write the mono images and their two tables, if they are to be released; how many there are."""
    if not sources.mono:
        return {}
    captures = sources.index.captures
    kept = kept_by_scans(captures, sources.mono, settings) if settings.shard.background == "zero" else None
    write_images(group, "mono", captures, sources.mono, settings, kept=kept)
    rows = mono_image_rows(sources)
    write_rows(folder / "tables" / "mono_images.parquet", MonoImageRow, rows)
    write_rows(folder / "tables" / "mono_cameras.parquet", CameraRow, mono_camera_rows(sources))
    return {"mono_images": sum(row.present for row in rows)}


def _attributes(sources: ShardSources) -> dict[str, object]:
    index = sources.index
    return {
        "subject_id": index.subject.subject_id,
        "frames": [capture.frame for capture in index.captures],
        "gestures": [capture.gesture for capture in index.captures],
        "camera_ids": [camera.camera_id for camera in sources.cameras],
        **({"mono_camera_ids": [camera.camera_id for camera in sources.mono]} if sources.mono else {}),
        "arrays": "rgb, mask, depth, normal: (capture as in frames, view as in camera_ids, y down, x right[, channel])",
        "world": "rig frame, metres",
        "camera_axes": "x right, y down, z forward; pixel coordinates are integers at pixel corners",
    }


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
    masks = np.asarray(open_array(open_group(sources.maps), f"mask/{FULL}")[0])
    outlined = [draw_contours(image, mask) for image, mask in zip(images, masks, strict=True)]
    gesture = sources.index.captures[0].gesture
    return contact_sheet(outlined, [f"{camera.camera_id} {gesture}" for camera in sources.cameras], columns=4)
