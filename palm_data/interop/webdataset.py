"""A release as WebDataset shards: tar files of plain PNG, NPZ and JSON members that need no unpickling.

<out>/<split>-000000.tar …       samples in the order of subject and frame; one sample is one view
<out>/index.json                 every shard with its samples, bytes and sha256
<out>/palm_export.request.json   which release, with what settings

A sample `0007_000003_MCU_04` has `.rgb.png`, `.mask.png`, `.json` (identity, K, world_to_camera), `.normal.npz`
(int16 / 32767, camera axes), `.depth.npz` (float32, metres along z, 0 = none), and with labels `.hand_mask.png`,
`.training_mask.png`, joints and hand in the JSON. The same release gives the same bytes.
"""

import io
import json
import math
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palm_data.interop.pngs import png_bytes
from palm_data.interop.unfinished import Request, growing, is_whole
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample, View
from palm_data.store.atomic import file_sha256, write_bytes
from schemas.errors import IntegrityError, SettingsError
from schemas.release import SplitName

INDEX_FILE = "index.json"
SHARD_BYTES = 1 << 30
MAPS = ("mask", "normal", "depth", "hand_mask", "training_mask")
_LABEL_MAPS = ("hand_mask", "training_mask")
_CODE_VERSION = "1"
_STEPS = 32767


class WebdatasetCounts(NamedTuple):
    """What was exported."""

    shards: int
    samples: int


