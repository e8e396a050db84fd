"""The prior as an asset: it learns from a released version, once, as its page is told, and its check says what went wrong."""

from pathlib import Path

import dagster as dg
import pytest
import torch

from palm_data.testing.tiny import Tiny
from palm_model.prior import presets
from palm_model.prior.checkpoint import CARD_FILE, CHECKPOINT_FILE
from pipelines.assets.prior import prior
from pipelines.batch import BatchRequest, _selected
from pipelines.checks import every_step_taken
from pipelines.definitions import build_definitions
from pipelines.resources import Places
from schemas.errors import SettingsError
from schemas.prior import HeldOut
from schemas.prior_card import PriorCard
from tests.palm_model.prior.conftest import coloured
from tests.palm_model.prior.settings import with_training
from tests.palm_model.prior.test_stage import SETTINGS

__all__ = ["coloured"]


@pytest.fixture
def places(coloured: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Where preset tiny is what a test can wait for."""
    torch.set_num_threads(1)
    plain = SETTINGS.model_copy(update={"held_out": HeldOut()})
    monkeypatch.setitem(presets._PRESETS, "tiny", (4, lambda steps: with_training(plain, steps=steps)))
    return Places(
        raw=str(coloured.settings.raw), workspace_root=str(tmp_path / "w"), releases=str(coloured.settings.releases)
    )


def materialized(places: Places, **config: object) -> dg.ExecuteInProcessResult:
    told = {"preset": "tiny", "device": "cpu", "version": "0.2.0", **config}
    return dg.materialize(
        [prior, every_step_taken],
        resources={"places": places},
        run_config={"ops": {"prior": {"config": told}}},
        selection=["prior"],
        raise_on_error=False,
    )


def test_the_asset_trains_a_prior_of_a_release_once_and_as_it_is_told(places: Places) -> None:
    config = {"steps": 2, "seed": 3, "held_out_subjects": ["0003"], "held_out_cameras": ["MCU_03"]}
    done = materialized(places, **config)
    assert done.success
    (first,) = done.asset_materializations_for_node("prior")
    weights = places.workspace().output("prior", "0.2.0") / CHECKPOINT_FILE
    written = weights.stat().st_mtime_ns
    (again,) = materialized(places, **config).asset_materializations_for_node("prior")
    assert again.tags == first.tags
    assert weights.stat().st_mtime_ns == written
    assert {"picture", "path", "pretraining_surface_mm_mean"} <= set(first.metadata)
    assert first.metadata["steps"].value == 2
    assert [one.passed for one in done.get_asset_check_evaluations()] == [True]
    card = PriorCard.model_validate_json((weights.parent / CARD_FILE).read_bytes())
    assert card.subjects == ("0001", "0002")
    assert card.settings.seed == 3
    assert card.settings.held_out == HeldOut(cameras=("MCU_03",), subjects=("0003",))
    assert card.settings.training.steps == 2


@pytest.mark.parametrize(
    ("config", "said"), [({"preset": "huge"}, "huge"), ({"held_out_cameras": ["MCU_99"]}, "MCU_99")]
)
def test_what_cannot_be_learned_is_said_once_and_not_tried_again(
    places: Places, config: dict[str, object], said: str
) -> None:
    done = materialized(places, **config)
    assert not done.success
    (failed,) = (event for event in done.all_node_events if event.is_step_failure)
    assert said in str(failed.event_specific_data.error_display_string)
    assert not done.retry_attempts_for_node("prior")
    assert not places.workspace().keys("prior")


def test_a_batch_trains_no_prior_and_says_what_does() -> None:
    assert prior.key not in _selected(build_definitions(), BatchRequest(select="*"))
    with pytest.raises(SettingsError, match="palm train prior"):
        _selected(build_definitions(), BatchRequest(select="prior"))
