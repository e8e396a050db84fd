"""A small ingested session whose scans are the hand model itself, posed: registration, quality and evaluation share it."""

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import load_index
from palm_data.hand.model import load_hand_model
from palm_data.registration.parameters import FRAME_SIZE, ORIENT, POSE, TRANSL
from palm_data.registration.posed import Posed
from palm_data.store.tables import write_rows
from palm_data.testing import raw_session
from palm_data.testing.shapes import Surface
from palm_data.triangulation.keypoints import KEYPOINTS_2D, KEYPOINTS_2D_FILE
from palm_data.triangulation.stage import triangulate_subject
from schemas.annotation import Keypoint2DRow
from schemas.registration import Phase, RegistrationSettings
from tests.palm_data.calibration.sessions import Ingested, ingested
from tests.palm_data.registration.hands import hand

QUICK = RegistrationSettings(
    scan_samples=300,
    start=Phase(iterations=6, keypoints_3d=1.0, pose_prior=0.05, shape_prior=0.05, limits=0.01),
    phases=(Phase(iterations=4, keypoints_3d=0.2, model_to_scan=1.0, scan_to_model=1.0, pose_prior=0.001),),
)
"""Enough to come within a millimetre or two of an easy hand."""


def true_frame(gesture: str) -> np.ndarray:
    """The pose of a gesture's hand, its middle at the origin."""
    spread = raw_session._SPREADS[raw_session.GESTURES.index(gesture)]
    frame = np.zeros(FRAME_SIZE)
    frame[ORIENT] = (0.2, 0.1, 0.3 * spread)
    frame[POSE] = np.random.default_rng(int(100 * spread)).normal(0, 0.08, POSE.stop - POSE.start)
    frame[TRANSL] = -hand()[1](frame, np.zeros(10)).vertices.mean(axis=0)
    return frame


def true_hand(gesture: str) -> Posed:
    """The hand of a gesture; its shape is the mean shape."""
    return hand()[1](true_frame(gesture), np.zeros(10))


def hand_session(folder: Path, *, gestures: int = 2, registration: RegistrationSettings = QUICK) -> Ingested:
    """A subject, ingested and calibrated: seven colour cameras, a posed hand as each scan; the first gesture is simple."""
    model = load_hand_model()
    assert model.vt is not None
    assert model.ft is not None
    texture = {"uv": model.vt.astype(np.float64), "uv_faces": model.ft.astype(np.int32)}

    def surface(*, spread: float, **_: float) -> Surface:
        gesture = raw_session.GESTURES[raw_session._SPREADS.index(spread)]
        return Surface(true_hand(gesture).vertices, model.faces.astype(np.int32), **texture)

    with patch.object(raw_session, "lobed_surface", surface):
        made = ingested(folder, subjects=1, gestures=gestures, mono=False, portrait_pod=None)
    settings = made.settings.model_copy(update={"registration": registration})
    session = Ingested(made.session, made.workspace, settings)
    session.calibrate()
    return session


def detect(made: Ingested, *, seen: Mapping[int, int] = {}, noise_px: float = 0.0) -> None:
    """The stage keypoints_2d from what is true, and keypoints_3d from it.

    Args:
        seen: frame → how many of its joints are detected; all by default.
    """
    index, rng = load_index(made.workspace, "0001"), np.random.default_rng(0)
    rows = []
    for capture in index.captures:
        joints = true_hand(capture.gesture).joints
        for camera in load_cameras(made.workspace, made.calibration_id):
            px, _ = project(undistorted(camera), joints)
            for joint, (x, y) in enumerate((px + rng.normal(0, noise_px, px.shape)).tolist()):
                sure = 0.9 if joint < seen.get(capture.frame, len(joints)) else 0.0
                rows.append(
                    Keypoint2DRow(
                        subject_id="0001", frame=capture.frame, camera_id=camera.camera_id, joint=joint,
                        x_px=x, y_px=y, confidence=sure,
                    )
                )  # fmt: skip
    shown = {"seen": {str(frame): count for frame, count in seen.items()}, "noise_px": noise_px}

    def work(folder: Path) -> None:
        write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, rows)

    made.workspace.run_stage(KEYPOINTS_2D, "0001", code_version="test", settings=shown, inputs={}, work=work)
    triangulate_subject("0001", made.workspace, made.settings)
