import math

import numpy as np
import pytest
import torch
from torch import Tensor

from palm_model.prior.secondary import Density, SecondaryMarch
from schemas.prior_pbr import SecondarySettings
from tests.palm_model.prior.closed_hand import closed_hand
from tests.palm_model.prior.sphere_grid import hemisphere, random_directions

FINGER_M = 0.008
BETA_M = 0.001
EVERYTHING = SecondarySettings(leave_own_surface=False)


def laplace(sdf: Tensor, beta_m: float = BETA_M) -> Tensor:
    """VolSDF's density, for the tests' own fields."""
    outside = 0.5 * torch.exp(-sdf.clamp(min=0.0) / beta_m)
    inside = 1.0 - 0.5 * torch.exp(sdf.clamp(max=0.0) / beta_m)
    return torch.where(sdf > 0, outside, inside) / beta_m


def balls(*centres: tuple[float, float, float], radius: float = FINGER_M) -> Density:
    def density(points: Tensor, owner: Tensor) -> Tensor:
        places = torch.tensor(centres, dtype=points.dtype)
        return laplace((points[:, None] - places).norm(dim=-1).min(dim=1).values - radius)

    return density


def owners(points: Tensor) -> Tensor:
    return torch.arange(len(points))


def dense_transmittance(density: Density, points: Tensor, directions: Tensor, steps: int = 60_000) -> Tensor:
    """Trapezoid rule at 5 µm, float64, nothing left out."""
    distance = torch.linspace(0.0, 0.3, steps + 1, dtype=torch.float64)
    found = []
    for point, direction in zip(points.double(), directions.double(), strict=True):
        places = point + distance[:, None] * direction
        found.append(torch.exp(-torch.trapezoid(density(places, torch.zeros(steps + 1).long()), distance)))
    return torch.stack(found)


def test_through_a_ball_of_fog_it_is_beer_and_lambert() -> None:
    def fog(points: Tensor, owner: Tensor) -> Tensor:
        return torch.where(points.norm(dim=1) < 0.02, 40.0, 0.0)

    offsets = torch.tensor([0.0, 0.005, 0.012, 0.019, 0.021])
    points = torch.stack([torch.full((5,), -0.1), offsets, torch.zeros(5)], dim=1)
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(5, 3)
    settings = SecondarySettings(leave_own_surface=False, step_m=0.00005)
    found = SecondaryMarch(fog, settings)(points, directions, owners(points)).transmittance
    chord = 2.0 * torch.sqrt((0.02**2 - offsets**2).clamp(min=0.0))
    assert torch.allclose(found, torch.exp(-40.0 * chord), atol=2e-3)


def test_the_default_step_is_fine_enough_for_a_finger() -> None:
    density = balls((0.0, 0.0, 0.0))
    generator = torch.Generator().manual_seed(0)
    points = torch.tensor([-0.06, 0.0, 0.0]) + 0.012 * torch.randn(60, 3, generator=generator) * torch.tensor([0, 1, 1])
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(60, 3)
    truth = dense_transmittance(density, points, directions)
    middles = SecondaryMarch(density, EVERYTHING)(points, directions, owners(points)).transmittance
    jittered = SecondaryMarch(density, EVERYTHING, generator=generator)(
        points, directions, owners(points)
    ).transmittance
    assert 0.3 < truth.mean() < 0.8
    assert (middles - truth).abs().mean() < 0.01
    assert (jittered - truth).abs().mean() < 0.03
    assert abs(float((jittered - truth).mean())) < 0.01


