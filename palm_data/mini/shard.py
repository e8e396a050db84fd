"""A person's group with some of their captures: read, verified, and written as a publisher of all would."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import zarr

from palm_data.store.arrays import create_group, create_image_array, create_row_array, write_frame
from schemas.arrays import OFFSETS
from schemas.errors import IntegrityError

if TYPE_CHECKING:
    from palm_data.loader.release import Release
    from palm_data.loader.shards import Shard
    from schemas.ids import SubjectId

TIER = "full"
_METADATA = "zarr.json"
_MODALITIES = ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask")


def write_subset(folder: Path, release: "Release", subject_id: "SubjectId", frames: Sequence[int]) -> None:
    """Write the group of a person with these captures, in their order, at the full resolution.

    Raises:
        StoreError: if they have no such capture.
        IntegrityError: if something of theirs is damaged.
    """
    samples = [release.capture(subject_id, frame).capture for frame in frames]
    shard, rows = release.shard(subject_id), [capture.array_index for capture in samples]
    attributes = _group_attributes(release, subject_id) | {
        "frames": list(frames),
        "gestures": [capture.gesture for capture in samples],
    }
    group = create_group(folder, attributes)
    tile_px = int(str(release.manifest.settings["shard.tile_px"]))
    for name in (f"{modality}/{TIER}" for modality in _MODALITIES):
        if shard.has(name):
            _copy_frames(group, name, shard, rows, tile_px=tile_px)
    for name, offsets in OFFSETS.items():
        _copy_rows(group, name, offsets, shard, rows)
    sizes = np.concatenate([shard.rows("scan/texture_sizes", row, row + 1) for row in rows])
    create_row_array(group, "scan/texture_sizes", sizes, attributes=shard.attributes("scan/texture_sizes"))
    if sizes.any():
        _copy_frames(group, "scan/texture", shard, rows, tile_px=tile_px, crop=sizes.max(axis=0).tolist())


def _group_attributes(release: "Release", subject_id: "SubjectId") -> dict[str, object]:
    path = f"shards/{subject_id}.zarr/{_METADATA}"
    content = release.tables.files.read(path)
    if hashlib.sha256(content).hexdigest() != release.tables.shard_files(subject_id)[_METADATA][1]:
        raise IntegrityError(f"{release.tables.files.name}/{path}: expected the released file, found another.")
    return dict(json.loads(content).get("attributes", {}))


def _copy_frames(
    group: zarr.Group,
    name: str,
    shard: "Shard",
    rows: Sequence[int],
    *,
    tile_px: int,
    crop: tuple[int, int] | None = None,
) -> None:
    array = None
    for position, row in enumerate(rows):
        pixels = shard.frame(name, row)
        if crop is not None:
            pixels = np.ascontiguousarray(pixels[:, : crop[0], : crop[1]])
        if array is None:
            shape = (len(rows), *pixels.shape)
            array = create_image_array(
                group, name, shape, pixels.dtype, tile_px=tile_px, attributes=shard.attributes(name)
            )
        write_frame(array, position, pixels)


def _copy_rows(group: zarr.Group, name: str, offsets: str, shard: "Shard", rows: Sequence[int]) -> None:
    blocks = [shard.rows(name, *shard.rows(offsets, row, row + 2).tolist()) for row in rows]
    bounds = np.cumsum([0, *(len(block) for block in blocks)], dtype=np.int64)
    create_row_array(group, name, np.concatenate(blocks), attributes=shard.attributes(name))
    create_row_array(group, offsets, bounds, attributes=shard.attributes(offsets))
