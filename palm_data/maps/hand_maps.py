"""The stage `hand_maps`: the fitted hand's silhouette and the fused training mask in every colour view, at every tier.

maps.zarr/{hand_mask,training_mask}/<tier>    (capture, view, y, x) uint8, 0 or 255; one shard object a capture
figures.json, picture.png

The views and pixels are those of the scan maps. A capture whose hand could not be fitted has no hand and no training
mask: both are zero.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.calibration.cameras import cameras_digest, colour_cameras, load_cameras
from palm_data.camera.tier import camera_at
from palm_data.capture.index import usable_index
from palm_data.hand.fits import HAND_POSE, load_convention, load_hands
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.maps.hand_picture import HandTile, hand_picture
from palm_data.maps.render import render_surface
from palm_data.maps.surface import Surface, vertex_normals
from palm_data.maps.training_mask import MaskSides, fused_mask, mask_sides, near_hand
from palm_data.registration.posed import PosedHandFunction
from palm_data.report.pictures import write_png
from palm_data.store.arrays import create_group, create_tier_array, open_group, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file
from palm_data.store.sources import check_map, check_tiers
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.capture import CaptureIndex
from schemas.errors import StoreError
from schemas.hand import HandRow
from schemas.ids import SubjectId
from schemas.settings import Settings
from schemas.tier import FULL, Tier

STAGE = "hand_maps"
CODE_VERSION = "3"
MAPS = "maps.zarr"
_SCAN_MAPS = "scan_maps"
_SCAN_MASK = "mask"
_SHOWN = 24
_DIGITS = 4


def make_hand_maps(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Draw the fitted hand of each of the subject's captures and fuse it with the scan, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a raw image is not the one that was ingested.
        StoreError: if an earlier stage has not finished, or the hands are of another hand model or other captures.
        IntegrityError: if the scan's masks are damaged.
    """
    index = usable_index(workspace, subject_id)
    calibration_id = index.session.calibration_id
    model = load_hand_model(settings.hand_model)
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings={
            **settings.maps.training_mask.model_dump(mode="json"),
            "tile_px": settings.shard.tile_px,
            "tiers": " ".join(settings.shard.tiers),
        },
        inputs={
            "capture_index": workspace.require("capture_index", subject_id).digest,
            "cameras": cameras_digest(workspace, calibration_id),
            _SCAN_MAPS: workspace.require(_SCAN_MAPS, subject_id).digest,
            HAND_POSE: workspace.require(HAND_POSE, subject_id).digest,
            "hand_model": model.sha256,
        },
        work=lambda folder: _draw(folder, _sources(index, workspace, model, settings), settings),
    )


@dataclass(frozen=True)
class _Sources:
    """What the maps are drawn from."""

    index: CaptureIndex
    cameras: tuple[Camera, ...]
    """The views, distorted; what is drawn is what they see once that is undone."""
    model: HandModel
    hands: Mapping[int, HandRow]
    """By frame; captures without a fitted hand are not in it."""
    scan_masks: Mapping[Tier, zarr.Array]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Captures, views, height, width."""
        return len(self.index.captures), len(self.cameras), self.cameras[0].height, self.cameras[0].width


class _Masks(NamedTuple):
    """Both masks of every view at one tier: arrays of the group, or one capture's pixels."""

    hand_mask: Any
    training_mask: Any


class _View(NamedTuple):
    """What one view's masks look like, in pixels."""

    scan: int
    hand: int
    training: int
    scan_kept: int
    """Pixels of the scan's mask that are in the training mask."""
    hand_on_scan: int
    near_union: int
    """Pixels of the hand, or of the scan within the hand's reach."""

    @property
    def iou(self) -> float | None:
        """Hand against the scan within its reach; None if neither is seen."""
        return self.hand_on_scan / self.near_union if self.near_union else None


def _sources(index: CaptureIndex, workspace: Workspace, model: HandModel, settings: Settings) -> _Sources:
    subject_id = index.subject.subject_id
    convention = load_convention(workspace, subject_id)
    if convention != model.convention():
        raise StoreError(
            f"{HAND_POSE} of {subject_id}: hand model: expected {model.model_id} ({model.sha256}), as the settings say, "
            f"found {convention.model_id} ({convention.model_sha256}). Materialize {HAND_POSE} again."
        )
    frames = [capture.frame for capture in index.captures]
    hands = {row.frame: row for row in load_hands(workspace, subject_id)}
    unknown = sorted(set(hands) - set(frames))
    if unknown:
        raise StoreError(
            f"{HAND_POSE} of {subject_id}: frame: expected one of the index, found {unknown[0]}. "
            f"Materialize {HAND_POSE} again."
        )
    cameras = colour_cameras(load_cameras(workspace, index.session.calibration_id))
    sources = _Sources(index, cameras, model, hands, {})
    masks = _scan_masks(workspace, subject_id)
    try:
        check_tiers(masks, _SCAN_MASK, settings.shard.tiers)
        found = {tier: check_map(masks, _SCAN_MASK, sources.shape, tier) for tier in settings.shard.tiers}
    except StoreError as error:
        raise StoreError(f"{_SCAN_MAPS} of {subject_id}: {error} Materialize {_SCAN_MAPS} again.") from error
    return replace(sources, scan_masks=found)


def _scan_masks(workspace: Workspace, subject_id: SubjectId) -> zarr.Group:
    """The scan's masks, whole: zarr would read a lost shard object as an empty mask."""
    folder = workspace.output(_SCAN_MAPS, subject_id)
    for item in workspace.require(_SCAN_MAPS, subject_id).outputs:
        if item.path.startswith(f"{MAPS}/{_SCAN_MASK}/"):
            check_file(folder / item.path, size=item.bytes, sha256=item.sha256, hint=DAMAGED_WORKSPACE)
    return open_group(folder / MAPS)


