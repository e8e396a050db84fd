"""The stage `keypoints_2d`: the joints of a subject's hand in each of their images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import nn

from palm_data.calibration.cameras import cameras_digest, load_cameras
from palm_data.capture.index import usable_index
from palm_data.report.pictures import contact_sheet, write_png
from palm_data.report.skeletons import draw_skeleton
from palm_data.store.atomic import write_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_2D, KEYPOINTS_2D_FILE
from palm_model.detector.checkpoint import checkpoint_sha256, current_checkpoint, load_checkpoint
from palm_model.detector.crops import CropBox, cut_crop
from palm_model.detector.validation import detect_crops
from palm_model.detector.views import View, ViewReader
from schemas.annotation import Keypoint2DRow
from schemas.camera import Camera
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.ids import CameraId, SubjectId, is_colour_camera
from schemas.settings import Settings

CODE_VERSION = "1"
_TILE_PX = 256
_CAPTURES_SHOWN = 4
_COLUMNS = 7
_SURE = 0.5
_DECIMALS = 3


@dataclass(frozen=True)
class _Seen:
    """What was detected in one image."""

    frame: int
    camera_id: CameraId
    points_px: Float[ndarray, "21 2"]
    confidence: Float[ndarray, "21"]
    tile: UInt8[ndarray, "tile tile 3"] | None
    box: CropBox


def detect_subject(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Detect the joints in all the subject's images, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a raw file is not the one that was ingested.
        IntegrityError: if the detector's file is damaged.
        StoreError: if an earlier stage has not finished.
    """
    index = usable_index(workspace, subject_id)
    checkpoint = current_checkpoint(workspace, settings)
    used = settings.detector.model_dump(mode="json", include={"input_px", "crop_margin", "reach_m", "sigma_px", "mono"})
    return workspace.run_stage(
        KEYPOINTS_2D,
        subject_id,
        code_version=CODE_VERSION,
        settings=used,
        inputs={
            "capture_index": workspace.require("capture_index", subject_id).digest,
            "cameras": cameras_digest(workspace, index.session.calibration_id),
            "detector": checkpoint_sha256(checkpoint),
        },
        work=lambda folder: _detect(
            folder, index, load_cameras(workspace, index.session.calibration_id), checkpoint, settings
        ),
    )


def _detect(
    folder: Path, index: CaptureIndex, cameras: tuple[Camera, ...], checkpoint: Path, settings: Settings
) -> None:
    network, _, _ = load_checkpoint(checkpoint)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    reader = ViewReader(cameras, settings)
    wanted = [c.camera_id for c in cameras if settings.detector.mono or is_colour_camera(c.camera_id)]
    shown = {capture.frame for capture in _spread(index.captures)}
    seen: list[_Seen] = []
    for capture in index.captures:
        views = list(reader.views(capture, wanted))
        seen += _detect_views(views, network, device, settings, keep=capture.frame in shown)
    write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, _rows(index.subject.subject_id, seen))
    write_bytes(folder / "figures.json", (json.dumps(_figures(index, seen), indent=1) + "\n").encode())
    if any(item.tile is not None for item in seen):
        write_png(folder / "picture.png", _picture(index, seen))


def _detect_views(
    views: list[View], network: nn.Module, device: torch.device, settings: Settings, *, keep: bool
) -> list[_Seen]:
    if not views:
        return []
    size = settings.detector.input_px
    crops = np.stack([cut_crop(view.image, view.box, size) for view in views])
    points, confidence = detect_crops(network, crops, settings.detector.sigma_px, device)
    return [
        _Seen(
            frame=view.record.frame,
            camera_id=view.record.camera_id,
            points_px=view.box.to_image(points[row], size),
            confidence=confidence[row],
            tile=cut_crop(view.image, view.box, _TILE_PX) if keep and is_colour_camera(view.record.camera_id) else None,
            box=view.box,
        )
        for row, view in enumerate(views)
    ]


def _spread(captures: tuple[CaptureRecord, ...]) -> list[CaptureRecord]:
    """A few captures from the whole session."""
    chosen = np.unique(np.linspace(0, len(captures) - 1, min(_CAPTURES_SHOWN, len(captures))).round().astype(int))
    return [captures[row] for row in chosen]


def _rows(subject_id: SubjectId, seen: list[_Seen]) -> list[Keypoint2DRow]:
    return [
        Keypoint2DRow(
            subject_id=subject_id,
            frame=item.frame,
            camera_id=item.camera_id,
            joint=joint,
            x_px=round(float(point[0]), _DECIMALS),
            y_px=round(float(point[1]), _DECIMALS),
            confidence=round(float(item.confidence[joint]), 4),
        )
        for item in sorted(seen, key=lambda item: (item.frame, item.camera_id))
        for joint, point in enumerate(item.points_px)
    ]


def _figures(index: CaptureIndex, seen: list[_Seen]) -> dict[str, float | int]:
    colour = [item for item in seen if is_colour_camera(item.camera_id)]
    figures: dict[str, float | int] = {
        "captures": len(index.captures),
        "images": len(seen),
        "colour_images": len(colour),
    }
    for name, items in (("", seen), ("colour_", colour)):
        if items:
            confidence = np.stack([item.confidence for item in items])
            figures[f"{name}confidence_mean"] = round(float(confidence.mean()), 4)
            figures[f"{name}confident_share"] = round(float((confidence >= _SURE).mean()), 4)
    return figures


def _picture(index: CaptureIndex, seen: list[_Seen]) -> UInt8[ndarray, "height width 3"]:
    """The joints over the crops of a few captures, one row a capture, one column a colour camera."""
    gestures = {capture.frame: capture.gesture for capture in index.captures}
    tiles, labels = [], []
    for item in sorted(seen, key=lambda item: (item.frame, item.camera_id)):
        if item.tile is None:
            continue
        points = item.box.to_crop(item.points_px, _TILE_PX)
        tiles.append(draw_skeleton(item.tile, points, item.confidence))
        labels.append(f"{item.camera_id} {gestures[item.frame]} {item.confidence.mean():.2f}")
    return contact_sheet(tiles, labels, _COLUMNS, tile_px=_TILE_PX)
