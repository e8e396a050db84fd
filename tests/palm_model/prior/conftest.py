"""A small release of coloured hands, its registered hands and tiny settings, shared by the tests of training."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import palm_data
from palm_data.loader.release import Release
from palm_data.testing.tiny import Tiny
from palm_model.prior.hands import ReleasedHands, released_hands
from palm_model.prior.train import Report, TrainedPrior
from tests.palm_model.prior import released
from tests.palm_model.prior.settings import SMALL
from tests.palm_model.prior.training_process import training


@pytest.fixture(scope="session", autouse=True)
def _one_thread_from_the_first() -> None:
    """Bits follow from the number of threads, and some tests start processes that have one."""
    torch.set_num_threads(1)


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


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    prior: TrainedPrior
    weights: dict[str, Tensor]
    told: list[Report]


@pytest.fixture(scope="session")
def whole(release: Release, hands: ReleasedHands, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The small training, never stopped."""
    torch.set_num_threads(1)
    told: list[Report] = []
    prior = training(release, hands, SMALL, tmp_path_factory.mktemp("whole") / "state.safetensors").run(told.append)
    return Trained(prior, prior.network.state_dict(), told)
