"""An avatar's score beside the prior without personalisation, on a small session whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palm_data.evaluate.true_views import TrueViews, ViewName
from palm_data.hand.model import load_hand_model
from palm_data.store.atomic import file_sha256
from palm_data.store.workspace import Workspace
from palm_model.avatar.avatar import Avatar, personalise
from palm_model.avatar.checkpoint import write_avatar
from palm_model.avatar.photo import released_photo
from palm_model.avatar.stage import ViewInput, make_released_avatar
from palm_model.prior.checkpoint import write_checkpoint
from palm_model.prior.prior import Prior
from pipelines.avatar_scoring import AvatarScore, score_avatar, scored_cameras
from pipelines.cli.main import app
from pipelines.prior_scoring import Truth
from schemas.errors import SettingsError, StoreError
from schemas.prior_evaluation import PriorEvaluationSettings
from tests.palm_data.evaluate.prior_session import VERSION, PriorSession, prior_session
from tests.palm_model.avatar.scene import FEW_STEPS, small_prior

QUICK = PriorEvaluationSettings(spp=4, supersample=2)
PHOTO = "MCU_02"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> PriorSession:
    return prior_session(tmp_path_factory.mktemp("avatar"))


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small_prior()
    return write_checkpoint(tmp_path_factory.mktemp("prior"), made.network, made.card)


def avatar_of(session: PriorSession, prior_file: Path, steps: int) -> Avatar:
    model = load_hand_model()
    photo = released_photo(session.release, "0001", 1, PHOTO, model)
    settings = FEW_STEPS.model_copy(update={"steps": steps})
    return personalise(Prior.load(prior_file, model), [photo], settings, prior_sha256=file_sha256(prior_file))


def score(session: PriorSession, avatar: Path, prior_file: Path, others: int = 1) -> AvatarScore:
    truth = Truth(session.truth, session.truth.parent / "truth_views", 1)
    return score_avatar(
        avatar, prior_file, session.release, truth, model=load_hand_model(), other_cameras=others, settings=QUICK
    )


def test_the_score_is_of_the_avatar_and_of_the_prior_that_knows_nothing_of_the_person(
    session: PriorSession, prior_file: Path, tmp_path: Path
) -> None:
    fitted, mean = avatar_of(session, prior_file, 10), avatar_of(session, prior_file, 0)
    figures = score(session, write_avatar(tmp_path, fitted), prior_file).figures
    sample = session.release.capture("0001", 1)
    cameras = scored_cameras(sample, PHOTO, 1)
    views = TrueViews(session.truth, session.truth.parent / "truth_views", QUICK, threads=1)
    for avatar, end in ((fitted, ""), (mean, "_unpersonalised")):
        found = []
        for camera_id in cameras:
            view = sample.view(camera_id)
            true = views[ViewName("0001", sample.gesture, 1, view.camera)]
            seen = avatar.view(view.camera, avatar.posed(avatar.photographed))
            error = (seen.rgb.astype(np.float64) - true.rgb)[view.training_mask & true.skin]
            found.append(-10.0 * np.log10((error**2).mean()))
        assert figures[f"psnr_fg{end}"] == pytest.approx(np.mean(found), abs=1e-4)
        assert figures[f"psnr_fg_new_camera{end}"] == pytest.approx(found[1], abs=1e-4)
    assert figures["psnr_fg"] != figures["psnr_fg_unpersonalised"]
    assert (figures["views"], figures["subject"], figures["known_to_prior"]) == (2, "0001", 1)


def test_cameras_are_the_photographs_own_and_others_that_see_the_hand(session: PriorSession) -> None:
    sample = session.release.capture("0001", 1)
    known = [one.camera_id for one in sample.cameras]
    for others in (0, 1, 2, 3):
        chosen = scored_cameras(sample, PHOTO, others)
        assert chosen[0] == PHOTO
        assert len(set(chosen)) == len(chosen) == min(others, len(known) - 1) + 1
        assert set(chosen) <= set(known)
    assert set(scored_cameras(sample, PHOTO, 99)) == set(known)


def test_another_prior_another_release_and_own_photographs_are_refused(
    session: PriorSession, prior_file: Path, tmp_path: Path
) -> None:
    avatar = avatar_of(session, prior_file, 0)
    file = write_avatar(tmp_path / "avatar", avatar)
    other = small_prior(4)
    with pytest.raises(StoreError, match="the prior that the avatar was made from"):
        score(session, file, write_checkpoint(tmp_path / "other", other.network, other.card))
    photo = avatar.card.photos[0]
    assert photo.origin is not None
    elsewhere = photo.origin.model_copy(update={"merkle_root": "f" * 64})
    for origin, error in ((elsewhere, StoreError), (None, SettingsError)):
        card = avatar.card.model_copy(update={"photos": (photo.model_copy(update={"origin": origin}),)})
        moved = Avatar(avatar.network, avatar.betas, avatar.photographed, card, avatar.model)
        with pytest.raises(error):
            score(session, write_avatar(tmp_path / "moved", moved), prior_file)


def test_the_command_scores_a_fit_of_no_steps_as_the_prior_without_personalisation(
    session: PriorSession, prior_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.avatar_scoring.PriorEvaluationSettings", lambda: QUICK)
    place, releases = tmp_path / "workspace", str(session.releases)
    command = ["evaluate", "avatar", str(place), "--truth", str(session.truth), "--release", releases]
    command += ["--prior", str(prior_file), "--threads", "1", "--json"]
    assert "expected an avatar, found none" in str(CliRunner().invoke(app, command).exception)
    nothing, view = FEW_STEPS.model_copy(update={"steps": 0}), ViewInput(VERSION, "0001", 1, PHOTO)
    make_released_avatar(view, releases, prior_file, Workspace(place), nothing, model=load_hand_model())
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert figures["psnr_fg"] == pytest.approx(figures["psnr_fg_unpersonalised"], abs=1e-3)
    assert figures["views"] == 3