def _draw(folder: Path, sources: _Sources, settings: Settings) -> None:
    tiers = _create_arrays(folder / MAPS, sources, settings)
    pose = PosedHandFunction(sources.model)
    views: list[tuple[_View, ...]] = []
    tiles: list[HandTile] = []
    for position, capture in enumerate(sources.index.captures):
        row = sources.hands.get(capture.frame)
        hand = None if row is None else _surface(row, pose)
        for tier, arrays in tiers.items():
            scan = np.asarray(sources.scan_masks[tier][position]) > 0
            masks = _fused(hand, scan, [camera_at(camera, tier) for camera in sources.cameras], settings)
            for array, values in zip(arrays, masks, strict=True):
                write_frame(array, position, np.where(values, np.uint8(255), np.uint8(0)))
            if tier == FULL:
                seen = tuple(_view(*one, sources.cameras[0], settings) for one in zip(scan, *masks, strict=True))
                views.append(seen)
                tiles += _tile(position, seen, sources)
    write_bytes(folder / "figures.json", (json.dumps(_figures(views, sources), indent=1) + "\n").encode())
    worst = sorted(tiles, key=lambda tile: tile.iou if tile.iou is not None else -1.0)[:_SHOWN]
    write_png(folder / "picture.png", hand_picture(worst, sources.cameras, tiers[FULL], settings))


def _create_arrays(path: Path, sources: _Sources, settings: Settings) -> dict[Tier, _Masks]:
    group = create_group(
        path,
        {
            "subject_id": sources.index.subject.subject_id,
            "frames": [capture.frame for capture in sources.index.captures],
            "camera_ids": [camera.camera_id for camera in sources.cameras],
        },
    )
    tile_px = settings.shard.tile_px
    return {
        tier: _Masks(*(create_tier_array(group, name, tier, sources.shape, tile_px=tile_px) for name in _Masks._fields))
        for tier in settings.shard.tiers
    }


def _surface(row: HandRow, pose: PosedHandFunction) -> Surface:
    frame = np.concatenate([row.global_orient, row.hand_pose, row.transl]).astype(np.float64)
    vertices: Float[ndarray, "vertices 3"] = pose(frame, np.array(row.betas, dtype=np.float64)).vertices
    faces = pose.model.faces.astype(np.int32)
    return Surface(vertices, faces, vertex_normals(vertices, faces), rims=(), dropped_pieces=0)


def _fused(hand: Surface | None, scan: ndarray, cameras: Sequence[Camera], settings: Settings) -> _Masks:
    """The hand in every view, and fused with the scan; nowhere without a hand."""
    masks = _Masks(*(np.zeros(scan.shape, dtype=bool) for _ in _Masks._fields))
    if hand is None:
        return masks
    for view, camera in enumerate(cameras):
        raster = render_surface(hand, camera)
        masks.hand_mask[view][raster.roi.slices] = raster.face_id >= 0
        masks.training_mask[view] = fused_mask(scan[view], masks.hand_mask[view], _sides(camera, settings))
    return masks


def _sides(camera: Camera, settings: Settings) -> MaskSides:
    return mask_sides(settings.maps.training_mask, camera.width, camera.height)


def _view(
    scan: Bool[ndarray, "height width"],
    hand: Bool[ndarray, "height width"],
    training: Bool[ndarray, "height width"],
    camera: Camera,
    settings: Settings,
) -> _View:
    near = scan & near_hand(hand, _sides(camera, settings))
    counts = (scan, hand, training, scan & training, scan & hand, hand | near)
    return _View(*(int(np.count_nonzero(mask)) for mask in counts))


def _tile(position: int, views: Sequence[_View], sources: _Sources) -> list[HandTile]:
    """The capture's view with an image in which hand and scan agree least; none if it has no image."""
    capture = sources.index.captures[position]
    there = [
        HandTile(capture, position, view, views[view].iou)
        for view, camera in enumerate(sources.cameras)
        if capture.image(camera.camera_id) is not None
    ]
    return sorted(there, key=lambda tile: tile.iou if tile.iou is not None else 2.0)[:1]


def _figures(views: Sequence[Sequence[_View]], sources: _Sources) -> dict[str, float | int]:
    captures = sources.index.captures
    fitted = [seen for capture, seen in zip(captures, views, strict=True) if capture.frame in sources.hands]
    drawn = [view for seen in fitted for view in seen]
    ious = [view.iou for view in drawn if view.iou is not None]
    figures: dict[str, float | int] = {
        "captures": len(captures),
        "views": len(captures) * len(sources.cameras),
        "captures_unfitted": len(captures) - len(fitted),
    }
    if drawn:
        scan, hand = sum(view.scan for view in drawn), sum(view.hand for view in drawn)
        figures |= {
            "hand_mask_px_mean": round(hand / len(drawn), 1),
            "training_mask_px_mean": round(sum(view.training for view in drawn) / len(drawn), 1),
            "scan_kept_share": round(sum(view.scan_kept for view in drawn) / max(scan, 1), _DIGITS),
            "hand_on_scan_share": round(sum(view.hand_on_scan for view in drawn) / max(hand, 1), _DIGITS),
        }
    if ious:
        figures |= {
            "hand_iou_mean": round(float(np.mean(ious)), _DIGITS),
            "hand_iou_min": round(min(ious), _DIGITS),
        }
    return figures
