"""The calibration stage: import the rig's files, and see whether captures agree with them.

Scans are projected into every camera, mono ones too, with the lens's distortion, and compared with the raw images
(`silhouette`, `contour`). Nothing is corrected here. A camera that disagrees is flagged, not removed: its images may
still be right for the eye, and who is wrong is for a person to say.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from palm_data.calibration.blind import blind_mask, blind_spots
from palm_data.calibration.cameras import CAMERAS_FILE, calibration_folder, cameras_json, read_calibration
from palm_data.calibration.contour import edge_reach_px
from palm_data.calibration.silhouette import Agreement, measure_agreement
from palm_data.calibration.verification import (
    VERIFICATION_FILE,
    Verification,
    ViewCheck,
    judge_camera,
)
from palm_data.capture.index import load_index
from palm_data.maps.captured import read_surface, read_view_image
from palm_data.maps.render import project_mask
from palm_data.report.pictures import (
    BAD,
    GOOD,
    NEUTRAL,
    contact_sheet,
    draw_contours,
    fit_within,
    framed,
    overlay_mask,
    write_png,
)
from palm_data.store.atomic import file_sha256, write_bytes
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.capture import CaptureRecord, Consent
from schemas.ids import CalibrationId, SubjectId
from schemas.settings import Settings

STAGE = "calibration"
CODE_VERSION = "3"
_TILE_PX = 300
_COLUMNS = 6


def verify_calibration(calibration_id: CalibrationId, workspace: Workspace, settings: Settings) -> StageReport:
    """Import a calibration and judge its cameras by the captures taken with them, unless that is done already.

    Writes `cameras.json` (every usable camera, turned to the common orientation, with distortion),
    `verification.json`, figures and a picture of every camera's worst view. Withdrawn people's captures are not used.

    Raises:
        BadInputError: if fewer than two colour cameras are usable, or a raw file changed after ingest.
        IntegrityError: if a finished index is damaged.
    """
    captures = choose_captures(workspace, calibration_id, settings.calibration.captures_per_calibration)
    return workspace.run_stage(
        STAGE,
        calibration_id,
        code_version=CODE_VERSION,
        settings={
            **settings.calibration.model_dump(mode="json"),
            "tka_pixel_origin": str(settings.ingest.tka_pixel_origin),
        },
        inputs={**_file_digests(settings.raw, calibration_id), **_capture_digests(captures)},
        work=lambda folder: _verify(folder, calibration_id, captures, settings),
    )


def choose_captures(workspace: Workspace, calibration_id: CalibrationId, count: int) -> tuple[CaptureRecord, ...]:
    """Captures of the calibration to verify it with: the first consenting subjects', of gestures spread over each.

    The first subjects, so that a new subject changes nothing once there are enough.
    """
    by_subject = []
    for subject_id in workspace.keys("capture_index"):
        index = load_index(workspace, subject_id)
        granted = index.subject.consent is Consent.GRANTED
        if granted and index.captures and index.session.calibration_id == calibration_id:
            by_subject.append(index.captures)
        if len(by_subject) == count:
            break
    chosen: dict[tuple[SubjectId, int], CaptureRecord] = {}
    for position in range(count if by_subject else 0):
        captures = by_subject[position % len(by_subject)]
        capture = captures[position * len(captures) // count]
        chosen[capture.subject_id, capture.frame] = capture
    return tuple(chosen[key] for key in sorted(chosen))


@dataclass(frozen=True)
class _View:
    """A comparison, and its picture."""

    check: ViewCheck
    tile: UInt8[ndarray, "height width 3"]
    """The image, small: tinted where nothing is compared, with the outline that was found."""
    projected: Bool[ndarray, "height width"]
    """The projected mask at the tile's size."""


def _verify(folder: Path, calibration_id: CalibrationId, captures: Sequence[CaptureRecord], settings: Settings) -> None:
    cameras, problems = read_calibration(settings.raw, calibration_id, settings)
    views = [view for capture in captures for view in _compare_capture(capture, cameras, settings)]
    checks = tuple(view.check for view in views)
    verification = Verification(
        calibration_id=calibration_id,
        cameras=tuple(
            judge_camera(
                camera, [check for check in checks if check.camera_id == camera.camera_id], settings.calibration
            )
            for camera in cameras
        ),
        views=checks,
        problems=problems,
    )
    write_bytes(folder / CAMERAS_FILE, cameras_json(cameras))
    write_bytes(folder / VERIFICATION_FILE, verification.model_dump_json(indent=1).encode() + b"\n")
    write_bytes(folder / "figures.json", (json.dumps(_figures(verification), indent=1) + "\n").encode())
    write_png(folder / "picture.png", _picture(verification, views))


