from typing import get_args

import pytest
import torch
from torch import Tensor

from palm_model.prior.brdf import brdf_times_cosine
from palm_model.prior.directions import random_numbers, stratified_numbers
from palm_model.prior.lat_long import LatLong
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.secondary import Arrival
from palm_model.prior.shading import SurfacePoints, outgoing_radiance, pixel_mean, scatter_points, uniform_numbers
from schemas.prior_pbr import BrdfSettings, ShadingSettings, Strategy
from tests.palm_model.prior.sphere_grid import Surface, at_angle, hemisphere, within_interval
from tests.palm_model.prior.test_lat_long import spiky
from tests.palm_model.prior.test_light import coloured, seeded

COUPLED = BrdfSettings(diffuse="coupled")
STRATEGIES = get_args(Strategy)
LIGHTS = {"gaussians": lambda: coloured(6, lobes=5), "picture": lambda: LatLong(spiky() + 0.1)}
MATTE, GLOSSY = (0.5, 0.0), (0.15, 0.6)
NORMAL = torch.nn.functional.normalize(torch.tensor([0.3, -0.5, 0.6]), dim=0)


def points(alpha: float, metallic: float, count: int) -> SurfacePoints:
    """The same point many times, each with samples of its own."""
    view = torch.nn.functional.normalize(NORMAL + 0.8 * at_angle(0.2, 1.0).float(), dim=0)
    material = Surface(
        torch.tensor([[0.55, 0.38, 0.30]]).expand(count, 3), torch.full((count,), alpha), torch.full((count,), metallic)
    )
    return SurfacePoints(torch.zeros(count, 3), view.expand(count, 3), NORMAL.expand(count, 3), material)


def half_shadow(positions: Tensor, directions: Tensor, owner: Tensor) -> Arrival:
    """Something wide stands on one side; it lets a fifth through, smoothly, and glows red."""
    through = 0.6 + 0.4 * torch.tanh(8.0 * directions[:, 0])
    return Arrival(through, (1.0 - through)[:, None] * torch.tensor([0.3, 0.05, 0.02]))


def dense(where: SurfacePoints, light: EnvironmentLight, brdf: BrdfSettings) -> Tensor:
    grid = hemisphere(NORMAL, rows=220, columns=320)
    directions = grid.directions.float()
    one = Surface(where.material.albedo[:1], where.material.alpha[:1], where.material.metallic[:1])
    reflected = brdf_times_cosine(where.view[:1], directions, NORMAL[None], one, brdf)
    through, sent = half_shadow(directions, directions, directions)
    incident = through[:, None] * light.radiance(directions) + sent
    return (reflected * incident).double().T @ grid.solid


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", [MATTE, GLOSSY], ids=["matte", "glossy"])
def test_every_strategy_is_unbiased(light: str, strategy: Strategy, kind: tuple[float, float]) -> None:
    environment, where = LIGHTS[light](), points(*kind, 1200)
    settings = ShadingSettings(strategy=strategy, rows=4, columns=8)
    numbers = uniform_numbers(1200, settings, seeded(8))
    with torch.no_grad():
        found = outgoing_radiance(where, environment, numbers, settings, secondary=half_shadow)
        within_interval(found.double(), dense(where, environment, BrdfSettings()), sigmas=4.5)


def test_the_official_brdf_is_estimated_without_bias_too() -> None:
    environment, where = LIGHTS["gaussians"](), points(*GLOSSY, 1200)
    official = BrdfSettings(specular="official", diffuse="lambert")
    settings = ShadingSettings(strategy="mis", rows=4, columns=8)
    with torch.no_grad():
        found = outgoing_radiance(
            where,
            environment,
            uniform_numbers(1200, settings, seeded(2)),
            settings,
            secondary=half_shadow,
            brdf=official,
        )
        within_interval(found.double(), dense(where, environment, official), sigmas=4.5)


def spread(strategy: Strategy, light: EnvironmentLight, kind: tuple[float, float]) -> float:
    settings = ShadingSettings(strategy=strategy, rows=4, columns=8)
    where = points(*kind, 400)
    with torch.no_grad():
        found = outgoing_radiance(where, light, uniform_numbers(400, settings, seeded(1)), settings)
    return float(found.mean(dim=1).std())


def test_strata_lessen_the_noise_and_so_does_knowing_the_light() -> None:
    light = LIGHTS["gaussians"]()
    assert spread("stratified", light, MATTE) < 0.8 * spread("uniform", light, MATTE)
    picture = LIGHTS["picture"]()
    assert spread("light", picture, MATTE) < 0.3 * spread("stratified", picture, MATTE)
    assert spread("mis", picture, GLOSSY) < 0.7 * spread("brdf", picture, GLOSSY)
    mirror = (0.03, 1.0)
    assert spread("mis", light, mirror) < 0.5 * spread("light", light, mirror)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_white_hand_in_a_white_furnace_is_white(strategy: Strategy) -> None:
    """Indirect light and environment of one radiance: whatever is in the way, a matte white point sends it on."""
    white = LatLong(torch.ones(8, 16, 3))

    def anything(positions: Tensor, directions: Tensor, owner: Tensor) -> Arrival:
        through = (directions[:, 2] > 0.2).float()
        return Arrival(through, (1.0 - through)[:, None].expand(-1, 3))

    where = points(0.5, 0.0, 600)
    matte = SurfacePoints(where.position, where.view, where.normal, Surface(torch.ones(600, 3), *where.material[1:]))
    settings = ShadingSettings(strategy=strategy, rows=4, columns=8)
    numbers = uniform_numbers(600, settings, seeded(3))
    with torch.no_grad():
        found = outgoing_radiance(matte, white, numbers, settings, secondary=anything, brdf=COUPLED)
        free = outgoing_radiance(matte, white, numbers, settings, brdf=COUPLED)
    assert torch.allclose(found, free, rtol=1e-4)
    reflectance = found.double().mean(dim=0)
    assert (reflectance < 1.0).all()
    assert (reflectance > 0.9).all()


