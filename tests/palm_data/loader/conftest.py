"""A release for training tests: the scan is seen in a block of each view, not everywhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.loader.release import Release
from palm_data.store.release import publish_release
from palm_data.testing import tiny as tiny_module
from palm_data.testing.tiny import Tiny, tiny_workspace
from schemas.settings import without_labels

BLOCK = (slice(2, 9), slice(3, 12))
"""Rows and columns of every view in which the scan is seen."""
UNSEEN = (0, 2)
"""In this view of this capture of every subject nothing is seen."""


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """0.1.0 holds captures only, 0.2.0 labels too."""
    made_arrays = tiny_module._arrays

    def with_blocks(captures: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        arrays = made_arrays(captures, rng)
        arrays["mask"][:] = 0
        arrays["mask"][:, :, BLOCK[0], BLOCK[1]] = 255
        arrays["mask"][UNSEEN] = 0
        arrays["normal"] = _unit(arrays["normal"])
        return arrays

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_module, "_arrays", with_blocks)
        made = tiny_workspace(tmp_path_factory.mktemp("seen"), ("0001", "0002", "0003"), tiers=("full", "half"))
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    publish_release("0.2.0", made.workspace, made.settings)
    return made


@pytest.fixture
def seen_release(seen: Tiny) -> Release:
    return palm_data.open_release(seen.settings.releases, "0.2.0")


@pytest.fixture
def bare_release(seen: Tiny) -> Release:
    return palm_data.open_release(seen.settings.releases, "0.1.0")


@pytest.fixture
def seen_folder(seen: Tiny, tmp_path: Path) -> Path:
    """A copy of the version with labels that may be damaged."""
    shutil.copytree(seen.settings.releases / "0.2.0", tmp_path / "0.2.0")
    for path in (tmp_path / "0.2.0").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "0.2.0"


def _unit(stored: np.ndarray) -> np.ndarray:
    vectors = stored.astype(np.float64) + 0.5
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.rint(vectors * 32767).astype(np.int16)
