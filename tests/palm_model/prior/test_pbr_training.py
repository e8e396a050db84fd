"""The physically based branch trained with PalmNet on two people's posed hands."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from palm_model.prior.balanced_light import BalancedGaussians
from palm_model.prior.batches import Batch
from palm_model.prior.build import build_palm_net, build_pbr_branch
from palm_model.prior.colour import srgb
from palm_model.prior.directions import random_numbers
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.network import ALL_OPEN, PalmNet
from palm_model.prior.optimizer import make_optimizer
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.presets import preset, with_pbr
from palm_model.prior.prior import Prior
from palm_model.prior.terms import Step, Term, loss_terms
from schemas.camera import Camera
from schemas.errors import SettingsError
from schemas.prior import PriorSettings
from schemas.prior_card import PriorCard
from schemas.prior_skinning import FAST_SKINNING
from tests.palm_model.prior.hands import MODEL
from tests.palm_model.prior.sphere_grid import sphere, within_interval
from tests.palm_model.prior.test_light import coloured, seeded
from tests.palm_model.prior.test_network_hand import GUIDED, look, scene
from tests.palm_model.prior.test_network_hand import network as known_network

SETTINGS = with_pbr(preset("tiny"))


def batch(seed: int = 0) -> Batch:
    """Rays at two people's hands, and what a network of known colours sees along them."""
    _, _, rays = scene()
    with torch.no_grad():
        seen = look(known_network())
    uniform = random_numbers(len(rays), 8, seeded(seed)).flatten(1)
    colour, mask = srgb(0.7 * seen.colour), seen.opacity > 0.5
    return Batch(rays, colour, mask, torch.zeros_like(colour), (0, 1), 0, 0, uniform, 0)


def pbr_term(net: PalmNet, of: Batch, settings: PriorSettings = SETTINGS) -> Term:
    poses, skinning, _ = scene()
    uniform = of.uniform[:, : GUIDED.numbers]
    seen = net(of.rays, poses, skinning=skinning, sampler=GUIDED, uniform=uniform)
    step = Step(net, None, of, poses, skinning, seen, ALL_OPEN, settings.losses)
    return loss_terms(step, frozenset({"pbr_colour"}))["pbr_colour"]


@pytest.mark.parametrize("name", ["tiny", "cpu", "gpu", "paper"])
def test_presets_with_the_branch_are_settings_like_others(name: str) -> None:
    plain = preset(name)
    own = plain if plain.pbr is not None else with_pbr(plain, shared_environment=False)
    assert PriorSettings.model_validate(own.model_dump()) == own
    assert own.losses.pbr_colour is not None
    assert own.pbr is not None
    assert own.pbr.shared_environment == (name in {"gpu", "paper"})
    with pytest.raises(ValidationError, match="pbr"):
        PriorSettings.model_validate({**own.model_dump(), "pbr": None})


def test_the_light_is_kept_with_the_network_and_has_a_rate_of_its_own() -> None:
    net = build_palm_net(SETTINGS, MODEL, 2)
    own = branch_of(net)
    assert own is not None
    assert [name for name in net.state_dict() if name.startswith("light.")] == ["light.lights.0.lobes"]
    assert own.light_of(1).lobes.shape == (64, 7)
    groups = make_optimizer(net, SETTINGS.training).param_groups
    (rate,) = [group["full_rate"] for group in groups if any(one is own.light_of(0).lobes for one in group["params"])]
    assert SETTINGS.pbr is not None
    assert rate == SETTINGS.pbr.light_rate
    apart = with_pbr(preset("tiny"), shared_environment=False).pbr
    assert apart is not None
    assert len(build_pbr_branch(apart, MODEL, 2, seed=0).state_dict()) == 2


def test_shaded_colours_follow_from_the_batchs_own_numbers() -> None:
    net = build_palm_net(SETTINGS, MODEL, 2)
    with torch.no_grad():
        first, again = pbr_term(net, batch()), pbr_term(net, batch())
        other = pbr_term(net, batch(1))
    assert torch.equal(first.value, again.value)
    assert not torch.equal(first.value, other.value)
    assert first.of == 80
    few = SETTINGS.model_copy(update={"pbr": SETTINGS.pbr.model_copy(update={"max_hits": 10})})
    with torch.no_grad():
        assert 10 <= pbr_term(build_palm_net(few, MODEL, 2), batch(), few).of < 60


