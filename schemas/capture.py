"""Captures: what the rig delivered, row for row, after validation."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.camera import Turn
from schemas.ids import CalibrationId, CameraId, Sha256, Slug, SubjectId

AgeBand = Literal["21-30", "31-40", "41-50", "51-60", "61-70"]
HeightBand = Literal["145-170", "171-180", "181-190", "191-200"]
SkinTone = Literal["light", "medium", "tan", "dark"]
Sex = Literal["female", "male"]

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Consent(StrEnum):
    """Whether the person allows their data to be released."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"


class Subject(BaseModel):
    """A person, known by number and by bands only."""

    model_config = _FROZEN

    subject_id: SubjectId
    sex: Sex
    age_band: Annotated[AgeBand, Field(description="Age in years, both ends included.")]
    height_band: Annotated[HeightBand, Field(description="Standing height, cm, both ends included.")]
    skin_tone: SkinTone
    consent: Consent
    consent_date: date


class Gesture(BaseModel):
    """One of the poses every person is asked to hold."""

    model_config = _FROZEN

    gesture: Slug
    description: str
    simple: Annotated[bool, Field(description="True: used by registration stage one (shape).")]


class Session(BaseModel):
    """What `session.json` says of a subject's visit."""

    model_config = _FROZEN

    calibration_id: CalibrationId
    captured_at: datetime
    rig_serial: str


class RawFile(BaseModel):
    """A raw file as it was read at ingest."""

    model_config = _FROZEN

    path: Annotated[str, Field(description="Relative to the raw root, forward slashes.")]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    sha256: Sha256


class ImageRecord(BaseModel):
    """One image of a capture that passed validation."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    raw: RawFile
    raw_width: Annotated[int, Field(gt=0, description="Width as delivered, px.")]
    raw_height: Annotated[int, Field(gt=0, description="Height as delivered, px.")]


class ScanRecord(BaseModel):
    """The scan mesh of a capture that passed validation."""

    model_config = _FROZEN

    mesh: RawFile
    material: Annotated[RawFile | None, Field(description="The OBJ's .mtl file.")] = None
    texture: Annotated[RawFile | None, Field(description="The texture image.")] = None
    metres_per_unit: Annotated[float, Field(gt=0, description="Detected against the calibration, never guessed.")]
    vertices: Annotated[int, Field(gt=0, description="Vertex count.")]
    faces: Annotated[int, Field(gt=0, description="Triangle count.")]


class CaptureRecord(BaseModel):
    """One gesture held still: the images and the scan taken together."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1; stable on re-ingest.")]
    gesture: Slug
    raw_frame: Annotated[int, Field(ge=0, description="The rig's own frame number.")]
    calibration_id: CalibrationId
    images: tuple[ImageRecord, ...]
    scan: ScanRecord

    def image(self, camera_id: CameraId) -> ImageRecord | None:
        """The record of a camera's image, or None if that camera delivered none."""
        return next((image for image in self.images if image.camera_id == camera_id), None)


class Quarantined(BaseModel):
    """Something that was set aside, with its reason; the rest went on."""

    model_config = _FROZEN

    subject_id: SubjectId
    gesture: str
    raw_frame: int | None
    source: Annotated[str, Field(description="File concerned, relative to the raw root.")]
    field: str
    expected: str
    found: str
    whole_capture: Annotated[bool, Field(description="True: the capture is out; False: only this file is.")]


class CaptureIndex(BaseModel):
    """All that is known of a subject's raw session after ingest."""

    model_config = _FROZEN

    subject: Subject
    session: Session
    gestures: Annotated[tuple[Gesture, ...], Field(description="The gestures that the captures name, sorted.")]
    captures: tuple[CaptureRecord, ...]
    quarantined: tuple[Quarantined, ...]


__all__ = [
    "AgeBand", "CaptureIndex", "CaptureRecord", "Consent", "Gesture", "HeightBand", "ImageRecord",
    "Quarantined", "RawFile", "ScanRecord", "Session", "Sex", "SkinTone", "Subject", "Turn",
]  # fmt: skip
