"""Learning from, and being measured on, releases: here an imported dataset with a dot on each joint."""

from pathlib import Path

import numpy as np
import pytest
import torch

import palm_data
from palm_data.hand.model import SHIPPED_MODEL
from palm_data.interop.interhand_import import import_interhand
from palm_data.interop.interhand_source import Wanted
from palm_data.loader.release import Release
from palm_data.store.workspace import Workspace
from palm_model.detector.checkpoint import CHECKPOINT_FILE, KEY, SHIPPED, TRAINING, load_checkpoint
from palm_model.detector.dataset import merged_examples
from palm_model.detector.released import evaluate_released, released_examples, subject_digest
from palm_model.detector.stage import make_detector
from schemas.errors import StoreError
from schemas.settings import DetectorSettings, DetectorTrainingSettings, Settings
from tests.palm_data.interop.interhand import INVALID, write_interhand

SMALL = DetectorSettings(
    input_px=64, training=DetectorTrainingSettings(steps=2, batch=2, save_every=2, held_out_people_percent=50)
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("interhand")
    write_interhand(folder)
    settings = Settings(releases=folder / "r", workspace=folder / "w", hand_model=SHIPPED_MODEL)
    import_interhand(folder, "test", "1.0.0", Workspace(folder / "w"), settings, wanted=Wanted(every=1, left="mirror"))
    return palm_data.open_release(folder / "r")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_labels_lie_on_the_dots(release: Release) -> None:
    settings = Settings(detector=SMALL)
    examples = released_examples(release, settings)
    present = sum(view.present for sample in release for view in sample.views)
    assert len(examples) == present
    assert len(examples.subjects) == 2
    side = examples.crops.shape[1]
    for row in range(len(examples)):
        x, y = np.floor(examples.points_px[row][examples.labelled[row]]).astype(int).T
        on_dots = examples.crops[row][np.clip(y, 0, side - 1), np.clip(x, 0, side - 1)].max(axis=1)
        assert (on_dots > 60).mean() > 0.9  # the picture is 30 elsewhere, and scaled about a factor of two
    assert examples.labelled.sum() == 21 * len(examples) - 3  # the one that is not valid, in three views
    assert INVALID[1] == 18


def test_a_detector_learns_from_a_release_and_is_measured_on_strangers(release: Release, tmp_path: Path) -> None:
    settings = Settings(detector=SMALL, workspace=tmp_path)
    examples = released_examples(release, settings)
    make_detector(examples, Workspace(tmp_path), settings)
    network, card, _ = load_checkpoint(Workspace(tmp_path).output(TRAINING, KEY) / CHECKPOINT_FILE)
    assert len(card.subjects) == 1
    figures = evaluate_released(network, card, examples, SMALL, torch.device("cpu"))
    assert figures["people"] == figures["people_seen_in_training"] == 1
    assert 0 < figures["error_median_percent"] < 150
    assert figures["images"] < len(examples)
    everybody = card.model_copy(update={"subjects": examples.subjects})
    with pytest.raises(StoreError, match="people whom the detector did not see"):
        evaluate_released(network, everybody, examples, SMALL, torch.device("cpu"))


def test_the_shipped_detector_can_be_measured(release: Release) -> None:
    network, card, _ = load_checkpoint(SHIPPED)
    examples = released_examples(release.subject("3020"), Settings())
    figures = evaluate_released(network, card, examples, DetectorSettings(), torch.device("cpu"))
    assert figures["images"] == len(examples)
    assert "wrist_median_percent" in figures


def test_sets_of_examples_add_up_once_each(release: Release) -> None:
    settings = Settings(detector=SMALL)
    whole = released_examples(release, settings)
    parts = [released_examples(release.subject(one), settings) for one in release.subject_ids]
    assert merged_examples([*parts, whole]).digest == whole.digest
    assert {subject_digest(release, one) for one in release.subject_ids} == set(whole.subjects)


def test_a_release_without_joints_teaches_nothing(release: Release) -> None:
    with pytest.raises(StoreError, match="views with joints in space"):
        released_examples(release.filtered(where="frame == 99"), Settings())
