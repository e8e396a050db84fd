from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from palm_model.prior.losses import total
from palm_model.prior.schedule import Constant, FromStep, Linear, active, weight_at
from schemas.errors import SettingsError
from schemas.prior_losses import LOSS_NAMES, LossSettings


def test_a_constant_is_constant() -> None:
    assert weight_at(Constant(weight=0.3), 0) == weight_at(Constant(weight=0.3), 10**9) == 0.3


def test_a_line_goes_from_one_value_to_the_other_and_stays() -> None:
    line = Linear(start=0.5, end=0.1, first_step=100, last_step=200)
    assert [weight_at(line, step) for step in (0, 100, 125, 150, 200, 900)] == pytest.approx(
        [0.5, 0.5, 0.4, 0.3, 0.1, 0.1]
    )


@given(st.floats(0, 10), st.floats(0, 10), st.integers(0, 100), st.integers(1, 100), st.integers(0, 300))
def test_a_line_stays_between_its_ends(start: float, end: float, first: int, length: int, step: int) -> None:
    line = Linear(start=start, end=end, first_step=first, last_step=first + length)
    assert min(start, end) - 1e-9 <= weight_at(line, step) <= max(start, end) + 1e-9


def test_nothing_counts_before_its_step_and_the_schedule_within_knows_the_whole_training() -> None:
    late = FromStep(step=50, then=Linear(start=1.0, end=0.0, last_step=100))
    assert weight_at(late, 49) == 0.0
    assert weight_at(late, 50) == 0.5


def test_a_line_that_goes_back_in_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected last_step after first_step 5"):
        Linear(start=1.0, end=0.0, first_step=5, last_step=5)


def test_the_weight_of_the_mask_decays_by_default() -> None:
    """The authors' code kept it constant; their paper says that it decreases."""
    schedule = LossSettings().schedules()["segmentation"]
    weights = [weight_at(schedule, step) for step in range(0, 24001, 1000)]
    assert weights[0] == 0.1
    assert all(later < sooner for sooner, later in pairwise(weights))
    ones = {"segmentation": torch.tensor(1.0)}
    early, late = (total(ones, {"segmentation": schedule}, step)[0] for step in (0, 24000))
    assert early.item() == pytest.approx(10 * late.item())


def test_the_defaults_start_their_terms_when_the_published_training_did() -> None:
    schedules = LossSettings().schedules()
    assert active(schedules, 0) == {"colour", "segmentation", "eikonal", "latent_appearance"}
    assert "perceptual" not in active(schedules, 5)
    assert "perceptual" in active(schedules, 6)
    assert active(schedules, 6001).isdisjoint({"normal", "laplacian", "latent_shape"})
    assert active(schedules, 6002) >= {"normal", "laplacian", "latent_shape"}
    assert weight_at(schedules["normal"], 12000) == pytest.approx(0.3)
    assert active(schedules, 12001) == set(LOSS_NAMES) - {"material_smoothness"}


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_each_term_is_switched_by_its_name(name: str) -> None:
    on = LossSettings.model_validate({name: {"kind": "constant", "weight": 2.0}})
    assert weight_at(on.schedules()[name], 0) == 2.0
    off = on.without(name)
    assert set(on.schedules()) - set(off.schedules()) == {name}
    assert LossSettings.model_validate({name: None}).schedules() == LossSettings().without(name).schedules()


def test_switching_off_what_there_is_not_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"expected one of colour, .* found color"):
        LossSettings().without("color")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="color"):
        LossSettings.model_validate({"color": None})


def test_settings_survive_their_file() -> None:
    changed = LossSettings(segmentation=FromStep(step=3, then=Linear(start=1.0, end=0.5, last_step=9)), normal=None)
    assert LossSettings.model_validate_json(changed.model_dump_json()) == changed


def test_the_total_is_the_weighted_sum_and_its_gradient_is_the_weights() -> None:
    terms = {"colour": torch.tensor(2.0, requires_grad=True), "eikonal": torch.tensor(3.0, requires_grad=True)}
    schedules = {"eikonal": Constant(weight=0.5), "colour": Linear(start=0.0, end=1.0, last_step=4)}
    loss, report = total(terms, schedules, 1)
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * 2.0 + 0.5 * 3.0)
    assert report == {"total": pytest.approx(2.0), "colour": 2.0, "eikonal": 3.0}
    assert all(type(value) is float for value in report.values())
    assert [term.grad.item() for term in terms.values()] == [0.25, 0.5]


def test_a_term_without_weight_cannot_spoil_the_loss_even_if_it_is_not_a_number() -> None:
    """Zero times NaN is NaN: the authors' code spoiled its loss when no image of a batch had normals."""
    broken = torch.tensor(0.0, requires_grad=True)
    terms = {"colour": torch.tensor(1.0, requires_grad=True), "normal": broken / 0.0}
    schedules = {"colour": Constant(weight=1.0), "normal": FromStep(step=10, then=Constant(weight=1.0))}
    loss, report = total(terms, schedules, 9)
    loss.backward()
    assert loss.item() == 1.0
    assert broken.grad is None
    assert report["normal"] != report["normal"]


def test_a_missing_term_an_unknown_one_and_an_empty_sum_are_errors() -> None:
    one = torch.tensor(1.0)
    with pytest.raises(SettingsError, match=r"step 7: expected colour, found only eikonal"):
        total({"eikonal": one}, {"colour": Constant(weight=1.0), "eikonal": Constant(weight=1.0)}, 7)
    with pytest.raises(SettingsError, match="found color"):
        total({"color": one}, {"colour": Constant(weight=1.0)}, 0)  # type: ignore[dict-item]
    with pytest.raises(SettingsError, match="found none"):
        total({"colour": one}, {}, 0)


def test_terms_in_half_precision_are_summed_in_single() -> None:
    loss, report = total(
        {"colour": torch.tensor(1.0, dtype=torch.float16), "eikonal": torch.tensor(1.0)},
        {"colour": Constant(weight=1.0), "eikonal": Constant(weight=1e-5)},
        0,
    )
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1.00001, abs=1e-7)
    assert report["eikonal"] == 1.0
