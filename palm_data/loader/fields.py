"""What a training sample holds: fields of a view or a capture as plain arrays, all of them of a fixed shape.

Nothing is ever None, so that samples can be stacked: what is missing is NaN, zero or False, as said below.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from palm_data.loader.labels import CaptureLabels
from palm_data.loader.sample import Sample, View
from palm_data.loader.tables import Tables
from palm_data.store.label_tables import LABEL_ARRAYS
from schemas.camera import Camera
from schemas.errors import StoreError

Arrays = dict[str, Any]
"""Names to arrays, numbers, texts, or such again."""

PIXEL_FIELDS = ("rgb", "mask", "depth", "normal", *LABEL_ARRAYS)
"""Those with a value a pixel."""
_LABELS = (*LABEL_ARRAYS, "keypoints", "hand", "quality")
FIELDS = ("rgb", "mask", "depth", "normal", "camera", *_LABELS)
_HAND = {"global_orient": 3, "hand_pose": 45, "betas": 10, "transl": 3}


def checked_fields(fields: Collection[str], known: Collection[str], tables: Tables) -> tuple[str, ...]:
    """The fields, if the version can give them.

    Raises:
        StoreError: if one is not known, or needs labels and the version has none.
    """
    if isinstance(fields, str) or not fields:
        raise StoreError(f"fields: expected some of {', '.join(known)}, found {fields!r}.")
    for name in fields:
        if name not in known:
            raise StoreError(f"fields: expected some of {', '.join(known)}, found {name!r}.")
        if name in _LABELS and not tables.labelled:
            raise tables.no_labels(name)
    return tuple(dict.fromkeys(fields))


def camera_field(camera: Camera) -> Arrays:
    """`intrinsics` (3, 3) px and `world_to_camera` (4, 4) m, float32; `size_px` (2,) int64, width and height."""
    return {
        "intrinsics": camera.intrinsics().astype(np.float32),
        "world_to_camera": camera.world_to_camera().astype(np.float32),
        "size_px": np.array([camera.width, camera.height], dtype=np.int64),
    }


def view_fields(sample: Sample, view: View, fields: Collection[str]) -> Arrays:
    """A view's fields, and whose they are: `subject_id`, `frame`, `gesture`, `camera_id`."""
    named: Mapping[str, Callable[[], object]] = {
        "camera": lambda: camera_field(view.camera),
        "hand": lambda: _hand(sample.labels),
        "quality": lambda: _quality(sample.labels),
        "keypoints": lambda: _view_keypoints(sample.labels, view),
    }
    found = {name: named[name]() if name in named else getattr(view, name) for name in fields}
    return {**_identity(sample), "camera_id": view.camera_id, **found}


def capture_fields(sample: Sample, fields: Collection[str], views: np.ndarray) -> Arrays:
    """A capture's fields, those of views stacked, and whose they are: `subject_id`, `frame`, `gesture`, `present`.

    `present` (views,) bool: whether the rig delivered each image.
    """
    of_views = [name for name in fields if name in PIXEL_FIELDS or name in ("camera", "keypoints")]
    each = [view_fields(sample, sample.every_view[view], of_views) for view in views]
    found: Arrays = {name: _stacked([one[name] for one in each]) for name in of_views}
    if "keypoints" in found:
        found["keypoints"]["points"] = found["keypoints"]["points"][0]
    if "hand" in fields:
        found["hand"] = _hand(sample.labels)
    if "quality" in fields:
        found["quality"] = _quality(sample.labels)
    present = np.array([sample.every_view[view].present for view in views])
    return {**_identity(sample), "present": present, **{name: found[name] for name in fields}}


def _identity(sample: Sample) -> Arrays:
    return {"subject_id": sample.subject_id, "frame": sample.frame, "gesture": sample.gesture}


def _view_keypoints(labels: CaptureLabels, view: View) -> Arrays:
    return {
        "points": labels.keypoints.points.astype(np.float32),
        "points_px": view.keypoints_px.astype(np.float32),
        "confidence": view.keypoint_confidence.astype(np.float32),
    }


def _hand(labels: CaptureLabels) -> Arrays:
    hand = labels.hand
    parts = {
        name: np.full(size, np.nan, dtype=np.float32) if hand is None else getattr(hand, name).astype(np.float32)
        for name, size in _HAND.items()
    }
    return {"fitted": np.array(hand is not None), **parts}


def _quality(labels: CaptureLabels) -> Arrays:
    row = labels.quality
    return {"ok": np.array(row.quality_ok), "score": np.array(row.score, dtype=np.float32)}


def _stacked(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {name: _stacked([one[name] for one in values]) for name in values[0]}
    return np.stack(values)
