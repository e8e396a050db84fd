"""The terms of a step against the losses called by hand, and the parts of a batch against the whole."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from palm_data.loader.release import Release
from palm_model.prior import losses
from palm_model.prior.batches import Batch, Batches
from palm_model.prior.build import build_palm_net
from palm_model.prior.colour import srgb
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.network import ALL_OPEN, PalmNet
from palm_model.prior.perceptual import PerceptualNetwork
from palm_model.prior.sampling import sampler_for
from palm_model.prior.terms import EXTRA_NUMBERS, Step, loss_terms
from palm_model.prior.volume import Rays
from schemas.prior_losses import Constant
from tests.palm_model.prior.released import MODEL
from tests.palm_model.prior.settings import SMALL, small, with_losses

SETTINGS = with_losses(
    small(patch_px=6), perceptual=Constant(weight=0.1), perceptual_scale=4, material_smoothness=Constant(weight=0.1)
)
SAMPLER = sampler_for(SETTINGS.volume.sampling, MODEL.v_template, MODEL.faces)
EVERY = frozenset(SETTINGS.losses.schedules())
COMPARER = PerceptualNetwork("st-lpips-alex")


@pytest.fixture(scope="module")
def network() -> PalmNet:
    return build_palm_net(SETTINGS, MODEL, 3)


@pytest.fixture(scope="module")
def batches(release: Release, hands: ReleasedHands) -> Batches:
    return Batches(release, hands, SETTINGS, numbers=SAMPLER.numbers + EXTRA_NUMBERS)


def stepped(network: PalmNet, batch: Batch, hands: ReleasedHands) -> Step:
    poses, skinning = hands.select(batch.hands)
    seen = network(batch.rays, poses, skinning=skinning, sampler=SAMPLER, uniform=batch.uniform[:, : SAMPLER.numbers])
    return Step(network, COMPARER, batch, poses, skinning, seen, ALL_OPEN, SETTINGS.losses)


def test_every_term_is_the_loss_of_its_name(network: PalmNet, batches: Batches, hands: ReleasedHands) -> None:
    batch = batches.share(0, 0, 1)
    step = stepped(network, batch, hands)
    made, seen = loss_terms(step, EVERY), step.rendered
    assert set(made) == EVERY
    first = 4 * 16
    patches = [
        torch.stack([values[first + 36 * at : first + 36 * at + 36].view(6, 6, 3) for at in range(2)])
        for values in (srgb(seen.colour), batch.colour)
    ]
    codes = network.conditioning(step.poses)
    expected = {
        "colour": (srgb(seen.colour) - batch.colour).abs().mean(),
        "segmentation": functional.binary_cross_entropy(0.001 + 0.998 * seen.opacity, batch.mask.float()),
        "normal": losses.normal(seen.normal, batch.normal, batch.mask),
        "eikonal": (seen.sdf_gradient.norm(dim=-1) - 1).square().mean(),
        "perceptual": losses.perceptual(COMPARER, *patches, scale=4),
        "latent_shape": codes.shape.square().sum(-1).mean(),
        "latent_appearance": codes.appearance.square().sum(-1).mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(made[name].value, value, rtol=1e-5, atol=1e-6)
    counted = {name: made[name].of for name in ("colour", "segmentation", "perceptual", "latent_shape", "eikonal")}
    assert counted == {
        "colour": len(batch.rays), "segmentation": len(batch.rays), "perceptual": 2, "latent_shape": 6,
        "eikonal": len(seen.sdf),
    }  # fmt: skip


@torch.no_grad()
def test_smoothness_is_asked_at_each_rays_sample_nearest_to_the_surface(
    network: PalmNet, batches: Batches, hands: ReleasedHands
) -> None:
    step = stepped(network, batches.share(0, 0, 1), hands)
    seen, batch = step.rendered, step.batch
    rows = [int((seen.ray == ray).nonzero()[seen.sdf[seen.ray == ray].abs().argmin()]) for ray in seen.ray.unique()]
    points, ray = seen.canonical[rows], seen.ray[rows]
    pose = batch.rays.pose[ray]
    normal = functional.normalize(seen.sdf_gradient[rows], dim=-1)
    nearby = losses.tangent_neighbours(points, normal, batch.uniform[ray, -1], SETTINGS.losses.laplacian_step_m)
    there = network.signed_distance(nearby, pose, step.poses, gradient=True).gradient
    turned = torch.acos((normal * functional.normalize(there, dim=-1)).sum(-1).double().clamp(-1, 1)).mean() / torch.pi
    made = loss_terms(step, EVERY)
    assert made["laplacian"].of == made["material_smoothness"].of == len(rows)
    assert float(made["laplacian"].value) == pytest.approx(float(turned), rel=0.02)

    bent = dataclasses.replace(step, settings=SETTINGS.losses.model_copy(update={"laplacian_variant": "sdf_laplacian"}))
    other = loss_terms(bent, frozenset({"laplacian"}))["laplacian"].value
    centre = network.signed_distance(points, pose, step.poses).sdf.double()
    reach, total = 2e-3, 0.0
    for axis in torch.eye(3):
        for sign in (-1, 1):
            total = (
                total + network.signed_distance(points + sign * reach * axis, pose, step.poses).sdf.double() - centre
            )
    around = (total / reach**2).abs().mean() * SETTINGS.losses.laplacian_step_m / (2 * torch.pi)
    assert float(other) == pytest.approx(float(around), rel=0.3)  # a first sphere: 2/R but for its facets

    off = points + 0.002 * (2 * batch.uniform[ray, -3:] - 1)
    here, away = (network.materials(at, pose, step.poses) for at in (points, off))
    apart = [
        (one - two).abs() / torch.maximum(one, two)
        for one, two in ((here.albedo, away.albedo), (here.alpha[:, None], away.alpha[:, None]))
    ]
    torch.testing.assert_close(made["material_smoothness"].value, torch.cat(apart, dim=-1).mean())


@torch.no_grad()
def test_parts_joined_by_their_counts_are_the_whole(network: PalmNet, batches: Batches, hands: ReleasedHands) -> None:
    whole = loss_terms(stepped(network, batches.share(1, 0, 1), hands), EVERY)
    parts = [loss_terms(stepped(network, batches.share(1, part, 3), hands), EVERY) for part in range(3)]
    for name in EVERY:
        counts = [part[name].of for part in parts]
        assert sum(counts) == whole[name].of, name
        joined = sum(float(part[name].value) * part[name].of for part in parts) / sum(counts)
        assert joined == pytest.approx(float(whole[name].value), rel=1e-4, abs=1e-7), name


def test_only_terms_that_are_asked_for_are_made(network: PalmNet, batches: Batches, hands: ReleasedHands) -> None:
    step = stepped(network, batches.share(0, 0, 1), hands)
    assert set(loss_terms(step, frozenset({"colour", "eikonal"}))) == {"colour", "eikonal"}


def test_rays_that_all_miss_give_no_nan(network: PalmNet, batches: Batches, hands: ReleasedHands) -> None:
    batch = batches.share(0, 0, 1)
    away = Rays(batch.rays.origins, -batch.rays.directions, batch.rays.pose)
    step = stepped(network, dataclasses.replace(batch, rays=away), hands)
    made = loss_terms(step, EVERY)
    assert len(step.rendered.sdf) == 0
    assert {name for name, term in made.items() if term.of == 0} == {
        "normal", "eikonal", "laplacian", "material_smoothness",
    }  # fmt: skip
    loss = torch.stack([term.value for term in made.values()]).sum()
    assert torch.isfinite(loss)
    loss.backward()
    assert all(one.grad is None or bool(one.grad.isfinite().all()) for one in network.parameters())
    network.zero_grad()


def test_the_perceptual_network_in_halves_has_finite_gradients_near_those_of_singles(
    batches: Batches, hands: ReleasedHands
) -> None:
    gradients, values = [], []
    for mixed in (False, True):
        settings = SETTINGS.model_copy(
            update={"training": SETTINGS.training.model_copy(update={"mixed_precision": mixed})}
        )
        network = build_palm_net(settings, MODEL, 3).train()
        term = loss_terms(stepped(network, batches.share(0, 0, 1), hands), frozenset({"perceptual"}))["perceptual"]
        term.value.backward()
        gradients.append(torch.cat([one.grad.flatten() for one in network.radiance.network.parameters()]))
        values.append(float(term.value.detach()))
    assert values[0] != values[1]
    assert values[1] == pytest.approx(values[0], rel=0.02)
    assert bool(gradients[1].isfinite().all())
    assert float(functional.cosine_similarity(*gradients, dim=0)) > 0.98
    assert SMALL.training.mixed_precision is False