def test_a_finger_casts_a_shadow_where_the_published_steps_pass_by() -> None:
    """64 samples over 1.5 m lie 23.8 mm apart: most rays jump over a finger of 16 mm and find no crossing."""
    density = balls((0.0, 0.0, 0.0))
    start = torch.linspace(-0.08, -0.04, 41)
    points = torch.stack([start, torch.full((41,), 0.004), torch.zeros(41)], dim=1)
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(41, 3)
    ours = SecondaryMarch(density, SecondarySettings())(points, directions, owners(points)).transmittance
    assert ours.max() < 1e-3
    coarse = points[:, None] + torch.linspace(0.0, 1.5, 64)[:, None] * directions[:, None]
    crossing = (coarse.norm(dim=-1) < FINGER_M).any(dim=1)
    assert crossing.float().mean() < 0.7
    with pytest.raises(ValueError, match="step_m"):
        SecondarySettings(step_m=1.5 / 63)


@pytest.mark.parametrize("depth_m", [0.0, -0.0005, 0.0005])
def test_a_convex_surface_does_not_shadow_itself(depth_m: float) -> None:
    density = balls((0.0, 0.0, 0.0))
    normal = random_directions(200, 0, torch.float32)
    out = random_directions(200, 1, torch.float32)
    out = torch.where((out * normal).sum(dim=1, keepdim=True) > 0, out, -out)
    start = normal * (FINGER_M + depth_m)
    leaving = SecondaryMarch(density, SecondarySettings())(start, out, owners(start)).transmittance
    counting = SecondaryMarch(density, EVERYTHING)(start, out, owners(start)).transmittance
    steep = (out * normal).sum(dim=1) > 0.4  # those that do not go deeper first
    assert (leaving[steep] == 1.0).all()
    assert counting.mean() < 0.8


def test_the_next_finger_still_shadows() -> None:
    density = balls((0.0, 0.0, 0.0), (0.03, 0.0, 0.0))
    start = torch.tensor([[FINGER_M, 0.0, 0.0]]).expand(2, 3)
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = SecondaryMarch(density, SecondarySettings())(start, directions, owners(start)).transmittance
    assert found[0] < 1e-3
    assert found[1] > 0.9


def test_in_a_furnace_what_is_lost_of_the_environment_comes_from_the_hand() -> None:
    density = balls((0.0, 0.0, 0.0), (0.03, 0.01, 0.0))
    start = 0.05 * random_directions(300, 2, torch.float32)
    directions = torch.nn.functional.normalize(-start + 0.02 * random_directions(300, 3, torch.float32), dim=1)
    march = SecondaryMarch(density, EVERYTHING, radiance=lambda places, towards, owner: torch.ones_like(places))
    found = march(start, directions, owners(start))
    total = found.transmittance[:, None] + found.radiance
    assert torch.allclose(total, torch.ones_like(total), atol=2e-3)
    assert 0.05 < found.transmittance.mean() < 0.95