def test_the_estimates_gradient_is_that_of_the_integral() -> None:
    light, where = coloured(6, lobes=3), points(*GLOSSY, 500)
    settings = ShadingSettings(strategy="mis", rows=4, columns=8)
    material = [tensor.detach().clone().requires_grad_() for tensor in where.material]
    moved = SurfacePoints(where.position, where.view, where.normal, Surface(*material))
    numbers = uniform_numbers(500, settings, seeded(6))
    outgoing_radiance(moved, light, numbers, settings, secondary=half_shadow).sum().backward()
    exact = [tensor[:1].detach().clone().requires_grad_() for tensor in where.material]
    lobes = light.lobes.grad
    light.zero_grad()
    dense(
        SurfacePoints(where.position, where.view, where.normal, Surface(*exact)), light, BrdfSettings()
    ).sum().backward()
    for found, expected in zip(material, exact, strict=True):
        assert found.grad is not None
        assert expected.grad is not None
        within_interval(found.grad.reshape(500, -1).double(), expected.grad.reshape(-1).double(), sigmas=4.5)
    assert lobes is not None
    assert light.lobes.grad is not None
    assert torch.allclose(lobes / 500, light.lobes.grad, rtol=0.1, atol=0.02)


def test_a_lifted_start_and_the_owner_reach_the_secondary_rays() -> None:
    where = points(*MATTE, 3)
    seen: list[tuple[Tensor, Tensor]] = []

    def record(positions: Tensor, directions: Tensor, owner: Tensor) -> Arrival:
        seen.append((positions, owner))
        assert ((directions * NORMAL).sum(dim=1) > 0).all()  # nobody asks about what cannot arrive
        return Arrival(torch.ones(len(owner)), torch.zeros(len(owner), 3))

    settings = ShadingSettings(rows=4, columns=8, lift_m=0.002)
    outgoing_radiance(where, LIGHTS["gaussians"](), uniform_numbers(3, settings, seeded()), settings, secondary=record)
    positions, owner = seen[0]
    assert torch.allclose(positions, 0.002 * NORMAL.expand_as(positions))
    assert owner.unique().tolist() == [0, 1, 2]


def test_scatter_points_follow_the_weights_and_leave_the_rest_to_the_background() -> None:
    weights = torch.tensor([[0.1, 0.0, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    values = torch.rand(3, 4, 3, generator=seeded(1))
    numbers = random_numbers(3, 20_000, seeded())[..., 0]
    scatter = scatter_points(weights, numbers)
    drawn = scatter.share[..., None] * values[torch.arange(3)[:, None], scatter.sample]
    for row in range(3):
        if weights[row].sum() == 0:
            assert (drawn[row] == 0).all()
        else:
            within_interval(drawn[row].double(), (weights[row, :, None] * values[row]).sum(dim=0).double())
    assert (scatter.share[0][scatter.sample[0] == 1] == 0).all()
    assert float(scatter.share[0].mean()) == pytest.approx(0.8, abs=0.02)
    assert (scatter.share[2] == 1).float().mean() > 0.9999


def test_the_gradient_reaches_the_weights_without_bias() -> None:
    weights = torch.tensor([[0.1, 0.3, 0.5]]).requires_grad_()
    values = torch.tensor([[2.0, -1.0, 3.0]])
    scatter = scatter_points(weights, stratified_numbers(1, 200, 200, seeded())[..., 0])
    (scatter.share * values[0, scatter.sample]).mean().backward()
    assert weights.grad is not None
    assert torch.allclose(weights.grad, values, atol=0.02)


def test_a_pixel_of_equation_7_is_the_weighted_sum_of_its_points_radiance() -> None:
    """One direction for each of 512 points along the ray, drawn together, against the sum over the samples."""
    light, rays = LIGHTS["gaussians"](), 300
    weights = torch.tensor([0.15, 0.5, 0.25])
    kinds = [points(0.2, 0.0, 1), points(0.4, 0.5, 1), points(0.8, 0.1, 1)]
    settings = ShadingSettings(rows=8, columns=8)
    scatter = scatter_points(weights.expand(rays, 3), random_numbers(rays, 64, seeded(1))[..., 0])
    chosen = scatter.sample.flatten()
    material = Surface(*(torch.cat(parts)[chosen] for parts in zip(*(kind.material for kind in kinds), strict=True)))
    where = SurfacePoints(
        torch.zeros(rays * 64, 3), kinds[0].view.expand(rays * 64, 3), NORMAL.expand(rays * 64, 3), material
    )
    numbers = uniform_numbers(rays, settings, seeded(2)).reshape(rays * 64, 1, 2)
    with torch.no_grad():
        values = outgoing_radiance(where, light, numbers, settings, secondary=half_shadow).reshape(rays, 64, 3)
        expected = sum(w * dense(kind, light, BrdfSettings()) for w, kind in zip(weights.double(), kinds, strict=True))
        within_interval(pixel_mean(scatter, values).double(), expected)


def test_no_direction_below_the_horizon_counts() -> None:
    settings = ShadingSettings(rows=4, columns=8)
    where = points(*MATTE, 2)
    behind = SurfacePoints(where.position, -where.normal, where.normal, where.material)
    found = outgoing_radiance(behind, LIGHTS["gaussians"](), uniform_numbers(2, settings, seeded()), settings)
    assert (found == 0).all()