def _compare_capture(capture: CaptureRecord, cameras: Sequence[Camera], settings: Settings) -> Iterator[_View]:
    surface = read_surface(capture, settings)
    spots = blind_spots(surface)
    for camera in cameras:
        record = capture.image(camera.camera_id)
        if record is None:
            continue
        image = read_view_image(record, camera, settings)
        projected = project_mask(surface, camera)
        blind = blind_mask(spots, camera)
        agreement = measure_agreement(image, projected, blind, edge_reach_px=edge_reach_px(camera.width, camera.height))
        small = fit_within(image, _TILE_PX, _TILE_PX)
        # Where nothing is compared, the outline found follows the projection, or its border would be drawn there.
        found = agreement.segmented | (projected & (blind | (agreement.iou is None)))
        tile = overlay_mask(small, _at_size(blind, small), NEUTRAL, opacity=0.2)
        yield _View(
            check=_view_check(capture, camera, agreement),
            tile=draw_contours(tile, _at_size(found, small), NEUTRAL),
            projected=_at_size(projected, small),
        )


def _view_check(capture: CaptureRecord, camera: Camera, agreement: Agreement) -> ViewCheck:
    contour = agreement.contour
    return ViewCheck(
        subject_id=capture.subject_id,
        frame=capture.frame,
        gesture=capture.gesture,
        camera_id=camera.camera_id,
        silhouette_iou=None if agreement.iou is None else round(agreement.iou, 5),
        contour_offset_px=None if contour is None else round(contour.offset_px, 3),
        shift_px=None if contour is None else (round(contour.shift_px[0], 3), round(contour.shift_px[1], 3)),
        roll_deg=None if contour is None else round(contour.roll_deg, 4),
        scale=None if contour is None else round(contour.scale, 5),
        radius_px=None if contour is None else round(contour.radius_px, 2),
    )


def _file_digests(raw: Path, calibration_id: CalibrationId) -> dict[str, str]:
    folder = calibration_folder(raw, calibration_id)
    return {path.name: file_sha256(path) for path in sorted(folder.glob("*.tka")) if path.is_file()}


def _capture_digests(captures: Sequence[CaptureRecord]) -> dict[str, str]:
    return {
        f"{capture.subject_id}/{capture.frame}": hashlib.sha256(capture.model_dump_json().encode()).hexdigest()
        for capture in captures
    }


def _figures(verification: Verification) -> dict[str, float | int | str]:
    ious = [view.silhouette_iou for view in verification.views if view.silhouette_iou is not None]
    offsets = [view.contour_offset_px for view in verification.views if view.contour_offset_px is not None]
    motions = [camera.motion_px for camera in verification.cameras if camera.motion_px is not None]
    figures: dict[str, float | int | str] = {
        "cameras": len(verification.cameras),
        "cameras_missing": len(verification.problems),
        "cameras_flagged": len(verification.flagged),
        "flagged": ", ".join(verification.flagged),
        "captures": len({(view.subject_id, view.frame) for view in verification.views}),
        "views_measured": len(ious),
    }
    if ious:
        figures["silhouette_iou_mean"] = round(float(np.mean(ious)), 4)
        figures["silhouette_iou_min"] = round(min(ious), 4)
    if offsets:
        figures["contour_offset_px_median"] = round(float(np.median(offsets)), 3)
    if motions:
        figures["contour_motion_px_max"] = round(max(motions), 3)
    return figures


def _picture(verification: Verification, views: Sequence[_View]) -> UInt8[ndarray, "height width 3"]:
    """Every camera's worst view: the projected contour in the verdict's colour, the image's own outline thin beside it."""
    tiles, labels = [], []
    for camera in verification.cameras:
        own = [view for view in views if view.check.camera_id == camera.camera_id]
        colour = {"agrees": GOOD, "flagged": BAD, "unmeasured": NEUTRAL}[camera.status]
        worst = min(
            own, key=lambda view: 1.0 if view.check.silhouette_iou is None else view.check.silhouette_iou, default=None
        )
        tile = np.zeros((_TILE_PX, _TILE_PX, 3), dtype=np.uint8)
        if worst is not None:
            tile = draw_contours(worst.tile, worst.projected, colour)
        tiles.append(framed(tile, colour, border_px=2))
        labels.append(_label(camera.camera_id, camera.status, camera.silhouette_iou, camera.motion_px))
    return contact_sheet(tiles, labels, _COLUMNS, tile_px=_TILE_PX)


def _label(camera_id: str, status: str, iou: float | None, motion_px: float | None) -> str:
    measured = "" if iou is None else f" IoU {iou:.3f}"
    return f"{camera_id} {status}{measured}" + ("" if motion_px is None else f" {motion_px:.2f} px")


def _at_size(mask: ndarray, tile: ndarray) -> ndarray:
    size = (tile.shape[1], tile.shape[0])
    return cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
