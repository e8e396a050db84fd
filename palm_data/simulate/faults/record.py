"""What was planted where, and what has to come of it: the content of `truth/faults.json`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.atomic import write_bytes
from schemas.errors import BadInputError
from schemas.ids import CalibrationId, Slug, SubjectId

FAULTS_FILE = "faults.json"
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Outcome(StrEnum):
    """What has to become of a fault."""

    HANDLED = "handled"
    """Nothing is lost but what was never delivered; there is no reason to give."""
    FILE_SET_ASIDE = "file_set_aside"
    """One file is out, with its reason; its capture goes on."""
    CAPTURE_SET_ASIDE = "capture_set_aside"
    """One capture is out, with its reason; the person's others go on."""
    SUBJECT_SET_ASIDE = "subject_set_aside"
    """One person is out, with the reason; the others go on."""
    CAMERA_MISSING = "camera_missing"
    """The calibration lists the camera as a problem; its images are set aside, the other cameras' go on."""
    CAMERA_FLAGGED = "camera_flagged"
    """The calibration flags the camera, and the gate names it."""
    CAPTURE_NAMED = "capture_named"
    """The gate names the capture's scan."""
    VIEW_NAMED = "view_named"
    """The gate names the image."""


class Reason(BaseModel):
    """What the reason has to say, wherever it is given."""

    model_config = _FROZEN

    source: Annotated[str, Field(description="The file or folder it names, relative to the raw root.")]
    field: Annotated[str, Field(description="What in it is wrong; a part of the reason's own words, maybe empty.")]
    expected: Annotated[str, Field(description="A part of what it says was expected, maybe empty.")]
    found: Annotated[str, Field(description="A part of what it says was found, maybe empty.")]


class PlantedFault(BaseModel):
    """One defect of one person's files."""

    model_config = _FROZEN

    fault: Annotated[str, Field(description="Its name in the catalogue.")]
    subject_id: SubjectId
    gesture: Annotated[Slug | None, Field(description="The capture concerned; null: the whole session.")]
    raw_frame: int | None
    camera: Annotated[str | None, Field(description="The rig's name of the camera concerned, if it is one.")]
    files: Annotated[
        tuple[str, ...],
        Field(description="What differs from a faultless copy: changed, added or gone; relative to the raw root."),
    ]
    outcome: Outcome
    reason: Annotated[Reason | None, Field(description="Null if nothing is set aside, flagged or named.")]


class CopiedCapture(BaseModel):
    """A capture of a faulty person, and the one it was copied from."""

    model_config = _FROZEN

    gesture: Slug
    raw_frame: int


class FaultyPerson(BaseModel):
    """Somebody who was added to the session: another person's captures under a new id, some with faults."""

    model_config = _FROZEN

    subject_id: SubjectId
    copy_of: Annotated[SubjectId, Field(description="Whose captures these were; gestures and raw frames are the same.")]
    calibration_id: CalibrationId
    captures: tuple[CopiedCapture, ...]


class FaultsTruth(BaseModel):
    """`faults.json`: written before the first file is planted, and again once all are."""

    model_config = _FROZEN

    planted: Annotated[bool, Field(description="False: the planting was interrupted; the same command finishes it.")]
    people: tuple[FaultyPerson, ...]
    faults: tuple[PlantedFault, ...]
    left_out: Annotated[dict[str, str], Field(description="Faults that this session has no room for, and why.")]

    def of_subject(self, subject_id: SubjectId) -> tuple[PlantedFault, ...]:
        """What was planted in a person's files."""
        return tuple(fault for fault in self.faults if fault.subject_id == subject_id)

    def untouched(self, person: FaultyPerson) -> tuple[CopiedCapture, ...]:
        """The person's captures that are faultless copies, in a session and with a calibration that are so too."""
        faults = self.of_subject(person.subject_id)
        if any(fault.gesture is None and fault.files for fault in faults):
            return ()
        touched = {(fault.gesture, fault.raw_frame) for fault in faults}
        return tuple(item for item in person.captures if (item.gesture, item.raw_frame) not in touched)


def read_faults(truth: Path) -> FaultsTruth | None:
    """What was planted in the session with that truth folder; None if nothing was.

    Raises:
        BadInputError: if the record is damaged.
    """
    path = truth / FAULTS_FILE
    try:
        return FaultsTruth.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadInputError(
            path, field="content", expected="the record of planted faults", found=f"{error.error_count()} errors",
            hint="Remove the session and simulate it again.",
        ) from None  # fmt: skip


def write_faults(truth: Path, faults: FaultsTruth) -> None:
    """Write the record, atomically."""
    write_bytes(truth / FAULTS_FILE, faults.model_dump_json(indent=1).encode() + b"\n")
