"""Mutated annotation files: refused with our error or read, never anything else."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from palm_data.testing.mutate import mutate_json
from palm_model.detector.annotations import read_annotations
from schemas.errors import PalmError
from schemas.hand import JOINT_NAMES

CASES = 1000


def test_a_thousand_mutated_annotation_files_are_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "annotations" / "one.json"
    path.parent.mkdir()
    document = {
        "info": {"pixel_origin": "corner"},
        "images": [{"id": 1, "file_name": "0001/fist/fist.000010.01_C.png", "width": 96, "height": 80}],
        "categories": [{"id": 1, "name": "hand", "keypoints": list(JOINT_NAMES)}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1.0, 2.0, 2] * len(JOINT_NAMES)}],
    }
    content = json.dumps(document).encode()
    path.write_bytes(content)
    (whole,) = read_annotations(tmp_path)
    assert whole.points_px.shape == (len(JOINT_NAMES), 2)
    for case in range(CASES):
        path.write_bytes(mutate_json(content, np.random.default_rng([7, case])))
        with suppress(PalmError):
            for image in read_annotations(tmp_path):
                assert image.points_px.shape == (len(JOINT_NAMES), 2)
                assert np.isfinite(image.points_px).all(), case
