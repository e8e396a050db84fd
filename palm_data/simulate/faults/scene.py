"""What a fault is planted in: a faulty person's own copy of somebody's raw files, not yet part of the session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.layout import CaptureFiles, find_files
from palm_data.simulate.faults.record import CopiedCapture, Outcome, PlantedFault, Reason
from palm_data.simulate.image_files import write_jpeg, write_png
from schemas.ids import CalibrationId, SubjectId, camera_id_from_raw

EmptyView = Callable[[str, UInt8[ndarray, "h w ..."]], UInt8[ndarray, "h w ..."]]
"""The rig's name of a camera and an image of its → its image of the studio with nobody in it."""


@dataclass(frozen=True)
class Scene:
    """One capture (or session) of a faulty person, which a fault may change."""

    raw: Path
    """A raw root that holds the faulty people only."""
    subject_id: SubjectId
    calibration_id: CalibrationId
    capture: CopiedCapture
    camera: str
    """The rig's name of the camera that is the victim, of faults that have one."""
    empty_view: EmptyView

    @property
    def files(self) -> CaptureFiles:
        """The capture's files as they are now."""
        return next(
            item
            for item in find_files(self.raw, self.subject_id).captures
            if (item.gesture, item.raw_frame) == (self.capture.gesture, self.capture.raw_frame)
        )

    @property
    def image(self) -> Path:
        """The victim's image."""
        (path,) = self.files.images[camera_id_from_raw(self.camera)]
        return path

    @property
    def scan(self) -> Path:
        """The capture's scan."""
        (path,) = self.files.scans
        return path

    @property
    def calibration(self) -> Path:
        """The folder of the person's calibration."""
        return self.raw / "calibrations" / self.calibration_id

    def name(self, path: Path) -> str:
        """The path as the record has it."""
        return path.relative_to(self.raw).as_posix()


@dataclass(frozen=True)
class Planted:
    """What planting a fault changed, and what the reason has to say."""

    files: tuple[str, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True)
class Fault:
    """A defect that rigs, disks and people are known to make."""

    name: str
    summary: str
    outcome: Outcome
    plant: Callable[[Scene], Planted]
    """Changes the scene's files, those of no other capture, and says which."""
    has_camera: bool = False
    """Whether one camera is the victim."""
    of_session: bool = False
    """Whether the whole session has it, not one capture."""

    def planted_in(self, scene: Scene) -> PlantedFault:
        """Plant the fault, and record it."""
        planted = self.plant(scene)
        return PlantedFault(
            fault=self.name,
            subject_id=scene.subject_id,
            gesture=None if self.of_session else scene.capture.gesture,
            raw_frame=None if self.of_session else scene.capture.raw_frame,
            camera=scene.camera if self.has_camera else None,
            files=tuple(sorted(planted.files)),
            outcome=self.outcome,
            reason=planted.reason,
        )


def write_image(path: Path, image: UInt8[ndarray, "h w ..."]) -> None:
    """Write an image in the format of its file's ending, PNG or JPEG."""
    write = write_png if path.suffix.lower() == ".png" else write_jpeg
    write(path, image)


def cut_short(path: Path, share: float = 0.4) -> int:
    """Leave the first part of a file only; returns how many bytes those are."""
    content = path.read_bytes()
    kept = content[: max(1, round(len(content) * share))]
    path.write_bytes(kept)
    return len(kept)
