"""How far a calibration can be trusted: the content of `verification.json`."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.calibration.cameras import CameraProblem
from palm_data.calibration.contour import FULL_SIZE_PX, motion_px
from palm_data.store.workspace import Workspace
from schemas.camera import Camera
from schemas.errors import IntegrityError
from schemas.ids import CalibrationId, CameraId, Slug, SubjectId
from schemas.settings import CalibrationSettings

VERIFICATION_FILE = "verification.json"
MIN_OFFSET_PX = 1.0
MIN_MOTION_PX = 0.6
"""No limit is stricter than what a contour of whole pixels can show."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")
Status = Literal["agrees", "flagged", "unmeasured"]


class ViewCheck(BaseModel):
    """One capture's scan, projected into one camera and compared with its image."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    gesture: Slug
    camera_id: CameraId
    silhouette_iou: Annotated[
        float | None, Field(ge=0, le=1, description="Projected scan against the segmented image; null: not measured.")
    ]
    contour_offset_px: Annotated[
        float | None, Field(ge=0, description="Median distance from the projected contour to the image's edge, px.")
    ]
    shift_px: Annotated[
        tuple[float, float] | None, Field(description="Shift (x, y) of the image's edges against the contour, px.")
    ]
    roll_deg: Annotated[float | None, Field(description="Their turn, clockwise in the image, degrees.")]
    scale: Annotated[float | None, Field(description="Their size relative to the contour's.")]
    radius_px: Annotated[
        float | None, Field(ge=0, description="Root mean square distance of the contour from its middle, px.")
    ]


class CameraCheck(BaseModel):
    """What the views of one camera say together: medians over captures, against the limits in force."""

    model_config = _FROZEN

    camera_id: CameraId
    status: Status
    views: Annotated[int, Field(ge=0, description="Views that could be measured.")]
    silhouette_iou: float | None
    contour_offset_px: float | None
    motion_px: Annotated[
        float | None, Field(description="Root mean square of what the views' common motion moves the contour by, px.")
    ]
    max_contour_offset_px: Annotated[float, Field(gt=0, description="Limit at this camera's image size, px.")]
    max_motion_px: Annotated[float, Field(gt=0, description="Limit at this camera's image size, px.")]
    roll_deg: Annotated[float | None, Field(description="Turn of the image against the contour, clockwise, degrees.")]
    reason: Annotated[str, Field(description="What is beyond its limit; empty if nothing is.")]


class Verification(BaseModel):
    """A calibration's cameras, judged by the captures that were taken with them."""

    model_config = _FROZEN

    calibration_id: CalibrationId
    cameras: tuple[CameraCheck, ...]
    views: tuple[ViewCheck, ...]
    problems: Annotated[tuple[CameraProblem, ...], Field(description="Cameras that are missing, and why.")]

    @property
    def flagged(self) -> tuple[CameraId, ...]:
        """Cameras that disagree with their images."""
        return tuple(camera.camera_id for camera in self.cameras if camera.status == "flagged")


def load_verification(workspace: Workspace, calibration_id: CalibrationId) -> Verification:
    """What the calibration stage found.

    Raises:
        StoreError: if the stage has not finished for this calibration.
        IntegrityError: if its output is not readable.
    """
    path = workspace.output("calibration", calibration_id) / VERIFICATION_FILE
    try:
        return Verification.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a verification, found {error}. Run the stage again.") from error


def judge_camera(camera: Camera, views: Sequence[ViewCheck], settings: CalibrationSettings) -> CameraCheck:
    """The camera's medians against the limits, scaled to its images."""
    scale = max(camera.width, camera.height) / FULL_SIZE_PX
    max_offset = max(settings.max_contour_offset_px * scale, MIN_OFFSET_PX)
    max_motion = max(settings.max_contour_motion_px * scale, MIN_MOTION_PX)
    iou = _median([view.silhouette_iou for view in views])
    offset = _median([view.contour_offset_px for view in views])
    motion = _common_motion_px(views)
    roll = _median([view.roll_deg for view in views])
    beyond = []
    if iou is not None and iou < settings.min_silhouette_iou:
        beyond.append(f"silhouette IoU {iou:.3f} < {settings.min_silhouette_iou:.3f}")
    if offset is not None and offset > max_offset:
        beyond.append(f"contour offset {offset:.2f} px > {max_offset:.2f} px")
    if motion is not None and motion > max_motion:
        beyond.append(f"contour motion {motion:.2f} px > {max_motion:.2f} px")
    if roll is not None and abs(roll) > settings.max_contour_roll_deg:
        beyond.append(f"contour roll {roll:.2f}° beyond ±{settings.max_contour_roll_deg:.2f}°")
    status: Status = "unmeasured" if iou is None else "flagged" if beyond else "agrees"
    return CameraCheck(
        camera_id=camera.camera_id,
        status=status,
        views=sum(view.silhouette_iou is not None for view in views),
        silhouette_iou=iou,
        contour_offset_px=offset,
        motion_px=motion,
        max_contour_offset_px=round(max_offset, 4),
        max_motion_px=round(max_motion, 4),
        roll_deg=roll,
        reason="; ".join(beyond),
    )


def _common_motion_px(views: Sequence[ViewCheck]) -> float | None:
    """What the views' motions have in common: a wrong camera moves all of them alike, a shadow or a hole only one."""
    shifts = [view.shift_px for view in views if view.shift_px is not None]
    roll, scale, radius = (
        _median([getattr(view, name) for view in views]) for name in ("roll_deg", "scale", "radius_px")
    )
    if not shifts or roll is None or scale is None or radius is None:
        return None
    x, y = np.median(shifts, axis=0)
    return round(motion_px((float(x), float(y)), roll, scale, radius), 4)


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return round(float(np.median(measured)), 4) if measured else None
