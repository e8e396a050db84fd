"""A small ingested session: the capture, the calibration and the maps are judged on the same one."""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from palm_data.calibration.verify import verify_calibration
from palm_data.capture.index import index_json, load_index
from palm_data.capture.ingest import ingest_subject
from palm_data.capture.tka import format_tka
from palm_data.store.workspace import Workspace
from palm_data.testing.raw_session import RawSession, write_raw_session
from schemas.camera import Matrix3, Row3, TsaiCamera
from schemas.capture import CaptureIndex, Consent
from schemas.errors import ConsentError
from schemas.settings import Settings

SIZE = (204, 170)


@dataclass(frozen=True)
class Ingested:
    """A raw session and the workspace that has read it."""

    session: RawSession
    workspace: Workspace
    settings: Settings

    @property
    def calibration_id(self) -> str:
        return self.session.calibration_id

    def calibrate(self) -> None:
        """Run the calibration stage."""
        verify_calibration(self.calibration_id, self.workspace, self.settings)

    def rewrite_index(self, subject_id: str, change: Callable[[CaptureIndex], CaptureIndex]) -> None:
        """Replace what ingest found of a subject."""
        content = index_json(change(load_index(self.workspace, subject_id)))

        def work(folder: Path) -> None:
            (folder / "index.json").write_bytes(content)

        digest = hashlib.sha256(content).hexdigest()
        self.workspace.run_stage(
            "capture_index", subject_id, code_version="test", settings={}, inputs={"index": digest}, work=work
        )

    def rewrite_tka(self, raw_name: str, change: Callable[[TsaiCamera], TsaiCamera]) -> None:
        """Replace a camera's calibration file."""
        path = self.session.raw / "calibrations" / self.calibration_id / f"{raw_name}.tka"
        path.write_bytes(format_tka(change(self.session.cameras[raw_name])).encode("ascii"))


def ingested(folder: Path, **options: object) -> Ingested:
    """Write a raw session into the folder, and ingest every consenting subject of it."""
    session = write_raw_session(folder / "raw", **{"image_size": SIZE, **options})  # type: ignore[arg-type]
    settings = Settings(raw=session.raw, workspace=folder / "workspace", releases=folder / "releases")
    workspace = Workspace(settings.workspace)
    for subject_id in session.subject_ids:
        with contextlib.suppress(ConsentError):
            ingest_subject(subject_id, workspace, settings)
    return Ingested(session, workspace, settings)


def turned(camera: TsaiCamera, degrees: float, axis: int) -> TsaiCamera:
    """The camera turned about one of its own axes."""
    vector = np.zeros(3)
    vector[axis] = np.radians(degrees)
    rotation = cv2.Rodrigues(vector)[0] @ np.asarray(camera.rotation)
    rows: list[Row3] = [(float(x), float(y), float(z)) for x, y, z in rotation]
    matrix: Matrix3 = (rows[0], rows[1], rows[2])
    return camera.model_copy(update={"rotation": matrix})


def moved(camera: TsaiCamera, millimetres: float, axis: int) -> TsaiCamera:
    """The camera moved along one of its own axes."""
    centre = np.asarray(camera.centre_mm) + millimetres * np.asarray(camera.rotation)[axis]
    x, y, z = (float(value) for value in centre)
    return camera.model_copy(update={"centre_mm": (x, y, z)})


def withdraw(index: CaptureIndex) -> CaptureIndex:
    """The index of a subject who has changed their mind."""
    return index.model_copy(update={"subject": index.subject.model_copy(update={"consent": Consent.WITHDRAWN})})
