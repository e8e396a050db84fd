"""What a prior shows of views, beside what was photographed and scanned there: for people to judge."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.camera.pinhole import project
from palm_data.loader.release import Release
from palm_data.loader.sample import View
from palm_data.maps.predicted import PredictedView
from palm_data.report.pictures import colourise, contact_sheet, normals_to_rgb
from palm_model.prior.batches import ViewKey, view_keys
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.prior import Prior
from schemas.camera import Camera
from schemas.prior import PriorSettings

_MARGIN = 0.08
"""Room about the hand, as a share of its size in the image."""
_TILE_PX = 112
"""Views are drawn at most so large: a few seconds on one core."""
_SHOWN_PX = 224
_MOST_VIEWS = 4
_LARGEST_ERROR = 0.2
_COLUMNS = ("photograph", "colour", "error 0-0.2", "scan normal", "normal", "albedo", "roughness", "depth")

ShownAs = Literal["new camera", "new gesture", "validation", "seen"]


class ShownView(NamedTuple):
    """A view, and what the training knew of it."""

    key: ViewKey
    shown_as: ShownAs


class _Window(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


def shown_views(release: Release, settings: PriorSettings, validation: Sequence[ViewKey]) -> list[ShownView]:
    """A few views, those that tell most first: of cameras and gestures held out, of validation, then any.

    Args:
        release: with all that was held out.
        validation: the views that the training set aside.
    """
    cameras = sorted(release.tables["images"]["camera_id"].unique().to_pylist())
    found: dict[ShownAs, list[ViewKey]] = {"new camera": [], "new gesture": [], "validation": [], "seen": []}
    for key in view_keys(release.at_tier(settings.training.tier), cameras, settings.training.region):
        if key.camera_id in settings.held_out.cameras:
            found["new camera"].append(key)
        elif release.capture(key.subject_id, key.frame).gesture in settings.held_out.gestures:
            found["new gesture"].append(key)
        elif key in validation:
            found["validation"].append(key)
        else:
            found["seen"].append(key)
    unseen = any(found[kind] for kind in found if kind != "seen")
    turns = [
        ShownView(key, kind) for kind, keys in found.items() if kind != "seen" or not unseen for key in _apart(keys)
    ]
    first = [
        next(one for one in turns if one.shown_as == kind) for kind in found if any(t.shown_as == kind for t in turns)
    ]
    return (first + [one for one in turns if one not in first])[:_MOST_VIEWS]


def prior_picture(
    prior: Prior, release: Release, hands: ReleasedHands, views: Sequence[ShownView]
) -> UInt8[ndarray, "height width 3"]:
    """One row a view, cropped to the hand: photograph, colour, error, normals of scan and prior, materials and depth.

    Raises:
        StoreError: if a view is not of the release, or its hand is not among the hands.
        IntegrityError: if an image is damaged.
    """
    tiles: list[UInt8[ndarray, "height width 3"]] = []
    labels: list[str] = []
    shown = release.at_tier(prior.settings.training.tier)
    for key, shown_as in views:
        view = shown.capture(key.subject_id, key.frame).view(key.camera_id)
        poses, skinning = hands.select([hands.row(key.subject_id, key.frame)])
        window, camera = cropped(view.camera, poses.vertices[0].cpu().numpy().astype(np.float64))
        with torch.no_grad():
            predicted = prior.view(camera, poses, skinning)
        tiles += _row(view, window, camera, predicted, prior.settings.training.region)
        labels += [f"{key.subject_id}/{key.frame} {key.camera_id}, {shown_as}", *_COLUMNS[1:]]
    enlarged = [_enlarged(tile) for tile in tiles]
    return contact_sheet(enlarged, labels, len(_COLUMNS), tile_px=_SHOWN_PX)


def cropped(camera: Camera, vertices: Float[ndarray, "v 3"]) -> tuple[_Window, Camera]:
    """The part of a camera's image about a hand, and a camera that sees just that part, at most 112 px large."""
    at, _ = project(camera, vertices)
    room = _MARGIN * float((at.max(axis=0) - at.min(axis=0)).max())
    size = (camera.width, camera.height)
    left, top = (int(one) for one in np.clip(np.floor(at.min(axis=0) - room), 0, np.subtract(size, 1)))
    right, bottom = (int(one) for one in np.clip(np.ceil(at.max(axis=0) + room), (left + 1, top + 1), size))
    scale = min(_TILE_PX / max(right - left, bottom - top), 1.0)
    width, height = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
    x, y = width / (right - left), height / (bottom - top)
    changed = {
        "width": width,
        "height": height,
        "fx": camera.fx * x,
        "fy": camera.fy * y,
        "cx": (camera.cx - left) * x,
        "cy": (camera.cy - top) * y,
    }
    return _Window(left, top, right, bottom), camera.model_copy(update=changed)


def error_picture(error: Float[ndarray, "height width"]) -> UInt8[ndarray, "height width 3"]:
    """False colours of an error from 0 (dark) to 0.2 and above (bright)."""
    level = np.rint(255 * np.clip(error / _LARGEST_ERROR, 0.0, 1.0)).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1])


def _row(
    view: View, window: _Window, camera: Camera, predicted: PredictedView, region: str
) -> list[UInt8[ndarray, "height width 3"]]:
    """A view's pictures, in the order of the columns."""
    part = (slice(window.top, window.bottom), slice(window.left, window.right))
    size = (camera.width, camera.height)
    mask = np.asarray(getattr(view, region))[part] > 0
    photograph = _reduced(view.rgb[part] / np.float32(255.0) * mask[..., None], size)
    scan = _reduced(normals_to_rgb(view.normal[part].astype(np.float64)) / np.float32(255.0), size)
    normal = normals_to_rgb(predicted.normal.astype(np.float64) @ np.asarray(camera.rotation).T)
    there = predicted.opacity[..., None]
    empty = np.zeros((*predicted.opacity.shape, 3), np.float32)
    albedo = empty if predicted.albedo is None else _srgb(predicted.albedo) * there
    roughness = empty if predicted.roughness is None else np.repeat(predicted.roughness[..., None] * there, 3, axis=2)
    return [
        _bytes(photograph),
        _bytes(predicted.rgb),
        error_picture(np.abs(predicted.rgb - photograph).mean(axis=-1)),
        _bytes(scan),
        normal,
        _bytes(albedo),
        _bytes(roughness),
        colourise(predicted.depth),
    ]


def _reduced(image: Float[ndarray, "height width 3"], size: tuple[int, int]) -> Float[ndarray, "height_ width_ 3"]:
    reduced = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.float32)


def _enlarged(tile: UInt8[ndarray, "height width 3"]) -> UInt8[ndarray, "height_ width_ 3"]:
    scale = _SHOWN_PX / max(tile.shape[:2])
    size = (max(round(tile.shape[1] * scale), 1), max(round(tile.shape[0] * scale), 1))
    return np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _srgb(linear: Float[ndarray, "height width 3"]) -> Float[ndarray, "height width 3"]:
    from palm_data.colour import srgb_from_linear

    return np.asarray(srgb_from_linear(np.clip(linear, 0.0, 1.0)), dtype=np.float32)


def _bytes(image: Float[ndarray, "height width 3"]) -> UInt8[ndarray, "height width 3"]:
    return np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8)


def _apart(keys: Sequence[ViewKey]) -> list[ViewKey]:
    """As many as are shown at most, far from each other in the order: of different people."""
    return [keys[int(at)] for at in np.unique(np.linspace(0, len(keys) - 1, min(_MOST_VIEWS, len(keys))).astype(int))]
