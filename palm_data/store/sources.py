"""What a subject's shard is made from: finished stages, and the raw files as they were ingested."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zarr

from palm_data.calibration.cameras import cameras_digest, colour_cameras, load_cameras, mono_cameras
from palm_data.capture.raw_files import read_bounded
from palm_data.maps.views import ViewRow, load_views
from palm_data.store.arrays import open_array, open_group, tier_shape
from palm_data.store.workspace import OutputFile, Workspace
from schemas.arrays import TIERED
from schemas.camera import Camera
from schemas.capture import CaptureIndex, RawFile
from schemas.errors import BadInputError, StoreError
from schemas.settings import Settings
from schemas.tier import FULL, Tier

MAPS = "maps.zarr"
SCAN_MAPS = ("mask", "depth", "normal")


@dataclass(frozen=True)
class ShardSources:
    """What a shard is made from."""

    index: CaptureIndex
    cameras: tuple[Camera, ...]
    """The views, distorted."""
    maps: Path
    map_files: tuple[OutputFile, ...]
    """Files of the maps that the shard shares, relative to `maps`."""
    views: tuple[ViewRow, ...]
    raw: Path
    mono: tuple[Camera, ...] = ()
    """The mono cameras, distorted, if their images are to be released."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Captures, views, height, width."""
        return len(self.index.captures), len(self.cameras), self.cameras[0].height, self.cameras[0].width


def shard_inputs(index: CaptureIndex, workspace: Workspace) -> dict[str, str]:
    """Digests of what a shard depends on; of the calibration only the cameras, not how they were verified.

    Raises:
        StoreError: if a stage has not finished.
    """
    return {
        "capture_index": workspace.require("capture_index", index.subject.subject_id).digest,
        "cameras": cameras_digest(workspace, index.session.calibration_id),
        "scan_maps": workspace.require("scan_maps", index.subject.subject_id).digest,
    }


def load_sources(index: CaptureIndex, workspace: Workspace, settings: Settings) -> ShardSources:
    """Everything a shard is made from, checked to fit together.

    Raises:
        BadInputError: if the colour cameras differ in image size, or mono cameras are wanted and differ, or there are none.
        StoreError: if a stage has not finished, or the maps are not of the captures and cameras.
    """
    subject_id = index.subject.subject_id
    every = load_cameras(workspace, index.session.calibration_id)
    cameras, mono = colour_cameras(every), mono_cameras(every) if settings.shard.mono else ()
    _check_sizes(cameras, "colour", index)
    if settings.shard.mono:
        _check_sizes(mono, "mono", index)
    sources = ShardSources(
        index=index,
        cameras=cameras,
        maps=workspace.output("scan_maps", subject_id) / MAPS,
        map_files=_map_files(workspace.require("scan_maps", subject_id).outputs),
        views=load_views(workspace, subject_id),
        raw=settings.raw,
        mono=mono,
    )
    _check_maps(sources, settings)
    return sources


def _check_sizes(cameras: Sequence[Camera], kind: str, index: CaptureIndex) -> None:
    sizes = {(camera.width, camera.height) for camera in cameras}
    if len(sizes) != 1:
        raise BadInputError(
            index.session.calibration_id, field="image size", expected=f"one size for all {kind} cameras, once turned",
            found=", ".join(f"{width}×{height}" for width, height in sorted(sizes)) or f"no {kind} camera",
        )  # fmt: skip


def ingested(raw: Path, record: RawFile) -> bytes:
    """The content of a raw file, if it is still what was ingested.

    Raises:
        BadInputError: if the file is gone or has changed.
        StoreError: if the disk would not give it.
    """
    content = read_bounded(raw / record.path, max_bytes=max(record.bytes, 1))
    found = hashlib.sha256(content).hexdigest()
    if found != record.sha256:
        raise BadInputError(
            record.path, field="sha256", expected=record.sha256, found=found,
            hint="The raw file changed after ingest: ingest the subject again.",
        )  # fmt: skip
    return content


def _map_files(outputs: tuple[OutputFile, ...]) -> tuple[OutputFile, ...]:
    prefixes = tuple(f"{MAPS}/{name}/" for name in SCAN_MAPS)
    return tuple(
        item.model_copy(update={"path": item.path.removeprefix(f"{MAPS}/")})
        for item in outputs
        if item.path.startswith(prefixes)
    )


def check_map(maps: zarr.Group, name: str, shape: tuple[int, int, int, int], tier: Tier) -> zarr.Array:
    """A map of the tier, of the type that it is released in and of the full shape (captures, views, height, width).

    Raises:
        StoreError: if it is not.
        IntegrityError: if there is none.
    """
    array, dtype, expected = open_array(maps, f"{name}/{tier}"), TIERED[name].dtype, tier_shape(name, tier, shape)
    if array.shape != expected or array.dtype != dtype:
        raise StoreError(f"{name}/{tier}: expected {dtype} {expected}, found {array.dtype} {array.shape}.")
    return array


def check_tiers(maps: zarr.Group, name: str, tiers: tuple[Tier, ...]) -> None:
    """Hold a map's tiers to those that are wanted.

    Raises:
        StoreError: if they are others.
    """
    group = maps.get(name)
    found = sorted(group) if isinstance(group, zarr.Group) else []
    if found != sorted(tiers):
        raise StoreError(f"{name}: tiers: expected {', '.join(tiers)}, found {', '.join(found) or 'none'}.")


def _check_maps(sources: ShardSources, settings: Settings) -> None:
    maps = open_group(sources.maps)
    try:
        for name in SCAN_MAPS:
            check_tiers(maps, name, settings.shard.tiers)
            for tier in settings.shard.tiers:
                check_map(maps, name, sources.shape, tier)
    except StoreError as error:
        raise StoreError(f"{sources.maps}: {error} Materialize scan_maps again.") from error
    unit_mm = open_array(maps, f"depth/{FULL}").attrs.get("unit_mm")
    if unit_mm != settings.maps.depth_unit_mm:
        raise StoreError(
            f"{sources.maps}/depth/{FULL}: unit_mm: expected {settings.maps.depth_unit_mm}, as the settings say, found "
            f"{unit_mm}. Materialize scan_maps again."
        )
