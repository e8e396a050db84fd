import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from palm_model.prior.lat_long import LatLong
from palm_model.prior.light import SphericalGaussians
from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import PbrBranch
from palm_model.prior.relight import Relit, render_relit
from palm_model.prior.shadow_mesh import ShadowMesh
from schemas.prior_pbr import ShadingSettings
from tests.palm_model.prior.pbr_scenes import UNIFORM, ball_net, branch, lit_by, seeded
from tests.palm_model.prior.small_fields import Material
from tests.palm_model.prior.surfaces import rays_at
from tests.palm_model.prior.test_light import coloured
from tests.palm_model.prior.test_network import SPHERE, sphere
from tests.palm_model.prior.test_pbr_branch import GUIDED, SKINNING, ball_rays, balls

RAYS = ball_rays(120)
GOOD = ShadingSettings(strategy="mis", rows=8, columns=16)


def relit(own: PbrBranch, net: PalmNet | None = None, **options: object) -> Relit:
    return render_relit(
        own,
        net or ball_net(),
        RAYS,
        balls(),
        **{"skinning": SKINNING, "sampler": GUIDED, "random": seeded(), **options},
    )


def test_any_light_can_be_given_and_twice_the_light_is_twice_the_colour() -> None:
    """The published relighting takes a picture's path and uses another one, drawn by chance."""
    own, light = branch(), coloured(4)
    twice = SphericalGaussians(light.lobes * torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
    one, two, learned = relit(own, light=light), relit(own, light=twice), relit(own)
    assert one.colour.max() > 0.01
    assert torch.allclose(2.0 * one.colour, two.colour, rtol=1e-4, atol=1e-6)
    assert float((one.colour - learned.colour).abs().mean()) > 0.02
    assert torch.equal(one.opacity, learned.opacity)
    assert not one.colour.requires_grad


def test_lobes_and_a_picture_of_them_light_alike() -> None:
    own, light = branch(view_shading=GOOD), coloured(4, lobes=4)
    light.lobes.data[:, 3].clamp_(-20.0, -1.0)
    lobes, picture = relit(own, light=light), relit(own, light=LatLong.of_light(light, 64))
    assert float((lobes.colour - picture.colour).abs().mean() / lobes.colour.mean()) < 0.06


def test_more_directions_are_less_noise_and_parts_are_no_seams() -> None:
    own, light = branch(), coloured(4)

    def noise(**options: object) -> float:
        pictures = [relit(own, light=light, random=seeded(seed), **options).colour for seed in range(6)]
        return float(torch.stack(pictures).std(dim=0).mean())

    assert noise(samples=200) < 0.4 * noise(samples=8)
    whole = relit(own, light=light, samples=800)
    parts = relit(own, ball_net(max_points=16_000), light=light, samples=800)
    assert torch.equal(whole.opacity, parts.opacity)
    assert float((whole.colour - parts.colour).abs().mean() / whole.colour.mean()) < 0.03
    assert render_relit(
        own, ball_net(), RAYS.part(0, 0), balls(), skinning=SKINNING, sampler=GUIDED, random=seeded()
    ).colour.shape == (0, 3)


def test_only_in_the_learned_light_the_hand_lights_itself() -> None:
    """The radiance field knows no other light than that."""
    poses = balls()
    beside = poses.vertices + torch.tensor([0.0, 0.0, 0.065])  # shown as a second ball, which throws shadows
    both = dataclasses.replace(poses, vertices=torch.cat([poses.vertices, beside], dim=1))
    vertices, faces = SPHERE
    mesh = ShadowMesh(np.concatenate([vertices, beside[0].numpy()]), np.concatenate([faces, faces + len(vertices)]))

    def brightness(radiance: float, light: SphericalGaussians | None) -> float:
        own = branch(mesh, view_visibility="mesh", indirect=True)
        net = ball_net(radiance=radiance)
        net.geometry.sdf = lambda points: torch.minimum(sphere(points), sphere(points - beside.mean(dim=1)))
        rays = rays_at(
            torch.tensor([[0.0, 0.01, 0.028]]).expand(40, 3), torch.tensor([[0.0, -1.0, -0.3]]).expand(40, 3)
        )
        found = render_relit(
            own, net, rays, both, skinning=SKINNING, sampler=GUIDED, random=seeded(), light=light, samples=32
        )
        assert found.opacity.min() > 0.9
        return float(found.colour.mean())

    assert brightness(0.8, coloured(3)) == brightness(0.0, coloured(3))
    assert brightness(0.8, None) > brightness(0.0, None) + 0.02


def test_a_white_ball_in_a_white_room_sends_no_more_than_it_gets() -> None:
    def white(grid: Tensor, *other: object) -> Material:
        one = torch.ones_like(grid[:, 0])
        return Material(torch.ones_like(grid), 0.9 * one, 0.0 * one)

    own = lit_by(branch(brdf={"diffuse": "coupled"}), UNIFORM)
    found = relit(own, ball_net(white), samples=512)
    inside = found.opacity > 0.99
    sent = found.colour[inside].mean(dim=0)
    assert float(sent.max()) <= 1.0
    assert float(sent.min()) > 0.9
    assert math.isfinite(float(found.colour.sum()))
