import dataclasses

import pytest
import torch
from torch import Tensor

from palm_model.prior.bones import rotation_matrices
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses
from palm_model.prior.rendered import Rendered
from palm_model.prior.sampling import BlindSampler, GuidedSampler
from palm_model.prior.volume import Rays
from schemas.prior_volume import BlindSampling, GuidedSampling, VolumeSettings
from tests.palm_model.prior.small_fields import (
    BOX,
    KnownGeometry,
    Laplace,
    LearnedSphere,
    RigidSkinning,
    RowCodes,
    ShownNormals,
    known_material,
)
from tests.palm_model.prior.surfaces import icosphere, random_rays, rays_at, standing

RADIUS = 0.03
SPHERE = icosphere(RADIUS, 2)
GUIDED = GuidedSampler(*SPHERE, GuidedSampling())
SKINNING = RigidSkinning()


def sphere(points: Tensor) -> Tensor:
    return torch.linalg.vector_norm(points, dim=-1) - RADIUS


def network(geometry: object, lifted: tuple[float, ...] = (0.0,), **settings: object) -> PalmNet:
    codes = RowCodes(torch.tensor(lifted)[:, None])
    return PalmNet(
        geometry, ShownNormals(), known_material, Laplace(), codes, box=BOX, settings=VolumeSettings(**settings)
    )


def turned(*turns: tuple[float, float, float]) -> Poses:
    """Spheres beside each other, each turned and moved by its bones; each a person of its own."""
    rotations = rotation_matrices(torch.tensor(turns))
    places = torch.tensor([[0.2 * row, 0.05, -0.1] for row in range(len(turns))])
    vertices = torch.einsum("pij,vj->pvi", rotations, torch.from_numpy(SPHERE[0])) + places[:, None]
    poses = standing(vertices, subject=torch.arange(len(turns)))
    bones = poses.bones.clone()
    bones[:, :, :3, :3], bones[:, :, :3, 3] = rotations[:, None], places[:, None]
    return dataclasses.replace(poses, bones=bones)


def look(net: PalmNet, rays: Rays, poses: Poses, **options: object) -> Rendered:
    return net(rays, poses, **{"skinning": SKINNING, "sampler": GUIDED, **options})


def aimed(poses: Poses, count: int, reach: float = 0.02) -> Rays:
    """Rays at each of the hands."""
    every = [random_rays(row.mean(dim=0), reach, count, number) for number, row in enumerate(poses.vertices)]
    rows = torch.arange(len(poses)).repeat_interleave(count)
    return Rays(torch.cat([one.origins for one in every]), torch.cat([one.directions for one in every]), rows)


def hits(rays: Rays, poses: Poses, radius: float = RADIUS) -> tuple[Tensor, Tensor, Tensor]:
    """Distance to spheres in closed form (infinite without), the normals there, and how far rays pass from the centre."""
    offset = rays.origins - poses.bones[rays.pose, 0, :3, 3]
    along = (offset * rays.directions).sum(dim=-1)
    beside = ((offset**2).sum(dim=-1) - along**2).clamp(min=0.0).sqrt()
    distance = -along - (radius**2 - beside**2).clamp(min=0.0).sqrt()
    normal = torch.nn.functional.normalize(offset + distance[:, None] * rays.directions, dim=-1)
    return torch.where(beside < radius, distance, torch.inf), normal, beside


