import torch
from torch import Tensor

from palm_model.prior.hand_field import HandField
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses
from tests.palm_model.prior.small_fields import KnownGeometry, Laplace
from tests.palm_model.prior.sphere_grid import random_directions
from tests.palm_model.prior.surfaces import rays_at
from tests.palm_model.prior.test_network import RADIUS, SKINNING, look, network, sphere, turned


def field() -> tuple[HandField, Poses, PalmNet]:
    poses = turned((0.3, 0.0, 2.0), (1.0, -2.0, 0.5))
    net = network(KnownGeometry(sphere), (0.0, 0.002))
    return HandField.of(net, poses, SKINNING), poses, net


def test_density_is_that_of_the_owners_own_hand_by_its_deepest_root() -> None:
    """`RigidSkinning` finds many points twice, the wrong place first."""
    hands, poses, _ = field()
    pose = torch.arange(200) % 2
    away = 0.02 + 0.02 * torch.rand(200, generator=torch.Generator().manual_seed(0))
    points = poses.bones[pose, 0, :3, 3] + away[:, None] * random_directions(200, 1, torch.float32)
    lifted = torch.tensor([0.0, 0.002])[pose]
    expected = Laplace()(away - RADIUS - lifted)
    assert torch.allclose(hands.density(points, pose), expected, rtol=1e-3, atol=1e-2)
    far = points + 1.0
    assert (hands.density(far, pose) == 0).all()
    assert (hands.radiance(far, random_directions(200, 2, torch.float32), pose) == 0).all()


def test_radiance_is_what_a_ray_of_the_camera_sees_there() -> None:
    hands, poses, net = field()
    pose = torch.arange(60) % 2
    centre = poses.bones[pose, 0, :3, 3]
    normal = random_directions(60, 3, torch.float32)
    surface = centre + (RADIUS + torch.tensor([0.0, 0.002])[pose])[:, None] * normal
    towards = torch.nn.functional.normalize(-normal + 0.4 * random_directions(60, 4, torch.float32), dim=1)
    found: Tensor = hands.radiance(surface, towards, pose)
    reflected = towards - 2.0 * (towards * normal).sum(dim=1, keepdim=True) * normal
    assert torch.allclose(found, 0.5 + 0.5 * reflected, atol=0.01)
    with torch.no_grad():
        seen = look(net, rays_at(surface, towards, pose=pose), poses)
    assert float((found - seen.colour).abs().median()) < 0.02