def test_a_few_steps_lower_the_loss_and_teach_light_and_skin() -> None:
    net = build_palm_net(SETTINGS, MODEL, 2)
    optimizer = make_optimizer(net, SETTINGS.training)
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"]
    before = {name: one.detach().clone() for name, one in net.named_parameters()}
    losses = []
    for step in range(8):
        optimizer.zero_grad()
        term = pbr_term(net, batch(step))
        term.value.backward()
        optimizer.step()
        losses.append(float(term.value.detach()))
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    for name in ("light.lights.0.lobes", "material.network.layers.0.linear.weight"):
        moved = [one for own, one in net.named_parameters() if own == name]
        assert moved, [own for own in before if own.startswith(("light", "material"))]
        assert not torch.equal(moved[0], before[name])


def test_without_a_light_the_term_says_so() -> None:
    with pytest.raises(SettingsError, match="light"):
        pbr_term(build_palm_net(preset("tiny"), MODEL, 2), batch())


def test_a_balanced_light_is_white_on_the_whole_and_still_a_light() -> None:
    plain = coloured(6, lobes=5)
    light = BalancedGaussians(plain.lobes)
    energy = light.energy()
    assert torch.allclose(energy, energy.mean().expand(3), rtol=1e-5)
    assert torch.allclose(energy.mean(), plain.energy().mean(), rtol=1e-5)
    grid = sphere(300, 300)
    found = (light.radiance(grid.directions.float()).double() * grid.solid[:, None]).sum(dim=0)
    assert torch.allclose(found, energy.double(), rtol=1e-2)
    with torch.no_grad():
        directions, pdf = light.sample(random_numbers(4000, 1, seeded())[:, 0])
        within_interval((light.radiance(directions) / pdf[:, None]).double(), energy.double().detach())
    (light.radiance(directions[:5]) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert light.lobes.grad is not None
    assert torch.isfinite(light.lobes.grad).all()


def test_a_view_shows_the_shaded_hand_in_the_learned_light_or_another() -> None:
    poses, skinning, _ = scene()
    row = torch.tensor([0])
    one, own = poses.select(row), InverseSkinning(skinning.grids.for_poses(row), FAST_SKINNING)
    card = PriorCard(
        name="test",
        code_version="1",
        settings=SETTINGS,
        release_version="0.1.0",
        merkle_root="0" * 64,
        data_digest="0" * 64,
        subjects=("0001", "0002"),
        hand_model=MODEL.sha256,
        views=1,
        figures={},
    )
    prior = Prior(build_palm_net(SETTINGS, MODEL, 2), card, MODEL)
    camera = facing(one.vertices[0].mean(dim=0))
    learned, again = prior.view(camera, one, own), prior.view(camera, one, own)
    other = prior.view(camera, one, own, light=coloured(3))
    assert learned.pbr_rgb is not None
    assert other.pbr_rgb is not None
    assert learned.pbr_rgb.shape == (24, 32, 3)
    assert (learned.pbr_rgb == again.pbr_rgb).all()
    there = learned.opacity > 0.5
    assert there.sum() > 5
    assert abs(learned.pbr_rgb[there] - other.pbr_rgb[there]).mean() > 0.02
    assert (learned.rgb == other.rgb).all()
    assert (learned.pbr_rgb[learned.opacity == 0] == 0).all()


def facing(centre: Tensor) -> Camera:
    """A small camera 0.4 m from a point, looking along +z."""
    x, y, z = (-centre).tolist()
    return Camera(
        camera_id="MCU_01",
        calibration_id="test",
        width=32,
        height=24,
        fx=40.0,
        fy=40.0,
        cx=16.0,
        cy=12.0,
        rotation=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        translation=(x, y, z + 0.4),
    )
