"""The stage `prior`: whole or not at all, once, and on from where it was; its curves and its picture."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import palm_data
from palm_data.camera.pinhole import project
from palm_data.loader.release import Release
from palm_data.store.workspace import Workspace
from palm_data.testing import tiny_labels
from palm_model.prior.pictures import cropped, error_picture, shown_views
from palm_model.prior.prior import Prior
from palm_model.prior.stage import curves_folder, make_prior, make_prior_in, states_folder
from palm_model.prior.train import Report
from schemas.errors import BadInputError, StoreError
from schemas.prior import HeldOut, PriorSettings
from schemas.prior_pretraining import PretrainingSettings
from tests.palm_model.prior import released
from tests.palm_model.prior.settings import small

SETTINGS = small(steps=4, save_every=1, validate_every=2, patches=0).model_copy(
    update={
        "held_out": HeldOut(cameras=(tiny_labels.CAMERAS[-1],)),
        "pretraining": PretrainingSettings(
            steps=2, batch=64, shapes=2, points=64, eikonal_points=8, unseen_shapes=1, finest_vertices=64
        ),
    }
)


class Killed(Exception):
    """As a kill would, in the middle of a training."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released.published(tmp_path_factory.mktemp("published")).settings.releases


@pytest.fixture(scope="module")
def shown(published: Path) -> Release:
    return palm_data.open_release(published, "0.2.0")


@pytest.fixture
def settings() -> PriorSettings:
    torch.set_num_threads(1)
    return SETTINGS


def killed_after(step: int) -> Callable[[Report], None]:
    def tell(report: Report) -> None:
        if report.step == step:
            raise Killed

    return tell


def steps_drawn(folder: Path) -> list[int]:
    events = EventAccumulator(str(folder))  # type: ignore[no-untyped-call]
    events.Reload()  # type: ignore[no-untyped-call]
    return [one.step for one in events.Scalars("loss/total")]  # type: ignore[no-untyped-call]


def test_a_killed_training_goes_on_and_ends_as_one_never_stopped_and_then_is_unchanged(
    shown: Release, settings: PriorSettings, tmp_path: Path
) -> None:
    whole = make_prior(shown, Workspace(tmp_path / "whole"), settings, model=released.MODEL)
    place = Workspace(tmp_path / "killed")
    with pytest.raises(Killed):
        make_prior(shown, place, settings, model=released.MODEL, progress=killed_after(2))
    assert place.keys("prior") == []
    (state,) = states_folder(place).glob("*.safetensors")
    told: list[Report] = []
    report = make_prior(shown, place, settings, model=released.MODEL, progress=told.append)
    assert whole is not None
    assert report is not None
    assert report.ran
    assert [one.step for one in told] == [3, 4]
    assert report.digest == whole.digest
    assert list(states_folder(place).glob("*.s*")) == []
    assert steps_drawn(curves_folder(place, "0.2.0", state.stem)) == [1, 2, 3, 4]

    assert report.picture is not None
    picture = cv2.imread(str(report.picture))
    assert picture is not None
    assert picture.std() > 10
    again = make_prior(shown, place, settings, model=released.MODEL, progress=killed_after(1))
    assert again is not None
    assert not again.ran
    folder = place.output("prior", "0.2.0")
    assert {path.name for path in folder.iterdir()} == {
        "prior.safetensors", "card.json", "figures.json", "picture.png",
    }  # fmt: skip
    assert Prior.load(folder, released.MODEL).card.release_version == "0.2.0"
    assert report.figures["subjects"] == 3


def test_a_training_begins_anew_where_it_shall_and_never_takes_a_state_of_other_settings(
    shown: Release, settings: PriorSettings, tmp_path: Path
) -> None:
    place = Workspace(tmp_path)
    with pytest.raises(Killed):
        make_prior(shown, place, settings, model=released.MODEL, progress=killed_after(2))
    other = settings.model_copy(update={"seed": 5})
    begun: list[int] = []

    def first(report: Report) -> None:
        begun.append(report.step)
        raise Killed

    with pytest.raises(Killed):
        make_prior(shown, place, other, model=released.MODEL, progress=first)
    with pytest.raises(Killed):
        make_prior(shown, place, settings, model=released.MODEL, progress=first)
    with pytest.raises(Killed):
        make_prior(shown, place, settings, model=released.MODEL, resume=False, progress=first)
    assert begun == [1, 3, 1]


def test_a_folder_of_its_own_has_a_prior_only_once_it_is_whole(
    shown: Release, settings: PriorSettings, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        make_prior_in(tmp_path, shown, settings, model=released.MODEL, progress=killed_after(3))
    assert [path.name for path in tmp_path.iterdir()] == [".training"]
    report = make_prior_in(tmp_path, shown, settings, model=released.MODEL)
    assert report is not None
    assert report.ran
    (tmp_path / "card.json").unlink()
    again = make_prior_in(tmp_path, shown, settings, model=released.MODEL)
    assert again is not None
    assert not again.ran
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".training", "card.json", "figures.json", "picture.png", "prior.safetensors",
    ]  # fmt: skip


def test_what_cannot_teach_is_refused_before_a_step(
    published: Path, shown: Release, settings: PriorSettings, tmp_path: Path
) -> None:
    def no_step(report: Report) -> None:
        raise AssertionError(report)

    place = Workspace(tmp_path)
    with pytest.raises(StoreError, match="labels"):
        make_prior(palm_data.open_release(published, "0.1.0"), place, settings, model=released.MODEL, progress=no_step)
    alone = shown.filtered(subjects=["0001"])
    with pytest.raises(BadInputError, match="at least 2 people"):
        make_prior(alone, place, settings, model=released.MODEL, progress=no_step)
    unknown = settings.model_copy(update={"held_out": HeldOut(cameras=("MCU_99",))})
    with pytest.raises(BadInputError, match="MCU_99"):
        make_prior(shown, place, unknown, model=released.MODEL, progress=no_step)
    assert place.keys("prior") == []


def test_the_pictures_show_what_the_training_did_not_see_first(shown: Release, settings: PriorSettings) -> None:
    found = shown_views(shown, settings, ())
    assert found
    assert {one.shown_as for one in found} == {"new camera"}
    assert len({one.key.subject_id for one in found}) > 1


def test_a_cropped_camera_sees_the_same_points_in_its_part_of_the_image() -> None:
    camera = released.camera(1, "MCU_02").model_copy(
        update={"width": 600, "height": 800, "fx": 1500.0, "fy": 1450.0, "cx": 290.0, "cy": 410.0}
    )
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (50, 3))
    window, part = cropped(camera, points)
    assert max(part.width, part.height) == 112
    whole, _ = project(camera, points)
    scale = (part.width / (window.right - window.left), part.height / (window.bottom - window.top))
    found, _ = project(part, points)
    np.testing.assert_allclose(found, (whole - (window.left, window.top)) * scale, atol=1e-9)
    assert (found >= 0).all()
    assert (found <= (part.width, part.height)).all()


def test_an_error_grows_brighter_up_to_a_fifth() -> None:
    drawn = error_picture(np.array([[0.0, 0.1, 0.2, 0.9]])).astype(int).sum(axis=-1)[0]
    assert drawn[0] < drawn[1] < drawn[2] == drawn[3]
