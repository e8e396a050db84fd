"""Training: the same result whatever happens on the way, and a network that has learned something."""

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, distributed

from palm_data.loader.release import Release
from palm_data.testing.tiny import Tiny
from palm_model.prior import terms, train
from palm_model.prior.build import build_palm_net
from palm_model.prior.colour import srgb
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.network import PalmNet
from palm_model.prior.progress import progress_at
from palm_model.prior.train import Report, TrainedPrior
from schemas.errors import SettingsError, TrainingError
from schemas.prior import Opening, PriorSettings
from schemas.prior_losses import Constant, FromStep
from tests.palm_model.prior.conftest import Trained
from tests.palm_model.prior.released import MODEL, VIEWS
from tests.palm_model.prior.settings import SMALL, small, with_losses, with_training
from tests.palm_model.prior.training_process import join, training

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[3]


class StoppedError(Exception):
    """Somebody pressed a key."""


def run(
    release: Release, hands: ReleasedHands, settings: PriorSettings, folder: Path
) -> tuple[TrainedPrior, list[Report]]:
    told: list[Report] = []
    return training(release, hands, settings, folder / "state.safetensors").run(told.append), told


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_gives_the_same_weights_and_another_others(
    whole: Trained, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    again, told = run(release, hands, SMALL, tmp_path)
    assert same(again.network.state_dict(), whole.weights)
    assert [one.losses for one in told] == [one.losses for one in whole.told]
    assert again.card == whole.prior.card
    other, _ = run(release, hands, SMALL.model_copy(update={"seed": 1}), tmp_path / "other")
    assert not same(other.network.state_dict(), whole.weights)


def test_a_training_stopped_on_the_way_ends_as_if_it_had_not_been(
    whole: Trained, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    def stop(told: Report) -> None:
        if told.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        training(release, hands, SMALL, tmp_path / "state.safetensors").run(stop)
    done, told = run(release, hands, SMALL, tmp_path)
    assert [one.step for one in told] == [5, 6]
    assert same(done.network.state_dict(), whole.weights)
    assert done.card == whole.prior.card
    finished, none = run(release, hands, SMALL, tmp_path)
    assert none == []
    assert same(finished.network.state_dict(), whole.weights)


def test_a_killed_process_does_not_make_the_training_start_again(
    whole: Trained, coloured: Tiny, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    assert _process(coloured, tmp_path, 0, 1, 5).wait() == -9
    done, told = run(release, hands, SMALL, tmp_path)
    assert [one.step for one in told] == [5, 6]
    assert same(done.network.state_dict(), whole.weights)


def test_two_processes_take_the_same_steps_as_one(
    whole: Trained, coloured: Tiny, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    other = _process(coloured, tmp_path, 1, 2, 0)
    join(tmp_path, 0, 2)
    try:
        done, told = run(release, hands, SMALL, tmp_path)
    finally:
        distributed.destroy_process_group()
    assert other.wait() == 0
    weights = done.network.state_dict()
    assert same(weights, load_file(tmp_path / "weights_1.safetensors"))
    for one, alone in zip(told, whole.told, strict=True):
        assert one.losses == pytest.approx(alone.losses, rel=2e-3, abs=1e-5), one.step
    # Sums in another order: where a gradient is rounding alone, Adam's step is of full size all the same (0.008 in one
    # entry of a table), but there are few such weights.
    assert _apart(weights, whole.weights) < 5e-4


def test_a_step_shared_by_processes_in_parts_is_the_same_batch(release: Release, hands: ReleasedHands) -> None:
    batches = training(release, hands, small(micro_batches=2), Path("none")).batches
    alone = [batches.share(3, part, 2) for part in range(2)]
    for part in range(2):
        both = [batches.share(3, part + 2 * rank, 4) for rank in range(2)]
        rays = [torch.cat([one.rays.directions, one.uniform], dim=-1) for one in (*both, alone[part])]
        assert _rows(torch.cat(rays[:2])) == _rows(rays[2])


def test_parts_of_a_step_give_the_mean_of_their_losses(
    whole: Trained, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    _, told = run(release, hands, small(micro_batches=2, steps=1), tmp_path)
    first, one_part = told[0].losses, whole.told[0].losses
    for name in ("colour", "segmentation", "latent_shape", "latent_appearance"):  # means over rays: exactly the same
        assert first[name] == pytest.approx(one_part[name], rel=1e-5), name
    assert first["total"] == pytest.approx(one_part["total"], rel=0.1)
    only = with_losses(small(micro_batches=2, steps=2), normal=None, eikonal=None, laplacian=None)
    in_parts, _ = run(release, hands, only, tmp_path / "parts")
    at_once, _ = run(release, hands, with_training(only, micro_batches=1), tmp_path / "once")
    assert _apart(in_parts.network.state_dict(), at_once.network.state_dict()) < 1e-4


def test_it_learns_and_keeps_the_weights_that_were_best(release: Release, hands: ReleasedHands, tmp_path: Path) -> None:
    settings = small(steps=36, validate_every=4, warm_up=8, save_every=100)
    run_of = training(release, hands, settings, tmp_path / "state")
    told: list[Report] = []
    done = run_of.run(told.append)
    seen = [one.validation_psnr for one in told if one.validation_psnr is not None]
    assert len(seen) == 9
    assert max(seen) > seen[0] + 1.0
    early, late = (sum(one.losses["total"] for one in part) / 6 for part in (told[:6], told[-6:]))
    assert late < 0.8 * early
    assert done.card.figures["validation_psnr"] == pytest.approx(max(seen), abs=1e-4)
    assert done.card.step == 4 * (seen.index(max(seen)) + 1)
    assert _psnr(done.network, run_of) == pytest.approx(max(seen), abs=1e-4)


def test_weights_from_before_all_terms_count_are_not_kept_longer_however_good(
    release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    late = FromStep(step=2, then=Constant(weight=0.05))
    settings = with_losses(small(steps=6, validate_every=2), laplacian=late)
    run_of = training(release, hands, settings, tmp_path / "state")
    kept: list[int] = []

    def flatter(told: Report) -> None:
        if told.validation_psnr is not None:
            kept.append(run_of.state.best_step)
            run_of.state.best_psnr = 1000.0  # what comes later is never better

    done = run_of.run(flatter)
    assert kept == [2, 4, 4]
    assert done.card.step == 4


def test_best_weights_are_shown_with_what_was_open_then(
    release: Release, hands: ReleasedHands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(
        steps=4,
        validate_every=2,
        levels=Opening(first=1.0, after=0, every=2.0),
        bands=Opening(first=0.0, after=2, every=1.0),
    )
    run_of = training(release, hands, settings, tmp_path / "state")
    validate, values = run_of._validate, iter((30.0, 20.0))

    def first_is_best() -> float | None:
        found = next(values)
        run_of.state.best_psnr = 25.0 if found < 25.0 else -float("inf")
        return validate() if found > 25.0 else found

    monkeypatch.setattr(run_of, "_validate", first_is_best)
    done = run_of.run()
    assert done.card.step == 2
    assert done.network.open == progress_at(settings, 2) == (2.0, 0.0, None)


def test_a_step_that_is_not_a_number_is_refused_and_counted(
    release: Release, hands: ReleasedHands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_of = training(release, hands, small(steps=3), tmp_path / "state")
    spoilt = iter((False, True, False))
    run_of.network.density.above_least.register_hook(lambda grad: grad * torch.nan if next(spoilt) else grad)
    before: list[dict[str, Tensor]] = [run_of.network.state_dict()]

    def keep(_: Report) -> None:
        before.append({name: value.clone() for name, value in run_of.network.state_dict().items()})

    with caplog.at_level(logging.WARNING):
        done = run_of.run(keep)
    assert same(before[1], before[2])
    assert not same(before[2], before[3])
    assert done.card.figures["steps_refused"] == 1
    assert all(value.isfinite().all() for value in done.network.state_dict().values())
    assert "step 1: not taken" in caplog.text


def test_a_training_that_only_gives_nan_ends_with_the_weights_it_had(
    release: Release, hands: ReleasedHands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = terms.losses.colour
    monkeypatch.setattr(terms.losses, "colour", lambda *args: colour(*args) * torch.nan)
    monkeypatch.setattr(train, "_MOST_REFUSED", 4)
    run_of = training(release, hands, small(steps=30), tmp_path / "state")
    start = {name: value.clone() for name, value in run_of.network.state_dict().items()}
    with pytest.raises(TrainingError, match=r"step 3: expected finite gradients, found none in 4 steps"):
        run_of.run()
    assert same(run_of.network.state_dict(), start)


def test_twenty_refusals_in_a_row_are_too_many() -> None:
    assert train._MOST_REFUSED == 20


@pytest.mark.parametrize(
    "changed",
    [
        {"laplacian_variant": "sdf_laplacian"},
        {"material_smoothness": Constant(weight=0.1)},
        {"laplacian": None, "normal": None},
    ],
)
def test_terms_are_trained_with_by_name(
    changed: dict[str, object], release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    settings = with_losses(small(steps=1), **changed)
    done, told = run(release, hands, settings, tmp_path)
    assert set(told[0].losses) == {"total", *settings.losses.schedules()}
    assert all(torch.isfinite(torch.tensor(value)) for value in told[0].losses.values())
    assert done.card.figures["steps_refused"] == 0


def test_mixed_precision_is_near_single_and_leaves_geometry_alone(
    whole: Trained, release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    run_of = training(release, hands, small(mixed_precision=True, steps=3), tmp_path / "state")
    types: dict[str, set[torch.dtype]] = {}
    for name, part in run_of.network.named_modules():
        if isinstance(part, torch.nn.Linear) and not name.startswith("material"):
            part.register_forward_hook(lambda *at, name=name: types.setdefault(name, set()).add(at[2].dtype))
    told: list[Report] = []
    done = run_of.run(told.append)
    radiance = {kind for name, kinds in types.items() if name.startswith("radiance") for kind in kinds}
    others = {kind for name, kinds in types.items() if not name.startswith("radiance") for kind in kinds}
    assert radiance == {torch.bfloat16, torch.float32}  # the latter in the look at the views set aside
    assert others == {torch.float32}
    assert told[0].losses["segmentation"] == whole.told[0].losses["segmentation"]
    assert told[0].losses["colour"] == pytest.approx(whole.told[0].losses["colour"], rel=0.01)
    assert told[0].losses["colour"] != whole.told[0].losses["colour"]
    assert done.card.figures["steps_refused"] == 0
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in done.network.state_dict().values())


def test_geometry_is_as_it_was_until_it_is_its_turn(release: Release, hands: ReleasedHands, tmp_path: Path) -> None:
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.1 - 0.05
    pose = torch.arange(50) % 5

    def sdf(network: PalmNet) -> Tensor:
        with torch.no_grad():
            return network.signed_distance(points, pose, hands.poses).sdf

    start = build_palm_net(SMALL, MODEL, 3)
    with torch.no_grad():
        # A pre-trained geometry heeds what it is told; a first sphere does not.
        start.geometry.network[0].parametrizations.weight.original1.normal_(
            0, 0.1, generator=torch.Generator().manual_seed(1)
        )
    weights = {name: value.clone() for name, value in start.state_dict().items()}
    for steps, moved in ((2, False), (3, True)):
        settings = small(steps=steps, geometry_from=2, validation_views=0)
        run_of = training(release, hands, settings, tmp_path / str(steps))
        run_of.network.load_state_dict(weights)
        before = sdf(run_of.network)
        after = sdf(run_of.run().network)
        assert torch.equal(before, after) is not moved


def test_more_processes_and_parts_than_bundles_are_refused(
    release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    settings = SMALL.model_copy(
        update={"training": SMALL.training.model_copy(update={"micro_batches": 8})}  # as its own check would not let it
    )
    with pytest.raises(SettingsError, match=r"at most 6 processes × micro_batches.*found 1 × 8"):
        training(release, hands, settings, tmp_path / "state")


def test_without_views_set_aside_the_last_weights_are_kept(
    release: Release, hands: ReleasedHands, tmp_path: Path
) -> None:
    done, told = run(release, hands, small(validation_views=0, steps=2), tmp_path)
    assert [one.validation_psnr for one in told] == [None, None]
    assert done.card.step == 2
    assert "validation_psnr" not in done.card.figures
    assert done.card.views == VIEWS


def _psnr(network: PalmNet, run_of: train.PriorTraining) -> float:
    """As `_validate` should have it, of the network as it is handed out."""
    (batch,) = run_of.batches.validation_batches(512)
    poses, skinning = run_of.batches.hands.select(batch.hands)
    seen = network.render(batch.rays, poses, skinning=skinning, sampler=run_of.sampler)
    return float(-10 * torch.log10((srgb(seen.colour) - batch.colour).square().mean()))


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Root of the mean squared difference of all weights."""
    flat = [torch.cat([weights[name].flatten() for name in sorted(weights)]) for weights in (one, other)]
    return float((flat[0] - flat[1]).square().mean().sqrt())


def _rows(table: Tensor) -> list[list[float]]:
    return sorted(table.tolist())


def _process(coloured: Tiny, folder: Path, rank: int, count: int, killed_after: int) -> subprocess.Popen[bytes]:
    arguments = [str(coloured.settings.releases), str(folder), str(rank), str(count), str(killed_after)]
    return subprocess.Popen([sys.executable, "-m", "tests.palm_model.prior.training_process", *arguments], cwd=ROOT)
