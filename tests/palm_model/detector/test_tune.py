import json
from pathlib import Path

import pytest
import torch

from palm_data.store.workspace import Workspace
from palm_model.detector.checkpoint import SHIPPED, checkpoint_sha256, current_checkpoint, read_card, write_checkpoint
from palm_model.detector.dataset import Session, load_examples
from palm_model.detector.network import build_network
from palm_model.detector.train import train_detector
from palm_model.detector.tune import tune_detector, tuning_settings
from palm_model.detector.validation import validate
from schemas.errors import BadInputError
from schemas.settings import DetectorSettings, DetectorTrainingSettings, Settings
from tests.palm_data.calibration.sessions import Ingested
from tests.palm_model.detector.sessions import annotated

SMALL = DetectorSettings(
    input_px=64,
    training=DetectorTrainingSettings(steps=1, batch=4, held_out_people_percent=30),
    tuning_steps=12,
    tuning_rate=3e-3,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    return annotated(tmp_path_factory.mktemp("tuning"), subjects=2, gestures=1, mono=False)


@pytest.fixture
def fresh(made: Ingested, tmp_path: Path) -> Workspace:
    """The session's workspace before anything was trained in it."""
    import shutil

    shutil.copytree(made.workspace.root / "stages", tmp_path / "workspace" / "stages")
    return Workspace(tmp_path / "workspace")


def trained_here(made: Ingested, workspace: Workspace, settings: Settings) -> Path:
    """A network that has hardly learned anything, as if `palm train detector` had made it."""
    examples = load_examples([Session(made.session.raw, workspace)], settings)
    trained = train_detector(examples, settings.detector, states=workspace.root / "states")
    workspace.run_stage(
        "detector_training", "hand", code_version="test", settings={}, inputs={},
        work=lambda folder: write_checkpoint(folder, trained.network, trained.card),
    )  # fmt: skip
    return workspace.output("detector_training", "hand") / "detector.safetensors"


def test_what_ships_is_whole_small_and_says_whom_it_saw() -> None:
    card = read_card(SHIPPED)
    assert SHIPPED.stat().st_size <= 20_000_000
    assert len(card.subjects) >= 20
    assert json.loads((SHIPPED.parent / "card.json").read_text()) == card.model_dump(mode="json")


def test_tuning_that_helps_on_strangers_is_kept_and_in_force(made: Ingested, fresh: Workspace) -> None:
    settings = made.settings.model_copy(update={"detector": SMALL})
    start = trained_here(made, fresh, settings)
    report = tune_detector("hand", fresh, settings)
    assert report.figures["tuned"] is True
    assert report.figures["validation_error_median_px"] < report.figures["start_validation_error_median_px"]
    assert report.picture is not None
    path = current_checkpoint(fresh, settings)
    assert path.parent == fresh.output("detector", "hand")
    card = read_card(path)
    assert card.start == checkpoint_sha256(start)
    assert len(card.subjects) == 1, "one of the two was held out"
    assert not tune_detector("hand", fresh, settings).ran


def test_tuning_that_does_not_help_is_thrown_away(made: Ingested, fresh: Workspace) -> None:
    harmful = SMALL.model_copy(update={"tuning_steps": 1, "tuning_rate": 1e3})
    settings = made.settings.model_copy(update={"detector": harmful})
    start = trained_here(made, fresh, settings)
    report = tune_detector("hand", fresh, settings)
    assert report.figures["tuned"] is False
    assert current_checkpoint(fresh, settings).read_bytes() == start.read_bytes()


def test_a_start_that_changed_is_in_force_until_it_is_tuned(made: Ingested, fresh: Workspace) -> None:
    settings = made.settings.model_copy(update={"detector": SMALL.model_copy(update={"tuning_steps": 0})})
    tune_detector("hand", fresh, settings)
    assert current_checkpoint(fresh, settings).parent == fresh.output("detector", "hand")
    start = trained_here(made, fresh, settings)
    assert current_checkpoint(fresh, settings) == start


def test_one_annotated_person_or_none_leaves_the_start_as_it_is(tmp_path: Path) -> None:
    made = annotated(tmp_path, subjects=1, gestures=1, mono=False)
    settings = made.settings.model_copy(update={"detector": SMALL})
    assert tune_detector("hand", made.workspace, settings).figures["tuned"] is False
    assert current_checkpoint(made.workspace, settings).read_bytes() == SHIPPED.read_bytes()
    (made.session.raw / "annotations" / "hand.json").unlink()
    assert tune_detector("hand", made.workspace, settings).figures["tuned"] is False


def test_a_named_detector_is_used_as_it_is(made: Ingested, fresh: Workspace, tmp_path: Path) -> None:
    settings = made.settings.model_copy(update={"detector": SMALL})
    named = tmp_path / "named.safetensors"
    named.write_bytes(SHIPPED.read_bytes())
    detector = SMALL.model_copy(update={"checkpoint": named})
    settings = made.settings.model_copy(update={"detector": detector})
    tune_detector("hand", fresh, settings)
    assert current_checkpoint(fresh, settings) == named


def test_annotations_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    made = annotated(tmp_path, subjects=2, gestures=1, mono=False)
    (made.session.raw / "annotations" / "hand.json").write_text("{")
    with pytest.raises(BadInputError, match=r"hand\.json"):
        tune_detector("hand", made.workspace, made.settings.model_copy(update={"detector": SMALL}))


def test_nobody_held_out_is_learned_from(made: Ingested) -> None:
    settings = made.settings.model_copy(update={"detector": SMALL})
    examples = load_examples([Session(made.session.raw, made.workspace)], settings)
    tuning = tuning_settings(settings.detector)
    figures = validate(build_network(), examples, tuning, torch.device("cpu"))
    assert figures["validation_images"] == sum(examples.held_out(30)) == 4
