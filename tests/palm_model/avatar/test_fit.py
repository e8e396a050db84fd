"""A prior fitted to photographs: it learns the person and nothing else, the same way every time."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from palm_model.avatar import fit as fit_module
from palm_model.avatar.avatar import Avatar, personalise
from palm_model.avatar.fit import AvatarFit, FitReport, weights_digest
from palm_model.avatar.photo import Photo
from schemas.avatar import AvatarSettings
from schemas.errors import BadInputError, TrainingError
from tests.palm_model.avatar.scene import FEW_STEPS, FIT, ONLY_COLOUR, photographed, posed, psnr, skinning, small_prior

PRIOR_SHA256 = "1" * 64


@functools.cache
def fitted(settings: AvatarSettings = FEW_STEPS) -> Avatar:
    return fitted_anew(settings)


def fitted_anew(settings: AvatarSettings = FEW_STEPS, **others: object) -> Avatar:
    return personalise(small_prior(), [photographed()], settings, prior_sha256=PRIOR_SHA256, **others)  # type: ignore[arg-type]


def test_it_shows_the_photograph_better_than_the_trained_peoples_mean() -> None:
    photo = photographed()
    before, after = fitted(FEW_STEPS.model_copy(update={"steps": 0})), fitted()
    shown = [psnr(one.view(photo.camera, one.posed(one.photographed)).rgb, photo) for one in (before, after)]
    assert shown[1] > shown[0] + 3.0


def test_without_steps_it_is_the_trained_peoples_mean() -> None:
    prior = small_prior()
    mean = prior.network.conditioning.book.shape.mean(dim=0)  # type: ignore[union-attr]
    own = fitted(FEW_STEPS.model_copy(update={"steps": 0})).network.conditioning.book.shape  # type: ignore[union-attr]
    torch.testing.assert_close(own[0], mean)


def test_the_networks_stay_as_they_are() -> None:
    prior = small_prior()
    before = weights_digest(prior.network)
    avatar = personalise(prior, [photographed()], FEW_STEPS, prior_sha256=PRIOR_SHA256)
    assert weights_digest(prior.network) == before
    theirs, own = prior.network.state_dict(), avatar.network.state_dict()
    for name in theirs:
        if ".book." not in name:
            assert torch.equal(theirs[name], own[name]), name


def test_an_avatar_holds_nobody_elses_code() -> None:
    prior = small_prior()
    book = prior.network.conditioning.book  # type: ignore[union-attr]
    own = fitted().network.conditioning.book  # type: ignore[union-attr]
    assert own.shape.shape[0] == own.appearance.shape[0] == 1
    for theirs in (*book.shape, *book.appearance):
        assert float((own.appearance[0] - theirs).detach().abs().max()) > 1e-3


def test_codes_stay_in_the_subspace_until_they_are_free() -> None:
    inside = fitted(FEW_STEPS.model_copy(update={"free_from": 1000}))
    trained = small_prior().network.conditioning.book.appearance.detach()  # type: ignore[union-attr]
    mean = trained.mean(dim=0)
    axes = torch.linalg.svd(trained - mean, full_matrices=False)[2][:2]
    for avatar, leaves in ((inside, False), (fitted(), True)):
        away = avatar.network.conditioning.book.appearance[0].detach() - mean  # type: ignore[union-attr]
        left = float((away - (away @ axes.T) @ axes).norm())
        assert (left > 1e-3) == leaves


def test_the_same_seed_gives_the_same_avatar() -> None:
    first, second, other = fitted(), fitted_anew(), fitted_anew(FEW_STEPS.model_copy(update={"seed": 1}))
    assert weights_digest(first.network) == weights_digest(second.network)
    assert weights_digest(first.network) != weights_digest(other.network)


def test_a_killed_fit_ends_as_one_that_was_not(tmp_path: Path) -> None:
    settings = FEW_STEPS.model_copy(update={"pose_from": 7})

    def killed(report: FitReport) -> None:
        if report.step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted_anew(settings, state_file=tmp_path / "fit.safetensors", report=killed)
    steps: list[int] = []
    again = fitted_anew(
        settings, state_file=tmp_path / "fit.safetensors", report=lambda report: steps.append(report.step)
    )
    whole = fitted(settings)
    assert steps[0] == 11
    assert weights_digest(again.network) == weights_digest(whole.network)
    assert torch.equal(again.photographed.hand_pose, whole.photographed.hand_pose)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"not a state"), lambda path: None])
def test_a_state_that_is_damaged_or_another_fits_is_not_gone_on_from(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    few = FEW_STEPS.model_copy(update={"steps": 3, "save_every": 1})
    state = tmp_path / "fit.safetensors"
    fitted_anew(few.model_copy(update={"seed": 7}), state_file=state)
    assert state.stat().st_size > 1000
    spoil(state)
    steps: list[int] = []
    fitted_anew(few, state_file=state, report=lambda report: steps.append(report.step))
    assert steps[0] == 1


def test_a_state_of_this_fit_with_one_other_bit_is_not_gone_on_from(tmp_path: Path) -> None:
    few = FEW_STEPS.model_copy(update={"steps": 3, "save_every": 1})
    state = tmp_path / "fit.safetensors"
    fitted_anew(few, state_file=state)
    content = bytearray(state.read_bytes())
    content[-1] ^= 1
    state.write_bytes(content)
    steps: list[int] = []
    fitted_anew(few, state_file=state, report=lambda report: steps.append(report.step))
    assert steps == [1, 2, 3]


def test_a_hand_that_was_fitted_a_little_off_is_moved_back() -> None:
    off = FIT.model_copy(update={"transl": tuple(np.add(FIT.transl, (0.004, 0.0, -0.003)).tolist())})
    photo = replace(photographed(), fit=off)
    settings = FEW_STEPS.model_copy(
        update={
            "steps": 60,
            "rays": 320,
            "outside_share": 0.4,
            "pose_from": 0,
            "place_rate": 3e-4,
            "pose_rate": 1e-6,
            "code_rate": 1e-6,
            "losses": ONLY_COLOUR,
        }
    )
    prior = small_prior()
    with torch.no_grad():  # the person is known, only the place is not
        prior.network.conditioning.book.shape[:] = 0.0  # type: ignore[union-attr]
        prior.network.conditioning.book.own_appearance[:] = 0.0  # type: ignore[union-attr]
    view = prior.view(photo.camera, posed(FIT), skinning(FIT.betas))
    known = replace(photo, rgb=np.rint(255 * view.rgb).astype(np.uint8), mask=view.opacity > 0.5)
    avatar = personalise(prior, [known], settings, prior_sha256=PRIOR_SHA256)
    before = np.linalg.norm(np.subtract(off.transl, FIT.transl))
    left = avatar.photographed.transl[0].numpy() - np.array(FIT.transl)
    after = np.linalg.norm(left[[0, 2]])  # across the view: one photograph hardly tells depth
    assert after < 0.5 * before


def test_several_photographs_share_codes_and_shape() -> None:
    other = FIT.model_copy(update={"hand_pose": tuple(np.linspace(0.3, -0.1, 45).tolist())})
    photos = [photographed(), photographed(fit=other)]
    avatar = personalise(small_prior(), photos, FEW_STEPS, prior_sha256=PRIOR_SHA256)
    assert len(avatar.photographed) == 2
    assert avatar.betas.shape == (1, 10)
    mean = personalise(small_prior(), photos, FEW_STEPS.model_copy(update={"steps": 0}), prior_sha256=PRIOR_SHA256)
    for row, photo in enumerate(photos):
        shown, unfitted = (
            psnr(one.view(photo.camera, one.posed(one.photographed.row(row))).rgb, photo) for one in (avatar, mean)
        )
        assert shown > unfitted + 1.0


def test_numbers_that_are_not_finite_teach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = AvatarFit._loss
    calls = iter(range(1000))

    def sometimes(self: AvatarFit, *given: object) -> object:
        loss, named = real(self, *given)  # type: ignore[arg-type]
        return (loss * float("nan") if next(calls) % 3 == 0 else loss), named

    monkeypatch.setattr(AvatarFit, "_loss", sometimes)
    avatar = fitted_anew()
    assert avatar.card.figures["steps_refused"] == 7
    assert all(bool(torch.isfinite(one).all()) for one in avatar.network.state_dict().values())
    monkeypatch.setattr(AvatarFit, "_loss", lambda *given: (real(*given)[0] * float("nan"), {}))
    monkeypatch.setattr(fit_module, "_MOST_REFUSED", 3)
    with pytest.raises(TrainingError, match="none in 3 steps in a row"):
        fitted_anew()


def test_a_hand_that_is_nowhere_near_the_mask_is_refused() -> None:
    photo: Photo = photographed()
    empty = np.zeros_like(photo.mask)
    empty[0, 0] = True
    far = replace(photo, mask=empty)
    with pytest.raises(BadInputError, match="photo 1: hand: expected a fitted hand that lies over the mask"):
        personalise(small_prior(), [far], FEW_STEPS, prior_sha256=PRIOR_SHA256)


def test_a_prior_of_one_person_or_with_one_code_serves_too() -> None:
    for prior in (small_prior(1), small_prior(separate_codes=False)):
        avatar = personalise(prior, [photographed()], FEW_STEPS, prior_sha256=PRIOR_SHA256)
        mean = personalise(
            prior, [photographed()], FEW_STEPS.model_copy(update={"steps": 0}), prior_sha256=PRIOR_SHA256
        )
        photo = photographed()
        shown, unfitted = (
            psnr(one.view(photo.camera, one.posed(one.photographed)).rgb, photo) for one in (avatar, mean)
        )
        assert shown > unfitted
