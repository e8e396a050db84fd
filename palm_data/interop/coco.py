"""A release as COCO keypoints: images as PNGs, and JSON files of the joints that were detected in them.

<out>/images/<subject>/<frame>_<camera>.png      undistorted, pixels only
<out>/annotations/keypoints_<split>.json         one file for each split that has captures
<out>/palm_export.request.json                   which release, with what settings

COCO's pixel centres are at whole numbers, ours at +0.5: keypoints move by half a pixel. Its boxes count from the outer
corner of the first pixel, as ours do, and stay.
"""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.interop.pngs import write_png
from palm_data.interop.unfinished import Request, growing, is_whole
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample, View
from palm_data.store.atomic import write_bytes
from schemas.errors import IntegrityError, SettingsError
from schemas.hand import JOINT_NAMES

ANNOTATIONS = "annotations"
VISIBLE_FROM = 0.2
"""Confidence from which a detection counts as seen; below it, triangulation by default does not use it either."""
_CODE_VERSION = "1"
_PARTS = "palm_parts"
_HALF_PIXEL = 0.5
_HAND = 1


class CocoCounts(NamedTuple):
    """What was exported."""

    images: int
    hands: int


def skeleton() -> list[list[int]]:
    """The bones, as pairs of joints counted from 1: wrist to each finger's root, and along each finger to its tip."""
    bones = []
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        chain = ["wrist", *(f"{finger}{part}" for part in (1, 2, 3)), f"{finger}_tip"]
        places = [JOINT_NAMES.index(name) + 1 for name in chain]
        bones += [[start, end] for start, end in pairwise(places)]
    return bones


def coco_keypoints(
    points_px: Float[ndarray, "21 2"], confidence: Float[ndarray, "21"], visible_from: float
) -> list[float]:
    """x, y, v of each joint, flat, in COCO's pixels.

    v is 2 for a confidence from `visible_from` on, 1 for less, and 0, with x = y = 0, where nothing was detected.
    """
    triples: list[float] = []
    for (x, y), sure in zip(points_px.tolist(), confidence.tolist(), strict=True):
        if sure <= 0 or not np.isfinite((x, y)).all():
            triples += [0.0, 0.0, 0]
        else:
            triples += [round(x - _HALF_PIXEL, 3), round(y - _HALF_PIXEL, 3), 2 if sure >= visible_from else 1]
    return triples


def coco_box(mask: Bool[ndarray, "h w"]) -> list[int]:
    """Left, top, width and height of what is set, px; four zeros for nothing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    left, top, right, bottom = map(int, (columns[0], rows[0], columns[-1], rows[-1]))
    return [left, top, right - left + 1, bottom - top + 1]


def export_coco(
    release: Release,
    out: Path,
    *,
    visible_from: float = VISIBLE_FROM,
    progress: Callable[[int, int], None] | None = None,
) -> CocoCounts:
    """Write a release's images and detected joints; an interrupted run goes on where it was.

    An image that the rig did not deliver is left out; one without any detected joint, or without a mask, has no
    annotation. The box and area are those of the training mask, or of the scan's mask where that is empty.

    Args:
        out: the folder to make; it appears when it is whole.
        visible_from: confidence from which a joint counts as seen.
        progress: called with captures done and captures in all.

    Raises:
        StoreError: if the version has no labels.
        SettingsError: if `visible_from` is not above 0 and at most 1.
        ConflictError: if `out` holds anything else.
        IntegrityError: if the release is damaged.
    """
    if not 0 < visible_from <= 1:
        raise SettingsError(f"visible_from: expected more than 0 and at most 1, found {visible_from}.")
    if not release.labelled:
        raise release.tables.no_labels("keypoints_2d")
    request = _request(release, visible_from)
    if is_whole(out, request):
        return _counts(out)
    with growing(out, request) as folder:
        for done, sample in enumerate(release, start=1):
            _write_capture(sample, folder, visible_from)
            if progress is not None:
                progress(done, len(release))
        _join(release, folder)
        return _counts(folder)


def _request(release: Release, visible_from: float) -> Request:
    return {
        "format": "coco",
        "code_version": _CODE_VERSION,
        "release": release.version,
        "merkle_root": release.manifest.merkle_root,
        "captures": [f"{sample.subject_id}/{sample.frame}" for sample in release],
        "views": list(release.views or ()),
        "visible_from": visible_from,
    }


def _part(folder: Path, sample: Sample) -> Path:
    return folder / _PARTS / f"{sample.subject_id}_{sample.frame:06d}.json"


def _write_capture(sample: Sample, folder: Path, visible_from: float) -> None:
    """The capture's images, then its part of the annotations, which says that all of it is there."""
    part = _part(folder, sample)
    if part.is_file():
        return
    entries = []
    for view in sample.views:
        if view.present:
            file = f"images/{sample.subject_id}/{sample.frame:06d}_{view.camera_id}.png"
            write_png(folder / file, view.rgb)
            entries.append({"image": _image(sample, view, file), "annotation": _annotation(view, visible_from)})
    write_bytes(part, json.dumps(entries).encode())


def _image(sample: Sample, view: View, file: str) -> dict[str, object]:
    return {
        "file_name": file.removeprefix("images/"),
        "width": view.camera.width,
        "height": view.camera.height,
        "subject_id": sample.subject_id,
        "frame": sample.frame,
        "gesture": sample.gesture,
        "camera_id": view.camera_id,
        "split": sample.split,
    }


def _annotation(view: View, visible_from: float) -> dict[str, object] | None:
    mask = view.training_mask if view.training_mask.any() else view.mask
    keypoints = coco_keypoints(view.keypoints_px, view.keypoint_confidence, visible_from)
    labelled = sum(flag > 0 for flag in keypoints[2::3])
    if not labelled or not mask.any():
        return None
    return {
        "category_id": _HAND,
        "keypoints": keypoints,
        "num_keypoints": labelled,
        "bbox": coco_box(mask),
        "area": int(mask.sum()),
        "iscrowd": 0,
    }


def _join(release: Release, folder: Path) -> None:
    """The parts of each split as one file; ids count from 1 through all of them, so that files may be put together."""
    images = hands = 0
    for split in release.manifest.splits:
        theirs = release.filtered(split=split)
        if not len(theirs):
            continue
        listed: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for sample in theirs:
            for entry in json.loads(_part(folder, sample).read_bytes()):
                images += 1
                listed.append({"id": images, **entry["image"]})
                if entry["annotation"] is not None:
                    hands += 1
                    annotations.append({"id": hands, "image_id": images, **entry["annotation"]})
        document = {**_headings(release), "images": listed, "annotations": annotations}
        write_bytes(folder / ANNOTATIONS / f"keypoints_{split}.json", json.dumps(document).encode())
    shutil.rmtree(folder / _PARTS)


def _headings(release: Release) -> dict[str, object]:
    category = {"id": _HAND, "name": "hand", "supercategory": "person"}
    return {
        "info": {
            "description": f"PALM release {release.version}",
            "version": release.version,
            "year": release.manifest.created.year,
        },
        "licenses": [],
        "categories": [{**category, "keypoints": list(JOINT_NAMES), "skeleton": skeleton()}],
    }


def _counts(folder: Path) -> CocoCounts:
    images = hands = 0
    for path in sorted((folder / ANNOTATIONS).glob("keypoints_*.json")):
        try:
            document = json.loads(path.read_bytes())
            images += len(document["images"])
            hands += len(document["annotations"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{path}: expected the annotations of an export, found {error!r}. Export again."
            ) from error
    return CocoCounts(images=images, hands=hands)
