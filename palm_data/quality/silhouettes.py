"""The gate's look at silhouettes: whether scans, images and cameras tell of the same hand, and which does not.

A camera that is wrong is so in all captures, a scan in all views, an image alone. Each is named by its file. What is
named counts no further: a subject is judged by the captures and cameras that are left, unless these are too few.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from palm_data.calibration.verification import CameraCheck, Verification
from palm_data.maps.views import ViewRow
from palm_data.quality.finding import GateFinding, some
from schemas.capture import CaptureIndex
from schemas.ids import CameraId, is_colour_camera, raw_from_camera_id
from schemas.settings import QualitySettings


def silhouette_findings(
    index: CaptureIndex, rows: Sequence[ViewRow], verification: Verification | None, quality: QualitySettings
) -> tuple[GateFinding, ...]:
    """What the views' silhouettes say of a subject.

    Args:
        verification: of the subject's calibration; None if there is none.
    """
    cameras = verification.cameras if verification else ()
    flagged = {camera.camera_id for camera in cameras if camera.status == "flagged"}
    ious = _capture_ious(rows, flagged)
    return (
        _mean(ious, quality),
        _cameras(index, cameras, quality),
        _captures(index, ious, quality),
        _views(index, rows, quality),
        _measured(rows, quality),
    )


def _capture_ious(rows: Sequence[ViewRow], flagged: set[CameraId]) -> dict[int, float | None]:
    """Frame → median over the views of cameras in order, which one image cannot move; None if none was measured."""
    frames: dict[int, list[float]] = {row.frame: [] for row in rows}
    for row in rows:
        if row.silhouette_iou is not None and row.camera_id not in flagged:
            frames[row.frame].append(row.silhouette_iou)
    return {frame: float(np.median(values)) if values else None for frame, values in sorted(frames.items())}


def _mean(ious: Mapping[int, float | None], quality: QualitySettings) -> GateFinding:
    measured = [iou for iou in ious.values() if iou is not None]
    good = [iou for iou in measured if iou >= quality.min_silhouette_iou_mean]
    if len(good) < quality.min_ok_share * len(measured):
        good = measured  # so many bad ones are the subject's own
    mean = float(np.mean(good)) if good else 0.0
    return GateFinding(
        name="silhouette_iou_mean", passed=bool(good) and mean >= quality.min_silhouette_iou_mean,
        found=f"{mean:.4f}" if good else "no view could be measured",
        expected=f"at least {quality.min_silhouette_iou_mean:.4f}", blocking=True,
        detail="Projected scan against the segmented image: median over colour views, mean over captures; without the "
        "cameras and captures that are named for themselves.",
    )  # fmt: skip


def _cameras(index: CaptureIndex, cameras: Sequence[CameraCheck], quality: QualitySettings) -> GateFinding:
    flagged = [camera for camera in cameras if camera.status == "flagged"]
    colour = [camera for camera in cameras if is_colour_camera(camera.camera_id)]
    share = sum(is_colour_camera(camera.camera_id) for camera in flagged) / max(len(colour), 1)
    folder = f"calibrations/{index.session.calibration_id}"
    return GateFinding(
        name="cameras_flagged", passed=not flagged,
        found=", ".join(camera.camera_id for camera in flagged) or "none",
        expected=f"none that disagrees with its images; at most {quality.max_flagged_share:.2f} of the colour cameras",
        blocking=share > quality.max_flagged_share,
        detail=some([f"{folder}/{raw_from_camera_id(item.camera_id)}.tka: {item.reason}" for item in flagged]),
    )  # fmt: skip


def _captures(index: CaptureIndex, ious: Mapping[int, float | None], quality: QualitySettings) -> GateFinding:
    limit = quality.min_silhouette_iou_mean
    scans = {capture.frame: capture.scan.mesh.path for capture in index.captures}
    low = sorted((iou, frame) for frame, iou in ious.items() if iou is not None and iou < limit)
    unseen = [frame for frame, iou in ious.items() if iou is None]
    named = [f"frame {frame}: {iou:.3f}{_file(scans.get(frame))}" for iou, frame in low]
    named += [f"frame {frame}: not measured{_file(scans.get(frame))}" for frame in unseen]
    return GateFinding(
        name="silhouette_iou_capture", passed=not named, found=f"{len(low)} captures below, {len(unseen)} not measured",
        expected=f"of every capture a median over views of at least {limit:.4f}",
        blocking=False, detail=some(named),
    )  # fmt: skip


def _views(index: CaptureIndex, rows: Sequence[ViewRow], quality: QualitySettings) -> GateFinding:
    limit = quality.min_silhouette_iou_view
    images = {(image.frame, image.camera_id): image.raw.path for item in index.captures for image in item.images}
    low = sorted(
        (row.silhouette_iou, row.frame, row.camera_id)
        for row in rows
        if row.silhouette_iou is not None and row.silhouette_iou < limit
    )
    return GateFinding(
        name="silhouette_iou_view", passed=not low, found=f"{len(low)} views below",
        expected=f"every view at least {limit:.4f}", blocking=False,
        detail=some([f"frame {frame} {name}: {iou:.3f}{_file(images.get((frame, name)))}" for iou, frame, name in low]),
    )  # fmt: skip


def _measured(rows: Sequence[ViewRow], quality: QualitySettings) -> GateFinding:
    count = sum(row.silhouette_iou is not None for row in rows)
    share = count / max(len(rows), 1)
    return GateFinding(
        name="silhouettes_measured", passed=share >= quality.min_measured_share,
        found=f"{share:.2f} ({count} of {len(rows)})",
        expected=f"a share of at least {quality.min_measured_share:.2f}", blocking=False,
    )  # fmt: skip


def _file(path: str | None) -> str:
    return f", {path}" if path else ""
