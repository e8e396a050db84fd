import dataclasses

import pytest
import torch
from torch import Tensor

from palm_model.prior import losses
from palm_model.prior.brdf import brdf_times_cosine
from palm_model.prior.colour import srgb
from palm_model.prior.irradiance import irradiance
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import PbrBranch, PbrShaded
from palm_model.prior.poses import Poses
from palm_model.prior.rendered import Rendered
from palm_model.prior.sampling import GuidedSampler
from palm_model.prior.shadow_mesh import ShadowMesh
from palm_model.prior.volume import Rays
from schemas.errors import SettingsError
from schemas.prior_pbr import BrdfSettings, ShadingSettings
from schemas.prior_volume import GuidedSampling
from tests.palm_model.prior.hands import MODEL
from tests.palm_model.prior.pbr_scenes import (
    SKIN,
    UNIFORM,
    PlainMaterial,
    ball_net,
    branch,
    lit_by,
    seeded,
    surface_rays,
    surface_seen,
)
from tests.palm_model.prior.small_fields import RigidSkinning
from tests.palm_model.prior.sphere_grid import Surface, hemisphere, random_directions, within_interval
from tests.palm_model.prior.surfaces import rays_at, standing
from tests.palm_model.prior.test_light import coloured
from tests.palm_model.prior.test_network import RADIUS, SPHERE
from tests.palm_model.prior.test_network_fields import palm_net
from tests.palm_model.prior.test_network_hand import look, scene

SKINNING = RigidSkinning()
GUIDED = GuidedSampler(*SPHERE, GuidedSampling())
MANY = ShadingSettings(strategy="mis", rows=8, columns=16)


def balls(people: int = 1) -> Poses:
    return standing(torch.from_numpy(SPHERE[0]).expand(people, -1, -1), subject=torch.arange(people))


def ball_rays(count: int, people: int = 1, seed: int = 0) -> Rays:
    """At balls from all sides; some miss."""
    normal = random_directions(count, seed, torch.float32)
    targets = 1.1 * RADIUS * random_directions(count, seed + 1, torch.float32)
    return rays_at(targets, -normal, pose=torch.arange(count) % people)


def shaded(own: PbrBranch, net: PalmNet, rays: Rays, poses: Poses, seed: int = 0) -> PbrShaded:
    seen = net(rays, poses, skinning=SKINNING, sampler=GUIDED)
    return own.shade(net, seen, rays, poses, skinning=SKINNING, random=seeded(seed))


def hand_shaded(
    own: PbrBranch, net: PalmNet, seen: Rendered, rays: Rays | None = None, seed: int = 1, poses: Poses | None = None
) -> PbrShaded:
    hands, skinning, looks = scene()
    return own.shade(net, seen, rays or looks, poses or hands, skinning=skinning, random=seeded(seed))


def dense(seen: Rendered, rays: Rays, row: int, light: EnvironmentLight) -> Tensor:
    """Eq. 7 on a convex surface, summed over a fine grid of the hemisphere."""
    normal = torch.nn.functional.normalize(seen.normal[row], dim=0)
    grid = hemisphere(normal, rows=150, columns=200)
    directions = grid.directions.float()
    material = Surface(*(one[row : row + 1] / seen.opacity[row] for one in (seen.albedo, seen.alpha, seen.metallic)))
    reflected = brdf_times_cosine(-rays.directions[row][None], directions, normal[None], material, BrdfSettings())
    return seen.opacity[row] * ((reflected * light.radiance(directions)).double().T @ grid.solid)


@pytest.mark.parametrize("visibility", ["none", "mesh", "march"])
def test_a_ball_of_known_material_in_known_light_looks_as_quadrature_has_it(visibility: str) -> None:
    net, light = ball_net(PlainMaterial(SKIN, alpha=0.2, metallic=0.3)), coloured(6, lobes=5)
    own = lit_by(branch(visibility=visibility), light.lobes)
    places = ball_rays(6)
    rows = torch.arange(6).repeat_interleave(250)
    rays = Rays(places.origins[rows], places.directions[rows], places.pose[rows])
    with torch.no_grad():
        seen = net(rays, balls(), skinning=SKINNING, sampler=GUIDED)
        found = own.shade(net, seen, rays, balls(), skinning=SKINNING, random=seeded(3))
        assert found.valid.all()
        facing = -(torch.nn.functional.normalize(seen.normal, dim=1) * rays.directions).sum(dim=1)
        met = ((seen.opacity > 0.05) & (facing > 0.05))[::250].nonzero()[:, 0].tolist()
        assert len(met) > 2
        for row in met:
            expected = dense(seen, rays, 250 * row, light)
            within_interval(found.colour[250 * row : 250 * row + 250].double(), expected, sigmas=4.5)


