"""The code of `make prior-bench` on next to nothing, not timed."""

import functools
from pathlib import Path

import pytest
import torch
from torch import Tensor

import palm_data
from palm_data.testing.tiny import Tiny
from palm_model.prior.build import build_palm_net
from palm_model.prior.checkpoint import write_checkpoint
from palm_model.prior.hands import released_hands
from palm_model.prior.train import Report
from schemas.errors import StoreError
from schemas.prior import PriorSettings
from schemas.prior_card import PriorCard
from schemas.prior_skinning import SkinningSettings
from tests.benchmarks import prior_session
from tests.benchmarks.prior_duel import check_alike, step_duel
from tests.benchmarks.prior_peer import PlainGeometry, PlainRadiance, PlainSkinning, plain_settings
from tests.benchmarks.prior_session import HELD_OUT, PriorBench, _Clock
from tests.palm_model.prior import released
from tests.palm_model.prior.conftest import coloured
from tests.palm_model.prior.hands import coarse_grids, hands, shapes, shells
from tests.palm_model.prior.settings import SMALL
from tests.palm_model.prior.test_fields import codes, geometry, points, shading

__all__ = ["coloured"]


def test_the_peer_has_the_published_search_and_normals_by_autograd_and_our_sizes(tmp_path: Path) -> None:
    ours = PriorBench(tmp_path).radiance_settings
    plain = plain_settings(ours)
    assert plain.skinning == SkinningSettings()
    assert plain.volume.normals == "autograd"
    back = {"skinning": ours.skinning, "volume": ours.volume}
    assert plain.model_copy(update=back) == ours
    sampling, training = ours.volume.sampling, ours.training
    assert training.bundles * training.bundle_rays + training.patches * training.patch_px**2 == 512
    assert sampling.kind == "guided"
    assert sampling.samples == 16
    assert ours.geometry_encoding.levels >= 12
    assert ours.fields.width == 64
    assert ours.losses.pbr_colour is None
    assert ours.held_out == HELD_OUT
    assert len(HELD_OUT.gestures) == 2


def test_the_peers_fields_say_what_ours_say() -> None:
    field, (radiance, _), unit = geometry(), shading(), points(20)
    pose, shape, betas = codes(3)
    row = torch.arange(20) % 3
    others = [torch.randn(20, width, generator=torch.Generator().manual_seed(8)) for width in (13, 3, 3)]
    told: tuple[Tensor | None, ...] = (pose, shape, betas, None, row)
    torch.testing.assert_close(PlainGeometry(field)(unit, *told), field(unit, *told))
    plain = PlainRadiance(radiance)
    shown = plain(plain.grid(unit, None), *others, pose, shape, None, row)
    torch.testing.assert_close(shown, radiance(radiance.grid(unit), *others, pose, shape, None, row))


def test_the_peers_skinning_turns_points_back() -> None:
    poses = hands("pinch", betas=shapes(1))
    world, pose = shells(poses, 30)
    skinning = PlainSkinning(coarse_grids(1), SkinningSettings())
    roots = skinning.find(world, pose, poses)
    assert roots.valid[:, 0].float().mean() > 0.95
    there = roots.valid[:, 0]
    back = skinning.skinned(roots.points[there, 0], pose[there], poses).points
    torch.testing.assert_close(back, world[there], rtol=0, atol=2e-5)


def test_both_sides_take_steps_and_lose_alike(coloured: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = palm_data.open_release(coloured.settings.releases, "0.2.0")
    monkeypatch.setattr(prior_session, "step_duel", functools.partial(step_duel, repeats=1))
    monkeypatch.setattr(PriorBench, "radiance_settings", SMALL)
    monkeypatch.setattr(PriorBench, "start", lambda self, hands, settings: build_palm_net(settings, released.MODEL, 3))
    told = PriorBench(tmp_path).step(release, released_hands(release, released.MODEL, SMALL.skinning))
    assert (told.name, told.bar) == ("prior_step_cpu", 8.0)
    assert min(told.ours, told.peer) > 0.0
    assert "96 rays × 6 samples, 4 levels, width 16, 2 patch of 4²" in told.sample


def test_sides_that_lose_differently_are_not_compared() -> None:
    ours = {"colour": 0.2, "eikonal": 0.1}
    check_alike(ours, {"colour": 0.205, "eikonal": 0.2})
    with pytest.raises(AssertionError, match="colour"):
        check_alike(ours, {"colour": 0.3, "eikonal": 0.1})
    with pytest.raises(AssertionError):
        check_alike(ours, {"colour": 0.2})


def test_steps_a_minute_leave_out_the_looks_at_views_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 0.25, 0.5, 10.5, 10.75, 11.25, 12.0])
    monkeypatch.setattr(prior_session.time, "perf_counter", lambda: next(now))
    clock = _Clock(3, shaded_from=4)
    for step in (1, 2, 3, 4, 5):
        clock.told(Report(step, 5, {}, 20.0 if step == 3 else None))
    assert clock.figures() == {
        "steps_timed": 3,
        "steps_per_minute": 240.0,
        "steps_per_minute_median": 240.0,
        "steps_with_pbr_timed": 1,
        "steps_with_pbr_per_minute": 120.0,
        "steps_with_pbr_per_minute_median": 120.0,
        "minutes": 0.2,
    }


def test_what_is_made_is_found_again_and_its_command_kept(tmp_path: Path) -> None:
    bench, made = PriorBench(tmp_path), tmp_path / "made"
    made.write_text("{}")
    for _ in range(2):
        assert bench._palm(["no-such-command"], made=made) is None
    assert bench.commands[1:] == ["palm no-such-command"]


def test_a_prior_of_other_settings_or_data_is_not_this_benchs(coloured: Tiny, tmp_path: Path) -> None:
    release = palm_data.open_release(coloured.settings.releases, "0.2.0")
    bench, hands_of = PriorBench(tmp_path), released_hands(release, released.MODEL, SMALL.skinning)

    def left(settings: PriorSettings, merkle_root: str) -> None:
        card = PriorCard(
            name="prior", code_version="1", settings=settings, release_version="0.2.0", views=6, merkle_root=merkle_root,
            data_digest="0" * 64, subjects=released.PEOPLE, hand_model=released.MODEL.sha256, figures={},
        )  # fmt: skip
        write_checkpoint(bench.prior, build_palm_net(SMALL, released.MODEL, 3), card)

    left(bench.settings, release.manifest.merkle_root)
    bench.train(release, hands_of)
    assert not (bench.prior / "speed.json").exists()
    for settings, root in ((bench.radiance_settings, release.manifest.merkle_root), (bench.settings, "f" * 64)):
        left(settings, root)
        with pytest.raises(StoreError, match="other settings or data"):
            bench.train(release, hands_of)