def test_what_the_hand_sends_is_that_of_the_first_surface() -> None:
    density = balls((0.0, 0.0, 0.0), (0.05, 0.0, 0.0))

    def colour(places: Tensor, directions: Tensor, owner: Tensor) -> Tensor:
        assert torch.allclose(directions, torch.tensor([1.0, 0.0, 0.0]).expand_as(directions))
        return torch.where(places[:, :1] < 0.025, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))

    start, directions = torch.tensor([[-0.05, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    found = SecondaryMarch(density, SecondarySettings(), radiance=colour)(start, directions, owners(start))
    assert torch.allclose(found.radiance, torch.tensor([[1.0, 0.0, 0.0]]), atol=2e-3)


def test_empty_space_is_not_asked_for_and_changes_nothing() -> None:
    asked: list[int] = []
    plain = balls((0.0, 0.0, 0.0))

    def counted(points: Tensor, owner: Tensor) -> Tensor:
        asked.append(len(points))
        return plain(points, owner)

    start = 0.06 * random_directions(200, 4, torch.float32)
    directions = random_directions(200, 5, torch.float32)
    whole = SecondaryMarch(counted, SecondarySettings())(start, directions, owners(start))
    everywhere = sum(asked)
    asked.clear()
    march = SecondaryMarch(
        counted, SecondarySettings(), occupied=lambda points, owner: points.norm(dim=1) < FINGER_M + 0.015
    )
    skipped = march(start, directions, owners(start))
    assert torch.allclose(skipped.transmittance, whole.transmittance, atol=1e-5)
    assert sum(asked) < 0.15 * everywhere


def test_each_ray_meets_its_own_hand_and_chunks_change_nothing() -> None:
    def by_owner(points: Tensor, owner: Tensor) -> Tensor:
        middle = torch.stack([torch.zeros(len(owner)), 0.1 * (owner % 2), torch.zeros(len(owner))], dim=1)
        return laplace((points - middle).norm(dim=1) - FINGER_M)

    start = torch.tensor([[-0.05, 0.0, 0.0]]).expand(7, 3)
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(7, 3)
    owner = torch.tensor([0, 1, 0, 1, 1, 0, 1])
    whole = SecondaryMarch(by_owner, SecondarySettings())(start, directions, owner)
    assert torch.equal(whole.transmittance > 0.5, owner == 1)
    parts = SecondaryMarch(by_owner, SecondarySettings(rays_at_once=3, block=5))(start, directions, owner)
    assert torch.allclose(parts.transmittance, whole.transmittance, atol=1e-3)
    none = SecondaryMarch(by_owner, SecondarySettings())(start[:0], directions[:0], owner[:0])
    assert none.transmittance.shape == (0,)
    assert none.radiance.shape == (0, 3)


def test_no_gradient_passes() -> None:
    strength = torch.tensor(5.0, requires_grad=True)
    march = SecondaryMarch(lambda points, owner: strength.expand(len(points)), EVERYTHING)
    found = march(torch.zeros(2, 3), torch.eye(3)[:2], torch.arange(2))
    assert not found.transmittance.requires_grad


@pytest.mark.parametrize(("beta_m", "bound"), [(0.001, 0.06), (0.0003, 0.03)])
def test_visibility_on_a_hand_is_that_of_its_mesh(beta_m: float, bound: float) -> None:
    """Against Open3D's rays: how much of the hemisphere each point of the hand sees. The mesh has a hard surface and
    the field one that fades over β, which makes fingers a little thicker: the darker by it, the softer it is.
    """
    import open3d as o3d

    hand = closed_hand()
    vertices, scene = hand.vertices, hand.rays

    def density(points: Tensor, owner: Tensor) -> Tensor:
        asked = o3d.core.Tensor(points.numpy())
        return laplace(torch.from_numpy(scene.compute_signed_distance(asked, nthreads=1).numpy()), beta_m)

    def near(points: Tensor, owner: Tensor) -> Tensor:
        low, high = vertices.min(axis=0) - 0.01, vertices.max(axis=0) + 0.01
        return ((points > torch.from_numpy(low)) & (points < torch.from_numpy(high))).all(dim=1)

    chosen = np.random.default_rng(0).choice(len(vertices), 20, replace=False)
    normals = torch.from_numpy(hand.normals[chosen])
    start = torch.from_numpy(vertices[chosen]) + 0.0005 * normals
    fans = [hemisphere(normal, rows=4, columns=6) for normal in normals]
    directions = torch.stack([fan.directions for fan in fans]).float()
    cosine = (directions * normals[:, None]).sum(dim=-1) * fans[0].solid.float() / math.pi
    rays = torch.cat([start[:, None].expand_as(directions), directions], dim=-1).reshape(-1, 6)
    hit = scene.cast_rays(o3d.core.Tensor(rays.numpy()), nthreads=1)["t_hit"].numpy()
    truth = (torch.from_numpy(np.isinf(hit)).float().reshape(20, -1) * cosine).sum(dim=1)
    march = SecondaryMarch(density, SecondarySettings(), occupied=near)
    found = march(rays[:, :3], rays[:, 3:], owners(rays)).transmittance.reshape(20, -1)
    seen = (found * cosine).sum(dim=1)
    assert truth.min() < 0.8
    assert (seen - truth).abs().mean() < bound