def test_gradients_reach_material_and_light_and_are_numbers() -> None:
    net = palm_net()
    own = branch(ShadowMesh(MODEL.v_template, MODEL.faces), visibility="mesh", indirect=True)
    found = hand_shaded(own, net, look(net))
    assert found.colour.shape == (80, 3)
    losses.colour(srgb(found.colour), torch.full((80, 3), 0.3), found.valid).backward()
    material = [name for name, _ in net.named_parameters() if name.startswith("material.network")]
    assert material
    named = {**dict(net.named_parameters()), **{f"light {n}": p for n, p in own.named_parameters()}}
    for name, parameter in named.items():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
    wanted = [n for n in named if n.startswith(("light", "geometry.network"))]
    for name in wanted + [n for n in material if n.endswith("weight")]:
        grad = named[name].grad
        assert grad is not None, name
        assert float(grad.abs().max()) > 0, name


@pytest.mark.parametrize("lets", [True, False])
def test_the_geometry_is_taught_by_shading_as_set(lets: bool) -> None:
    normals = random_directions(30, 0, torch.float32)
    rays, seen = surface_rays(RADIUS * normals, normals), surface_seen(normals, opacity=0.7)
    net = ball_net()
    own = lit_by(branch(shape_gradient=lets, visibility="march", indirect=True), coloured(2).lobes)
    own.shade(net, seen, rays, balls(), skinning=SKINNING, random=seeded()).colour.sum().backward()
    for taught in (seen.albedo, seen.alpha, own.lights[0].lobes):
        assert taught is not None
        assert taught.grad is not None
        assert float(taught.grad.abs().max()) > 0
    assert (seen.normal.grad is not None) == lets
    assert seen.depth.grad is None
    # What is composited: halving what a ray meets halves its colour, and its material is what it was.
    half = surface_seen(normals, opacity=0.35)
    with torch.no_grad():
        whole = own.shade(net, seen, rays, balls(), skinning=SKINNING, random=seeded()).colour
        part = own.shade(net, half, rays, balls(), skinning=SKINNING, random=seeded()).colour
    assert torch.allclose(0.5 * whole, part, rtol=1e-4)


def test_a_light_is_learned_from_pictures_of_a_ball_of_known_albedo() -> None:
    net, poses, rays = ball_net(), balls(), ball_rays(200)
    truth = lit_by(branch(shading=MANY), _two_lamps())
    with torch.no_grad():
        seen = net(rays, poses, skinning=SKINNING, sampler=GUIDED)
        target = srgb(truth.shade(net, seen, rays, poses, skinning=SKINNING, random=seeded(9)).colour)
    own = branch(visibility="mesh")
    normals = random_directions(300, 5, torch.float32)
    wanted = truth.irradiance(normals)
    before = _correlation(own.irradiance(normals), wanted)
    optimiser = torch.optim.Adam(own.parameters(), lr=0.08)
    for step in range(40):
        optimiser.zero_grad()
        found = own.shade(net, seen, rays, poses, skinning=SKINNING, random=seeded(step))
        losses.colour(srgb(found.colour), target, found.valid).backward()
        optimiser.step()
    after = own.irradiance(normals)
    assert before < 0.5
    assert _correlation(after, wanted) > 0.97
    assert float((after.mean(dim=0) / wanted.mean(dim=0) - 1.0).abs().max()) < 0.15
    torch.testing.assert_close(after, irradiance(own.light_of(0), normals))


def test_each_person_stands_in_the_own_light_or_all_in_one() -> None:
    net, poses, rays = ball_net(people=2), balls(2), ball_rays(60, people=2)
    own = branch(people=2, shared_environment=False)
    assert len(own.lights) == 2
    torch.testing.assert_close(own.light_of(0).lobes, own.light_of(1).lobes)  # a fair start
    dark = UNIFORM * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = shaded(lit_by(own, dark, 1), net, rays, poses)
    met = found.colour.amax(dim=1) > 0.05
    assert met[0::2].sum() > 20
    assert not met[1::2].any()
    found.colour.sum().backward()
    assert float(own.lights[0].lobes.grad.abs().max()) > 0
    one = branch(people=2)
    assert len(one.lights) == 1
    assert one.light_of(1) is one.light_of(0)
    both = shaded(one, net, rays, poses).colour.amax(dim=1) > 0.02
    assert both[1::2].sum() > 20
    with pytest.raises(SettingsError, match="2 people, found 2"):
        own.light_of(2)


