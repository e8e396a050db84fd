"""What became of the faults that were planted in a simulated session, against what has to become of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.calibration.verification import Verification, load_verification
from palm_data.capture.index import STAGE as INDEX_STAGE
from palm_data.capture.index import load_index
from palm_data.capture.tables import read_session
from palm_data.quality.gate import subject_gate
from palm_data.simulate.faults.record import FaultsTruth, FaultyPerson, Outcome, PlantedFault, Reason, read_faults
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, CaptureRecord, Quarantined
from schemas.errors import BadInputError
from schemas.ids import camera_id_from_raw
from schemas.settings import Settings


class FaultVerdict(BaseModel):
    """One planted fault, and what became of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planted: PlantedFault
    passed: Annotated[bool, Field(description="Whether it came out as it has to, with its reason where it needs one.")]
    found: Annotated[str, Field(description="What became of it, in a few words.")]


def evaluate_faults(truth: Path, workspace: Workspace, settings: Settings) -> tuple[FaultVerdict, ...]:
    """Look every planted fault up in the finished stages of a workspace, up to the scan maps.

    Args:
        truth: the truth folder of a session simulated with faults.

    Raises:
        BadInputError: if the session has no faults, or not all of them.
        StoreError: if the calibration stage has not finished.
    """
    faults = read_faults(truth)
    if faults is None or not faults.planted:
        raise BadInputError(
            truth, field="faults.json", expected="a session simulated with faults, to its end",
            found="none" if faults is None else "one that was interrupted", hint="Run palm simulate --faults.",
        )  # fmt: skip
    return tuple(_Judge(faults, planted, workspace, settings).verdict() for planted in faults.faults)


class _Judge:
    """The ways in which a fault can show."""

    def __init__(self, faults: FaultsTruth, planted: PlantedFault, workspace: Workspace, settings: Settings) -> None:
        self._planted, self._workspace, self._settings = planted, workspace, settings
        self._person: FaultyPerson = next(one for one in faults.people if one.subject_id == planted.subject_id)
        self._index: CaptureIndex | None = (
            load_index(workspace, planted.subject_id)
            if workspace.record(INDEX_STAGE, planted.subject_id) is not None
            else None
        )

    def verdict(self) -> FaultVerdict:
        """Look where the outcome has to show."""
        look = {
            Outcome.HANDLED: self._handled,
            Outcome.FILE_SET_ASIDE: self._file_set_aside,
            Outcome.CAPTURE_SET_ASIDE: self._capture_set_aside,
            Outcome.SUBJECT_SET_ASIDE: self._subject_set_aside,
            Outcome.CAMERA_MISSING: self._camera_missing,
            Outcome.CAMERA_FLAGGED: self._camera_flagged,
            Outcome.CAPTURE_NAMED: self._named,
            Outcome.VIEW_NAMED: self._named,
        }[self._planted.outcome]
        passed, found = look()
        return FaultVerdict(planted=self._planted, passed=passed, found=found)

    @property
    def _reason(self) -> Reason:
        if self._planted.reason is None:
            raise BadInputError("faults.json", field=self._planted.fault, expected="a reason", found="none")
        return self._planted.reason

    def _set_aside(self) -> tuple[Quarantined, ...]:
        return self._index.quarantined if self._index else ()

    def _captures(self) -> tuple[CaptureRecord, ...]:
        return self._index.captures if self._index else ()

    def _capture(self) -> CaptureRecord | None:
        place = (self._planted.gesture, self._planted.raw_frame)
        return next((item for item in self._captures() if (item.gesture, item.raw_frame) == place), None)

    def _handled(self) -> tuple[bool, str]:
        touched = [item for item in self._set_aside() if item.source in self._planted.files]
        if touched:
            return False, _told(touched)
        whole = self._capture() is not None if self._planted.gesture else bool(self._captures())
        return whole, "the capture goes on" if whole else "there is no such capture"

    def _file_set_aside(self) -> tuple[bool, str]:
        matching = [item for item in self._matching(self._set_aside()) if not item.whole_capture]
        if self._capture() is None:
            return False, "the whole capture is out"
        return len(matching) == 1, _told(matching)

    def _capture_set_aside(self) -> tuple[bool, str]:
        matching = [item for item in self._matching(self._set_aside()) if item.whole_capture]
        paths = {image.raw.path for capture in self._captures() for image in capture.images}
        paths |= {capture.scan.mesh.path for capture in self._captures()}
        if paths & set(self._planted.files):
            return False, "the capture is still in"
        return len(matching) == 1, _told(matching)

    def _subject_set_aside(self) -> tuple[bool, str]:
        if self._index is not None:
            return False, "the person was ingested"
        try:
            read_session(self._settings.raw, self._planted.subject_id)
        except BadInputError as error:
            where = Path(error.source).relative_to(self._settings.raw).as_posix()
            return self._says(where, error.field, error.expected, error.found), str(error)
        return False, "nothing is wrong with the session"

    def _camera_missing(self) -> tuple[bool, str]:
        problems = [
            f"{item.source}: {item.field}: expected {item.expected}, found {item.found}"
            for item in self._verification().problems
            if self._says(item.source, item.field, item.expected, item.found)
        ]
        images = [item for item in self._set_aside() if item.found == self._camera_id and not item.whole_capture]
        passed = len(problems) == 1 and len(images) == len(self._captures()) > 0
        return passed, "; ".join([*problems, f"{len(images)} images set aside"])

    def _camera_flagged(self) -> tuple[bool, str]:
        checks = [item for item in self._verification().cameras if item.camera_id == self._camera_id]
        flagged = [item.reason for item in checks if item.status == "flagged"]
        named, said = self._named()
        return bool(flagged) and named, "; ".join([*flagged, said])

    def _named(self) -> tuple[bool, str]:
        """Whether a finding of the gate names the file, with what was found and what is expected."""
        failed = [
            f"{item.name}: expected {item.expected}, found {item.found}. {item.detail}"
            for item in subject_gate(self._workspace, self._planted.subject_id, self._settings)
            if not item.passed and self._reason.source in item.detail
        ]
        return bool(failed), " | ".join(failed) or "no finding names it"

    def _verification(self) -> Verification:
        return load_verification(self._workspace, self._person.calibration_id)

    @property
    def _camera_id(self) -> str:
        return camera_id_from_raw(self._planted.camera or "")

    def _matching(self, items: Iterable[Quarantined]) -> list[Quarantined]:
        return [item for item in items if self._says(item.source, item.field, item.expected, item.found)]

    def _says(self, source: str, field: str, expected: str, found: str) -> bool:
        """Whether a reason is the one that there has to be, and says something in each of its parts."""
        reason = self._reason
        return (
            source == reason.source
            and all((field, expected, found))
            and field.startswith(reason.field)
            and reason.expected in expected
            and reason.found in found
        )


def _told(items: Iterable[Quarantined]) -> str:
    told = [f"{item.source}: {item.field}: expected {item.expected}, found {item.found}" for item in items]
    return "; ".join(told) or "no reason is given"
