"""Small painted sessions with faults, and what the pipeline's first stages make of them."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
from numpy import ndarray

from palm_data.calibration.verify import verify_calibration
from palm_data.capture.index import load_index
from palm_data.capture.ingest import ingest_subject
from palm_data.capture.layout import raw_subjects
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.simulate.faults.plant import plant_faults
from palm_data.simulate.faults.record import FaultsTruth
from palm_data.store.workspace import Workspace
from palm_data.testing.raw_session import write_raw_session
from schemas.errors import BadInputError
from schemas.settings import Settings

SEED = 3
BACKGROUND = 14


def nobody(raw_name: str, image: ndarray) -> ndarray:
    """The painted studio without anybody: a plain wall with a sensor's noise."""
    noise = np.random.default_rng(int(raw_name[:2])).integers(-3, 4, image.shape)
    return (BACKGROUND + noise).astype(np.uint8)


def paint_session(out: Path, *, gestures: int = 3, image_size: tuple[int, int] = (96, 80)) -> Path:
    """A finished session of two people without faults; the second one's scans are in millimetres."""
    write_raw_session(out / "raw", subjects=2, gestures=gestures, image_size=image_size)
    (out / "truth").mkdir()
    return out


def copied(session: Path, out: Path) -> Path:
    """Another home of the same session; nothing changes a file of it in place."""
    shutil.copytree(session, out, copy_function=os.link, dirs_exist_ok=True)
    return out


def plant(out: Path, seed: int = SEED) -> FaultsTruth:
    """Plant the catalogue."""
    return plant_faults(out, seed=seed, empty_view=nobody)


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def settings_of(out: Path) -> Settings:
    """Settings for captures only, without labels."""
    settings = Settings(raw=out / "raw", workspace=out / "workspace", releases=out / "releases")
    return settings.model_copy(update={"release": settings.release.model_copy(update={"labels": False})})


def run_stages(out: Path) -> tuple[Workspace, dict[str, str]]:
    """Ingest, calibration and scan maps of everybody; who was set aside at ingest, and why."""
    settings = settings_of(out)
    workspace, refused = Workspace(settings.workspace), {}
    for subject_id in raw_subjects(settings.raw):
        try:
            ingest_subject(subject_id, workspace, settings)
        except BadInputError as error:
            refused[subject_id] = str(error)
    indexes = [load_index(workspace, subject_id) for subject_id in workspace.keys("capture_index")]
    for calibration_id in sorted({index.session.calibration_id for index in indexes}):
        verify_calibration(calibration_id, workspace, settings)
    for index in indexes:
        with contextlib.suppress(BadInputError):  # nothing of theirs is usable
            make_scan_maps(index.subject.subject_id, workspace, settings)
    return workspace, refused
