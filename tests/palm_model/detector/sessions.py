"""A small session with annotated images: the tips of the test surface's lobes stand for joints."""

import json
from pathlib import Path

import numpy as np

from palm_data.camera.tsai import project_tsai
from palm_data.testing.raw_session import RawSession
from schemas.hand import JOINT_NAMES
from schemas.ids import camera_id_from_raw
from tests.palm_data.calibration.sessions import Ingested, ingested

ROWS = np.linspace(0, 800, len(JOINT_NAMES)).astype(int)
"""Vertices of the test surface that stand for joints."""


def annotated(folder: Path, **options: object) -> Ingested:
    """A small ingested, calibrated session, every image of it annotated exactly."""
    made = ingested(folder, **{"subjects": 1, "gestures": 2, "pods": 4, "image_size": (160, 132), **options})
    made.calibrate()
    write_annotations(made.session)
    return made


def write_annotations(session: RawSession) -> None:
    """One COCO file, pixel corners at integers, every third joint of the first image not labelled."""
    images, annotations = [], []
    for (subject_id, gesture), surface in session.surfaces.items():
        for name, camera in session.cameras.items():
            number = len(images) + 1
            path = session.image_path(subject_id, gesture, camera_id_from_raw(name))
            pixels = project_tsai(camera, surface.vertices[ROWS])
            visibility = np.where((np.arange(len(ROWS)) % 3 == 0) & (number == 1), 0, 2)
            flat = np.column_stack([pixels, visibility]).ravel().tolist()
            images.append(
                {"id": number, "file_name": path.relative_to(session.raw).as_posix(), "width": 1, "height": 1}
            )
            annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": flat})
    coco = {
        "info": {"pixel_origin": "corner: integers at corners", "year": 2026},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "right_hand", "keypoints": list(JOINT_NAMES)}],
    }
    (session.raw / "annotations").mkdir(exist_ok=True)
    (session.raw / "annotations" / "hand.json").write_text(json.dumps(coco))
