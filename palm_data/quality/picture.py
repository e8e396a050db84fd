"""The worst captures side by side: joints and the hand's outline over the image, and how far the scan lies from it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.calibration.cameras import load_cameras
from palm_data.hand.fits import load_hands
from palm_data.hand.model import load_hand_model
from palm_data.maps.captured import read_surface
from palm_data.quality.parts import PART_NAMES, Parts, image_scale, part_scores
from palm_data.registration.frame import HandShapeContext
from palm_data.registration.parameters import frame_parameters
from palm_data.registration.picture import TILE_PX, FitPainter, PicturedFit, pictured_fit, with_legend
from palm_data.report.pictures import BAD, GOOD, contact_sheet, framed
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import joints, load_keypoints_3d
from schemas.capture import CaptureIndex, CaptureRecord
from schemas.quality import QualityRow
from schemas.settings import FrameLimits, Settings

SHOWN = 12
_CAPTURES_A_ROW = 4


def worst_first(rows: Sequence[QualityRow]) -> list[QualityRow]:
    """The rows by score, the worst first; of equal ones by subject and frame."""
    return sorted(rows, key=lambda row: (row.score, row.subject_id, row.frame))


def quality_picture(
    index: CaptureIndex, rows: Sequence[QualityRow], workspace: Workspace, settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """The subject's worst captures, worst first."""
    return sheet([(index, row) for row in worst_first(rows)[:SHOWN]], workspace, settings)


def sheet(
    captures: Sequence[tuple[CaptureIndex, QualityRow]], workspace: Workspace, settings: Settings
) -> UInt8[ndarray, "height width 3"]:
    """Captures in the order given, with a legend; each framed in green or red.

    Raises:
        BadInputError: if there is none, or a raw file is not the one that was ingested.
    """
    context = HandShapeContext(load_hand_model(settings.hand_model), settings.registration)
    tiles, labels = [], []
    for index, row in captures:
        cameras = load_cameras(workspace, index.session.calibration_id)
        capture = next(capture for capture in index.captures if capture.frame == row.frame)
        painter = FitPainter(cameras, context.model.faces, settings)
        (camera,) = painter.views(capture, 1)
        fit = _fit(context, capture, workspace, settings)
        colour = GOOD if row.quality_ok else BAD
        tiles += [framed(painter.outlined(fit, camera), colour), framed(painter.errors(fit, camera), colour)]
        part = worst_part(row, settings.quality.frame, scale=image_scale(cameras))
        labels += [f"{row.subject_id} {capture.gesture}: {row.score:.2f}", part]
    columns = min(2 * _CAPTURES_A_ROW, len(tiles))
    return with_legend(contact_sheet(tiles, labels, columns, tile_px=TILE_PX))


def _fit(context: HandShapeContext, capture: CaptureRecord, workspace: Workspace, settings: Settings) -> PicturedFit:
    """A capture with the hand that the finished stages gave it, if any."""
    points, _ = joints(load_keypoints_3d(workspace, capture.subject_id), [capture.frame])
    posed = None
    for hand in load_hands(workspace, capture.subject_id):
        if hand.frame == capture.frame:
            posed = context.pose(frame_parameters(hand), np.array(hand.betas))
    return pictured_fit(context, capture, read_surface(capture, settings), points[0], posed)


def worst_part(row: QualityRow, limits: FrameLimits, *, scale: float) -> str:
    """The part that pulls the score down most, with its value; of a capture without a hand, that it has none."""
    if row.fit_mm is None:
        return f"no hand; coverage {row.coverage:.2f}"
    parts = Parts(**{name: getattr(row, name) for name in PART_NAMES})
    scores = part_scores(parts, limits, scale=scale)
    name = min(scores, key=lambda part: (scores[part], part))
    value = getattr(parts, name)
    return f"{name} {value:.3g}" if value is not None else f"{name} not measured"
