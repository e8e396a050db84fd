from pathlib import Path

import numpy as np
import pytest
import torch

from palm_data.capture.index import load_index, subject_digest
from palm_model.detector.checkpoint import (
    SHIPPED,
    checkpoint_bytes,
    current_checkpoint,
    load_checkpoint,
    read_card,
    write_checkpoint,
)
from palm_model.detector.dataset import Examples, Session, load_examples
from palm_model.detector.network import as_input, build_network, imagenet_weights, start_from_imagenet
from palm_model.detector.stage import make_detector
from palm_model.detector.train import train_detector
from schemas.errors import IntegrityError
from schemas.settings import DetectorSettings, DetectorTrainingSettings
from tests.palm_data.calibration.sessions import Ingested
from tests.palm_model.detector.sessions import annotated

SMALL = DetectorSettings(
    input_px=64,
    training=DetectorTrainingSettings(steps=4, batch=2, save_every=2, held_out_people_percent=20),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    return annotated(tmp_path_factory.mktemp("training"), gestures=2, mono=False)


@pytest.fixture(scope="module")
def examples(made: Ingested) -> Examples:
    return load_examples([Session(made.session.raw, made.workspace)], settings(made))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(examples: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    trained = train_detector(examples, SMALL, states=folder / "states")
    write_checkpoint(folder, trained.network, trained.card)
    return folder / "detector.safetensors"


def settings(made: Ingested):
    return made.settings.model_copy(update={"detector": SMALL})


def test_the_encoder_starts_from_the_package_weights() -> None:
    network = build_network()
    start_from_imagenet(network)
    theirs = list(torch.load(imagenet_weights(), weights_only=True).values())
    ours = list(network.get_submodule("encoder").state_dict().values())
    assert len(theirs) == len(ours) + 8 == 296
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=False))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(IntegrityError, match="EfficientNet-lite0"):
        start_from_imagenet(build_network(), tmp_path / "other.pth")


def test_inputs_are_what_the_weights_expect() -> None:
    crops = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    assert as_input(crops)[0, :, 0].tolist() == [[-1.0, 1.0]] * 3


class Killed(BaseException):
    pass


def test_a_killed_training_ends_with_the_same_bytes(examples: Examples, tmp_path: Path) -> None:
    whole = train_detector(examples, SMALL, states=tmp_path / "whole")
    steps = []

    def kill_at_three(done: int, total: int, loss: float) -> None:
        steps.append(done)
        if len(steps) == 3:
            raise Killed

    with pytest.raises(Killed):
        train_detector(examples, SMALL, states=tmp_path / "killed", progress=kill_at_three)
    resumed = train_detector(examples, SMALL, states=tmp_path / "killed", progress=kill_at_three)
    assert steps == [1, 2, 3, 3, 4]
    assert checkpoint_bytes(resumed.network, resumed.card) == checkpoint_bytes(whole.network, whole.card)


def test_a_damaged_state_begins_again(examples: Examples, tmp_path: Path) -> None:
    train_detector(examples, SMALL, states=tmp_path)
    (state,) = tmp_path.iterdir()
    state.write_bytes(state.read_bytes()[:1000])
    steps: list[int] = []
    train_detector(examples, SMALL, states=tmp_path, progress=lambda done, total, loss: steps.append(done))
    assert steps == [1, 2, 3, 4]


def test_training_learns_where_the_joints_are(examples: Examples, tmp_path: Path) -> None:
    few = SMALL.model_copy(
        update={"training": SMALL.training.model_copy(update={"steps": 40, "batch": 6, "robust_from": 1.0})}
    )
    losses: list[float] = []
    train_detector(examples, few, states=tmp_path, progress=lambda done, total, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.65 * np.mean(losses[:3])


def test_a_detector_comes_back_from_its_file(made: Ingested, examples: Examples, tmp_path: Path) -> None:
    trained = train_detector(examples, SMALL, states=tmp_path / "states")
    write_checkpoint(tmp_path, trained.network, trained.card)
    path = tmp_path / "detector.safetensors"
    network, card, digest = load_checkpoint(path)
    assert card == trained.card == read_card(path)
    assert card.subjects == (subject_digest(load_index(made.workspace, "0001")),)
    assert card.data_digest == examples.digest
    assert len(digest) == 64
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        difference = (network(image) - trained.network(image)).abs().max()
    assert difference < 0.1  # half precision
    assert path.stat().st_size < 20_000_000


def test_who_was_seen_earlier_stays_on_the_card(made: Ingested, examples: Examples, tmp_path: Path) -> None:
    first = train_detector(examples, SMALL, states=tmp_path / "states")
    stranger = "ab" * 32
    card = first.card.model_copy(update={"subjects": (stranger,)})
    write_checkpoint(tmp_path, first.network, card)
    later = train_detector(examples, SMALL, states=tmp_path / "states", start=tmp_path / "detector.safetensors")
    assert stranger in later.card.subjects
    assert set(examples.subjects) < set(later.card.subjects)
    assert later.card.start != first.card.start == "imagenet"


@pytest.mark.parametrize("damage", ["missing", "cut", "no card", "other tensors"])
def test_a_file_that_is_no_detector_is_refused(tmp_path: Path, checkpoint: Path, damage: str) -> None:
    from safetensors.torch import save

    path = tmp_path / "detector.safetensors"
    if damage == "cut":
        path.write_bytes(checkpoint.read_bytes()[:5000])
    elif damage == "no card":
        path.write_bytes(save({"a": torch.zeros(2)}))
    elif damage == "other tensors":
        path.write_bytes(save({"a": torch.zeros(2)}, {"card": read_card(checkpoint).model_dump_json()}))
    with pytest.raises(IntegrityError, match="detector"):
        load_checkpoint(path)


def test_the_stage_trains_once_and_is_then_in_force_in_place_of_what_ships(made: Ingested) -> None:
    session = Session(made.session.raw, made.workspace)
    assert current_checkpoint(made.workspace, settings(made)) == SHIPPED
    first = make_detector(load_examples([session], settings(made)), made.workspace, settings(made))
    second = make_detector(load_examples([session], settings(made)), made.workspace, settings(made))
    assert (first.ran, second.ran) == (True, False)
    assert first.figures["images"] == 8
    assert first.picture is not None
    output = made.workspace.output("detector_training", "hand")
    assert current_checkpoint(made.workspace, settings(made)).parent == output
    assert not (made.workspace.root / "training" / "detector_training").exists()