def export_webdataset(
    release: Release,
    out: Path,
    *,
    maps: Collection[str] | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> WebdatasetCounts:
    """Write a release's views as tar shards, each split its own; an interrupted run goes on with the next shard.

    A view whose image the rig did not deliver is left out.

    Args:
        out: the folder to make; it appears when it is whole.
        maps: which maps beside the images, of `MAPS`; by default those that the version has.
        shard_bytes: a shard is closed once it holds so much; a capture is never cut in two.
        progress: called with captures done and captures in all.

    Raises:
        SettingsError: if a map is not known, or `shard_bytes` is not positive.
        StoreError: if the version does not hold a map that is asked for.
        ConflictError: if `out` holds anything else.
        IntegrityError: if the release is damaged.
    """
    chosen = _chosen(release, maps)
    if shard_bytes < 1:
        raise SettingsError(f"shard size: expected at least one byte, found {shard_bytes}.")
    request = _request(release, chosen, shard_bytes)
    if is_whole(out, request):
        return _counts(out)
    done = 0
    with growing(out, request) as folder:
        shards: list[dict[str, Any]] = []
        for split in release.manifest.splits:
            theirs = release.filtered(split=split)
            at = 0
            while at < len(theirs):
                shard = _Writer(folder, chosen, shard_bytes).shard(theirs, at, split)
                shards.append(shard)
                at += shard["captures"]
                done += shard["captures"]
                if progress is not None:
                    progress(done, len(release))
        write_bytes(
            folder / INDEX_FILE, (json.dumps({"release": release.version, "shards": shards}, indent=1) + "\n").encode()
        )
        for path in folder.glob("*.tar.json"):
            path.unlink()
        return _counts(folder)


def _chosen(release: Release, maps: Collection[str] | None) -> tuple[str, ...]:
    if maps is None:
        held = [name for name in MAPS if len(release) and release.shard(release.subject_ids[0]).has(f"{name}/full")]
        return tuple(held)
    unknown = sorted(set(maps) - set(MAPS))
    if unknown:
        raise SettingsError(f"maps: expected some of {', '.join(MAPS)}, found {', '.join(unknown)}.")
    for name in set(maps) & set(_LABEL_MAPS):
        if not release.labelled:
            raise release.tables.no_labels(name)
    return tuple(name for name in MAPS if name in maps)


def _request(release: Release, maps: tuple[str, ...], shard_bytes: int) -> Request:
    return {
        "format": "webdataset",
        "code_version": _CODE_VERSION,
        "release": release.version,
        "merkle_root": release.manifest.merkle_root,
        "captures": [f"{sample.subject_id}/{sample.frame}" for sample in release],
        "views": list(release.views or ()),
        "maps": list(maps),
        "shard_bytes": shard_bytes,
    }


class _Writer(NamedTuple):
    folder: Path
    maps: tuple[str, ...]
    shard_bytes: int

    def shard(self, release: Release, start: int, split: SplitName) -> dict[str, Any]:
        """Write a shard from a capture on, unless an earlier run has; what the index says of it."""
        entries = [json.loads(path.read_bytes()) for path in self.folder.glob(f"{split}-*.tar.json")]
        for entry in entries:
            if entry["start"] == start and (self.folder / entry["path"]).stat().st_size == entry["bytes"]:
                return dict(entry)
        path = self.folder / f"{split}-{len(entries):06d}.tar"
        partial = self.folder / f".{path.name}.partial"
        samples = captures = 0
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
            while start + captures < len(release) and archive.offset < self.shard_bytes:
                for key, members in _samples(release[start + captures], self.maps, labelled=release.labelled):
                    for name, content in members:
                        _add(archive, f"{key}.{name}", content)
                    samples += 1
                captures += 1
        partial.rename(path)
        entry = {
            "path": path.name, "split": split, "start": start, "captures": captures, "samples": samples,
            "bytes": path.stat().st_size, "sha256": file_sha256(path),
        }  # fmt: skip
        write_bytes(self.folder / f"{path.name}.json", json.dumps(entry).encode())
        return entry


def _samples(sample: Sample, maps: tuple[str, ...], *, labelled: bool) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    for view in sample.views:
        if view.present:
            key = f"{sample.subject_id}_{sample.frame:06d}_{view.camera_id}"
            members = [("rgb.png", png_bytes(view.rgb)), *(_map(view, name) for name in maps)]
            yield key, [*members, ("json", _described(sample, view, labelled=labelled))]


def _map(view: View, name: str) -> tuple[str, bytes]:
    if name == "depth":
        return "depth.npz", _npz(view.depth)
    if name == "normal":
        return "normal.npz", _npz(np.rint(view.normal * _STEPS).astype(np.int16))
    return f"{name}.png", png_bytes(getattr(view, name).astype(np.uint8) * np.uint8(255))


def _described(sample: Sample, view: View, *, labelled: bool) -> bytes:
    found: dict[str, Any] = {
        "subject_id": sample.subject_id, "frame": sample.frame, "gesture": sample.gesture, "camera_id": view.camera_id,
        "split": sample.split, "width": view.camera.width, "height": view.camera.height,
        "intrinsics": view.camera.intrinsics().tolist(), "world_to_camera": view.camera.world_to_camera().tolist(),
    }  # fmt: skip
    if labelled:
        found["keypoints_px"] = [_numbers(point) for point in view.keypoints_px]
        found["keypoint_confidence"] = view.keypoint_confidence.tolist()
        found["keypoints_m"] = [_numbers(point) for point in sample.keypoints.points]
        found["quality_ok"], found["score"] = sample.quality.quality_ok, sample.quality.score
        if sample.hand is not None:
            fit = sample.hand.fit
            found["hand"] = {name: getattr(fit, name) for name in ("global_orient", "hand_pose", "betas", "transl")}
            found["hand_convention"] = sample.hand.convention.model_dump(mode="json")
    return json.dumps(found, allow_nan=False).encode()


def _numbers(point: np.ndarray) -> list[float] | None:
    """A point, or null where it is missing: JSON has no NaN."""
    return point.tolist() if all(map(math.isfinite, point)) else None


def _npz(array: np.ndarray) -> bytes:
    """An archive with one compressed array, `values`."""
    stream = io.BytesIO()
    np.savez_compressed(stream, values=array)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o444
    archive.addfile(member, io.BytesIO(content))


def _counts(folder: Path) -> WebdatasetCounts:
    path = folder / INDEX_FILE
    try:
        shards = json.loads(path.read_bytes())["shards"]
        return WebdatasetCounts(len(shards), sum(shard["samples"] for shard in shards))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: expected the index of an export, found {error!r}. Export again.") from error
