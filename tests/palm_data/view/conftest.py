"""A release of hands whose scans look like hands: 0.1.0 holds captures only, 0.2.0 labels too."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.hand.model import load_hand_model
from palm_data.loader.release import Release
from palm_data.store.release import publish_release
from palm_data.testing import tiny as tiny_module
from palm_data.testing import tiny_labels
from palm_data.testing.tiny import Tiny, tiny_workspace
from schemas.settings import without_labels


@pytest.fixture(scope="session")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    made_arrays, model = tiny_module._arrays, load_hand_model()

    def with_hands(captures: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        vertices = np.repeat(model.v_template[None] + np.array([0.0, 0.0, 0.1]), captures, axis=0)
        vertices += rng.normal(0, 2e-4, vertices.shape)
        faces = np.repeat(model.faces[None].astype(np.int32), captures, axis=0)
        uv = (vertices[..., :2] - vertices[..., :2].min()) / np.ptp(vertices[..., :2])
        return made_arrays(captures, rng) | {
            "vertices": vertices.astype(np.float32),
            "faces": faces,
            "uv": uv.astype(np.float32),
            "uv_faces": faces,
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_module, "_arrays", with_hands)
        patch.setattr(tiny_labels, "convention", lambda **_: model.convention())
        made = tiny_workspace(tmp_path_factory.mktemp("hands"), ("0001", "0002", "0003"))
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    publish_release("0.2.0", made.workspace, made.settings)
    return made


@pytest.fixture
def release(hands: Tiny) -> Release:
    return palm_data.open_release(hands.settings.releases, "0.2.0")


@pytest.fixture
def captures_only(hands: Tiny) -> Release:
    return palm_data.open_release(hands.settings.releases, "0.1.0")


@pytest.fixture
def damaged(hands: Tiny, tmp_path: Path) -> Release:
    """A copy of the release, whose first scan is damaged."""
    folder = tmp_path / "0.2.0"
    shutil.copytree(hands.settings.releases / "0.2.0", folder)
    victim = next((folder / "shards" / "0001.zarr" / "scan" / "texture" / "c" / "0").rglob("0/0/0/0"))
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-3])
    return palm_data.open_release(folder)
