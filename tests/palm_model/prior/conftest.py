"""A small release of coloured hands, its registered hands and tiny settings, shared by the tests of training."""

import pytest
import torch

import palm_data
from palm_data.loader.release import Release
from palm_data.testing.tiny import Tiny
from palm_model.prior.hands import ReleasedHands, released_hands
from tests.palm_model.prior import released
from tests.palm_model.prior.settings import SMALL


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """0.1.0 holds captures only, 0.2.0 labels too."""
    return released.published(tmp_path_factory.mktemp("coloured"))


@pytest.fixture(scope="session")
def release(coloured: Tiny) -> Release:
    return palm_data.open_release(coloured.settings.releases, "0.2.0")


@pytest.fixture(scope="session")
def hands(release: Release) -> ReleasedHands:
    return released_hands(release, released.MODEL, SMALL.skinning)


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)