@pytest.mark.parametrize("settings", [{}, {"normals": "autograd"}, {"normals_to_world": "blended_rotation"}])
def test_spheres_anywhere_and_however_turned_are_seen_as_they_are(settings: dict[str, str]) -> None:
    poses = turned((0.0, 0.0, 0.0), (1.0, -2.0, 0.5))
    rays = aimed(poses, 60)
    with torch.no_grad():
        seen = look(network(KnownGeometry(sphere), (0.0, 0.0), **settings), rays, poses)
    distance, normal, beside = hits(rays, poses)
    full, none = beside < 0.025, beside > RADIUS + 0.007
    assert full.sum() > 50
    torch.testing.assert_close(seen.opacity[full], torch.ones(int(full.sum())), rtol=0, atol=0.02)
    assert float(seen.opacity[none].sum()) < 1e-3
    away = (seen.depth - distance).abs()[full]
    assert float(away.median()) < 3e-4
    unit = torch.nn.functional.normalize(seen.normal, dim=-1)
    angle = torch.rad2deg(torch.arccos((unit * normal).sum(dim=-1).clamp(-1.0, 1.0)))
    assert float(angle[full].median()) < 1.5
    reflected = rays.directions - 2.0 * (rays.directions * normal).sum(-1, keepdim=True) * normal
    assert float((seen.colour - (0.5 + 0.5 * reflected))[full].abs().median()) < 0.02
    assert seen.metallic is not None
    torch.testing.assert_close(seen.metallic, 0.5 * seen.opacity)
    torch.testing.assert_close(
        torch.linalg.vector_norm(seen.sdf_gradient, dim=-1), torch.ones_like(seen.sdf), rtol=0, atol=5e-3
    )
    torch.testing.assert_close(sphere(seen.canonical), seen.sdf, rtol=0, atol=2e-5)


def test_albedo_is_composited_where_the_canonical_point_is() -> None:
    poses = turned((0.3, 0.0, 2.0))
    rays = aimed(poses, 40)
    seen = look(network(KnownGeometry(sphere)), rays, poses)
    distance, _, beside = hits(rays, poses)
    world = rays.origins + distance[:, None] * rays.directions
    canonical = torch.einsum("ji,nj->ni", poses.bones[0, 0, :3, :3], world - poses.bones[0, 0, :3, 3])
    assert seen.albedo is not None
    error = (seen.albedo - BOX.to_unit(canonical)).abs()[beside < 0.02]
    assert float(error.max()) < 0.01


def test_the_root_deepest_inside_counts_and_points_without_roots_are_outside() -> None:
    """`RigidSkinning` finds many points twice, the wrong place first."""
    poses = standing(torch.from_numpy(SPHERE[0])[None])
    rays = aimed(poses, 30)
    roots = SKINNING.find(rays.at(torch.full((30, 1), 0.48))[:, 0], rays.pose, poses)
    assert (roots.valid.sum(dim=-1) == 2).any()
    seen = look(network(KnownGeometry(sphere)), rays, poses)
    assert float((torch.linalg.vector_norm(seen.canonical, dim=-1) - RADIUS).abs().max()) < 0.015
    far = standing(torch.from_numpy(SPHERE[0])[None] + 1.0)  # the surface says hand, skinning finds no point
    nothing = look(network(KnownGeometry(sphere)), random_rays(torch.ones(3), 0.02, 10), far)
    assert nothing.samples.valid.any()
    assert float(nothing.opacity.abs().max()) == 0.0
    assert torch.isfinite(nothing.normal).all()
    assert len(nothing.sdf) == 0


def test_each_ray_meets_its_own_person() -> None:
    poses = turned((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    rays = rays_at(poses.bones[:, 0, :3, 3], torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3), pose=torch.arange(2))
    seen = look(network(KnownGeometry(sphere), (0.0, 0.004)), rays, poses)
    # Density lets light a little into a surface or stops it a little before it.
    torch.testing.assert_close(0.5 - seen.depth, torch.tensor([RADIUS, RADIUS + 0.004]), rtol=0, atol=8e-4)


def test_rays_in_parts_are_rendered_alike_and_no_part_is_larger_than_allowed() -> None:
    poses = turned((0.0, 0.5, 0.0), (1.0, 0.0, 0.5))
    rays = aimed(poses, 25)
    uniform = torch.rand(50, GUIDED.numbers, generator=torch.Generator().manual_seed(0))
    geometry = KnownGeometry(sphere)
    whole = look(network(geometry, (0.0, 0.0)), rays, poses, uniform=uniform)
    geometry.asked.clear()
    bounded = network(geometry, (0.0, 0.0), max_points=7 * 16 + 5)
    parts = bounded.render(rays, poses, skinning=SKINNING, sampler=GUIDED, uniform=uniform)
    assert max(geometry.asked) <= 4 * 7 * 16
    assert len(geometry.asked) >= 50 // 7
    for one in dataclasses.fields(Rendered):
        if one.name != "samples":
            mine, theirs = getattr(parts, one.name), getattr(whole, one.name)
            torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-4, msg=one.name)
    torch.testing.assert_close(parts.samples.distance, whole.samples.distance, rtol=0, atol=1e-5)
    assert not parts.colour.requires_grad
    nothing = bounded.render(rays.part(0, 0), poses, skinning=SKINNING, sampler=GUIDED)
    assert nothing.colour.shape == (0, 3)