def test_the_first_light_is_grey_and_of_the_energy_set() -> None:
    light = branch().light_of(0).requires_grad_(False)
    assert torch.equal(light.amplitude[:, 0], light.amplitude[:, 1])
    assert float(light.energy()[0]) == pytest.approx(branch().settings.light.energy, rel=1e-4)
    assert len(torch.unique((light.axes * 1e4).round(), dim=0)) == 64  # the published code starts with 32, twice


def test_the_same_seed_gives_the_same_colours() -> None:
    net = palm_net()
    own = branch(ShadowMesh(MODEL.v_template, MODEL.faces), visibility="march", indirect=True, max_hits=20)
    with torch.no_grad():
        seen = look(net)
        first, again, other = (hand_shaded(own, net, seen, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.colour, again.colour)
    assert torch.equal(first.valid, again.valid)
    assert not torch.equal(first.colour, other.colour)


def test_of_many_hits_some_are_drawn_and_the_rest_is_not_known() -> None:
    net, poses, rays = ball_net(), balls(), ball_rays(400)
    with torch.no_grad():
        whole = shaded(branch(), net, rays, poses)
        hits = whole.colour.amax(dim=1) > 0
        drawn = [shaded(branch(max_hits=50), net, rays, poses, seed) for seed in range(20)]
    assert 200 < int(hits.sum()) < 380
    counts = torch.stack([(one.colour.amax(dim=1) > 0).sum() for one in drawn])
    assert (counts == 50).all()
    share = sum(float(hits[one.valid].float().mean()) for one in drawn) / 20
    assert share == pytest.approx(float(hits.float().mean()), abs=0.03)
    assert all((one.colour[~one.valid] == 0).all() for one in drawn)


def test_a_ray_that_misses_counts_where_the_hand_is() -> None:
    """In the published code colours are compared only where something was hit."""
    aside = torch.tensor([[0.2, 0.2, 0.2]])
    rays = rays_at(aside, torch.tensor([[0.0, 0.0, 1.0]]))
    with torch.no_grad():
        found = shaded(branch(), ball_net(), rays, balls())
    assert found.valid.all()
    assert float(losses.colour(srgb(found.colour), torch.full((1, 3), 0.5), found.valid)) == 0.5


def test_half_precision_around_it_changes_nothing() -> None:
    net, poses, rays = ball_net(radiance=0.3), balls(), ball_rays(40)
    own = lit_by(branch(visibility="mesh", indirect=True), coloured(3).lobes)
    with torch.no_grad():
        seen = net(rays, poses, skinning=SKINNING, sampler=GUIDED)
        plain = own.shade(net, seen, rays, poses, skinning=SKINNING, random=seeded())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = own.shade(net, seen, rays, poses, skinning=SKINNING, random=seeded())
        rounded = dataclasses.replace(seen, albedo=seen.albedo.bfloat16(), alpha=seen.alpha.bfloat16())
        coarse = own.shade(net, rounded, rays, poses, skinning=SKINNING, random=seeded())
    assert torch.equal(plain.colour, mixed.colour)
    assert coarse.colour.dtype == torch.float32
    assert torch.allclose(plain.colour, coarse.colour, atol=0.02)


def test_without_a_material_it_says_so() -> None:
    normals = random_directions(3, 0, torch.float32)
    bare = dataclasses.replace(surface_seen(normals), albedo=None)
    with pytest.raises(SettingsError, match="material"):
        branch().shade(ball_net(), bare, surface_rays(normals, normals), balls(), skinning=SKINNING, random=seeded())


def _two_lamps() -> Tensor:
    return torch.tensor([[1.0, 0.3, 0.6, 6.0, 1.6, 1.4, 1.2], [-0.6, -0.8, -0.1, 10.0, 0.4, 0.8, 1.2]])


def _correlation(found: Tensor, wanted: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1])
