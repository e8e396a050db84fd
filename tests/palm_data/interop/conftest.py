"""A release with seven views of 210×160 px in which patches of the official size fit, and its export."""

from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.interop.official import export_official
from palm_data.loader.release import Release
from palm_data.store.release import publish_release
from palm_data.testing import tiny as tiny_module
from palm_data.testing import tiny_labels as labels_module
from palm_data.testing.tiny import Tiny, tiny_workspace
from palm_data.testing.tiny_labels import hand_row
from schemas.capture import CaptureRecord
from schemas.hand import HandRow
from schemas.settings import without_labels

CAMERAS = tuple(f"MCU_0{number}" for number in range(1, 8))
HEIGHT, WIDTH = 160, 210
BLOCK = (slice(40, 120), slice(60, 150))
"""Where the scan is seen."""
NO_IMAGE = ("0001", 1, "MCU_05")
"""The rig delivered none."""
EXPORTED = {"0001": (2,), "0002": (1,), "0003": (1, 2)}
"""0001's first capture lacks an image; 0002's second one a hand."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """0.1.0 holds captures only, 0.2.0 labels too."""
    arrays, capture = tiny_module._arrays, tiny_module._capture

    def shapely(captures: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = arrays(captures, rng)
        found["mask"][:] = 0
        found["mask"][:, :, BLOCK[0], BLOCK[1]] = 255
        normals = found["normal"].astype(np.float64) + 0.5
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        normals[..., 45, 65, :] = (-1.0, 0.0, 0.0)
        found["normal"] = np.where(found["mask"][..., None] > 0, np.rint(normals * 32767), 0).astype(np.int16)
        return found

    def with_images(subject_id: str, frame: int, seed: int) -> CaptureRecord:
        record = capture(subject_id, frame, seed)
        images = tuple(
            record.images[0].model_copy(update={"camera_id": name})
            for name in CAMERAS
            if (subject_id, frame, name) != NO_IMAGE
        )
        return record.model_copy(update={"images": images})

    def of_one_shape(subject_id: str, frame: int, *, transl: tuple[float, ...] = (0.0, 0.0, 0.0)) -> HandRow:
        return hand_row(subject_id, frame, transl=transl).model_copy(update={"betas": hand_row(subject_id, 1).betas})

    with pytest.MonkeyPatch.context() as patch:
        for module in (tiny_module, labels_module):
            for name, value in {"CAMERAS": CAMERAS, "HEIGHT": HEIGHT, "WIDTH": WIDTH, "TILE": 128}.items():
                patch.setattr(module, name, value)
        patch.setattr(tiny_module, "_arrays", shapely)
        patch.setattr(tiny_module, "_capture", with_images)
        patch.setattr(labels_module, "hand_row", of_one_shape)
        found = tiny_workspace(tmp_path_factory.mktemp("made"), ("0001", "0002", "0003"))
    publish_release("0.1.0", found.workspace, without_labels(found.settings))
    publish_release("0.2.0", found.workspace, found.settings)
    return found


@pytest.fixture
def release(made: Tiny) -> Release:
    return palm_data.open_release(made.settings.releases, "0.2.0")


@pytest.fixture
def bare(made: Tiny) -> Release:
    return palm_data.open_release(made.settings.releases, "0.1.0")


@pytest.fixture(scope="session")
def exported(made: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of 0.2.0 in the official layout; not to be changed."""
    out = tmp_path_factory.mktemp("exported") / "OURS"
    export_official(palm_data.open_release(made.settings.releases, "0.2.0"), out)
    return out