def test_the_blind_sampler_asks_the_network_and_sees_the_same() -> None:
    poses = turned((0.0, 0.5, 0.0))
    rays = aimed(poses, 20)
    net = network(KnownGeometry(sphere))
    blind = look(net, rays, poses, sampler=BlindSampler(BlindSampling(resolution=24)))
    guided = look(net, rays, poses)
    full = hits(rays, poses)[2] < 0.025
    torch.testing.assert_close(blind.opacity[full], guided.opacity[full], rtol=0, atol=0.02)
    assert float((blind.depth - guided.depth)[full].abs().median()) < 3e-4


def test_samples_that_weigh_nothing_may_go_without_colour() -> None:
    poses = turned((0.0, 0.5, 0.0))
    rays = aimed(poses, 20)
    every = look(network(KnownGeometry(sphere)), rays, poses)
    few = look(network(KnownGeometry(sphere), negligible_weight=1e-4), rays, poses)
    torch.testing.assert_close(few.opacity, every.opacity)
    torch.testing.assert_close(few.colour, every.colour, rtol=0, atol=16e-4)
    assert not torch.equal(few.colour, every.colour)


def test_a_bone_that_moves_moves_what_is_seen_and_the_gradient_says_so() -> None:
    poses = turned((0.2, 0.0, 0.1))
    rays = aimed(poses, 60, reach=0.03)
    net = network(KnownGeometry(sphere))
    edge = ((hits(rays, poses)[2] - RADIUS).abs() < 0.002).double()
    assert edge.sum() > 0

    def opacity(shift: Tensor) -> Tensor:
        bones = poses.bones.clone()
        bones[0, 0, :3, 3] = bones[0, 0, :3, 3] + shift
        return (look(net, rays, dataclasses.replace(poses, bones=bones)).opacity * edge).sum()

    shift = torch.zeros(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(opacity(shift), shift)
    step = 2e-5
    for axis in range(3):
        ahead, behind = (opacity(sign * step * torch.eye(3)[axis]).detach() for sign in (1, -1))
        assert float(gradient[axis]) == pytest.approx(float((ahead - behind) / (2 * step)), rel=0.05, abs=2.0)


@pytest.mark.parametrize("normals", ["tetrahedral", "autograd"])
def test_a_few_steps_on_rays_of_a_sphere_find_its_size(normals: str) -> None:
    poses = standing(torch.from_numpy(SPHERE[0])[None])
    rays = aimed(poses, 80, reach=0.03)
    target = look(network(LearnedSphere(0.032)), rays, poses)
    learned = LearnedSphere(0.028)
    net = network(learned, normals=normals)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-4)
    random = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        seen = look(net, rays, poses, uniform=torch.rand(80, 16, generator=random))
        loss = (seen.opacity - target.opacity.detach()).abs().mean() + (
            seen.colour - target.colour.detach()
        ).abs().mean()
        loss = loss + 1e-3 * (seen.sdf_gradient.norm(dim=-1) - 1.0).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert float(learned.radius.detach()) == pytest.approx(0.032, abs=0.0015)
