"""The presets: numbers that fit together."""

from typing import get_args

import pytest

from palm_model.prior.perceptual import MIN_SIDE_PX
from palm_model.prior.presets import preset
from palm_model.prior.progress import progress_at
from palm_model.prior.schedule import active, weight_at
from schemas.errors import SettingsError
from schemas.prior import Opening, PresetName, PriorSettings

NAMES = get_args(PresetName)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_survives_being_written_and_read(name: str) -> None:
    settings = preset(name)
    assert settings.preset == name
    assert PriorSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("name", NAMES)
def test_levels_open_on_the_way_and_every_step_has_a_loss(name: str) -> None:
    settings = preset(name)
    first, last = progress_at(settings, 0).levels, progress_at(settings, settings.training.steps).levels
    assert first is not None
    assert last is not None
    assert first < last
    if name in ("gpu", "paper"):
        assert last >= settings.radiance_encoding.levels
    assert all(active(settings.losses.schedules(), step) for step in (0, 5, settings.training.steps - 1))


@pytest.mark.parametrize("name", ["tiny", "cpu"])
def test_fewer_steps_open_the_same_levels_and_weigh_the_same_at_their_end(name: str) -> None:
    usual, few = preset(name), preset(name, steps=60)
    assert few.training.steps == 60
    last, sooner = (progress_at(one, one.training.steps).levels for one in (usual, few))
    assert last == pytest.approx(sooner, abs=0.1)
    ends = [weight_at(one.losses.schedules()["segmentation"], one.training.steps) for one in (usual, few)]
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_sees_hand_and_what_is_beside_it(name: str) -> None:
    training = preset(name).training
    assert 0 < training.bundle_rays_around < training.bundle_rays
    assert training.rays >= 512
    assert training.validate_every <= training.steps


@pytest.mark.parametrize("name", NAMES)
def test_patches_are_large_enough_for_the_network_that_compares_them(name: str) -> None:
    settings = preset(name)
    if settings.losses.perceptual is not None:
        assert settings.training.patches > 0
        least = MIN_SIDE_PX[settings.losses.perceptual_network]
        assert settings.training.patch_px * settings.losses.perceptual_scale >= least


def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="tiny, cpu, gpu, paper, found 'huge'"):
        preset("huge")


def test_parts_of_encodings_open_one_after_the_other() -> None:
    opening = Opening(first=4.0, after=10, every=5.0)
    assert [opening.at(step) for step in (0, 10, 15, 20)] == [4.0, 4.0, 5.0, 6.0]


def test_a_bundle_of_which_no_ray_meets_the_hand_is_refused() -> None:
    training = preset("tiny").training
    values = {**training.model_dump(), "bundle_rays_around": training.bundle_rays}
    with pytest.raises(ValueError, match="bundle_rays_around below bundle_rays 128, found 128"):
        type(training).model_validate(values)


def test_a_step_that_cannot_be_cut_into_its_parts_is_refused() -> None:
    values = preset("tiny").training.model_dump()
    with pytest.raises(ValueError, match="bundles to be a multiple of micro_batches 3"):
        type(preset("tiny").training).model_validate({**values, "micro_batches": 3})
    with pytest.raises(ValueError, match="bundles or patches above 0"):
        type(preset("tiny").training).model_validate({**values, "bundles": 0, "patches": 0})
