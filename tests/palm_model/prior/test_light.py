import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palm_model.prior.directions import (
    fibonacci_sphere,
    frame,
    from_frame,
    into_frame,
    random_numbers,
    stratified_numbers,
    uniform_sphere,
)
from palm_model.prior.light import SphericalGaussians, lobe_integral
from schemas.errors import BadInputError
from schemas.prior_pbr import GaussianLightSettings
from tests.palm_model.prior.sphere_grid import random_directions, sphere, within_interval


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coloured(seed: int = 1, lobes: int = 8) -> SphericalGaussians:
    """Lobes of all widths and colours, with signs that do not count."""
    numbers = torch.randn(lobes, 7, generator=seeded(seed))
    numbers[:, 3] = -(10.0 ** torch.linspace(-5, 2.3, lobes))
    return SphericalGaussians(numbers)


@given(st.integers(0, 10**6))
def test_frames_are_right_handed_and_turn_back(seed: int) -> None:
    normal = random_directions(5, seed)
    normal[0], normal[1] = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0])
    tangent, other = frame(normal)
    assert torch.allclose(torch.linalg.cross(tangent, other), normal, atol=1e-12)
    local = random_directions(5, seed + 1)
    assert torch.allclose(into_frame(from_frame(local, normal), normal), local, atol=1e-12)


def test_stratified_numbers_fill_every_cell_once_in_an_order_of_their_own() -> None:
    numbers = stratified_numbers(3, 4, 8, seeded())
    cells = (numbers[..., 0] * 4).long() * 8 + (numbers[..., 1] * 8).long()
    assert (cells.sort(dim=1).values == torch.arange(32)).all()
    assert not torch.equal(cells[0], cells[1])
    assert torch.equal(numbers, stratified_numbers(3, 4, 8, seeded()))
    assert random_numbers(2, 5, seeded()).shape == (2, 5, 2)


def test_uniform_directions_are_uniform() -> None:
    directions = uniform_sphere(stratified_numbers(400, 16, 32, seeded()))
    second = (directions[..., :, None] * directions[..., None, :]).mean(dim=1)
    within_interval(directions.mean(dim=1), torch.zeros(3))
    within_interval(second.reshape(-1, 9), torch.eye(3).flatten() / 3.0)


@pytest.mark.parametrize("sharpness", [0.0, 1e-6, 1e-3, 1.0, 30.0, 1e4])
def test_a_lobes_integral_is_that_of_quadrature(sharpness: float) -> None:
    away = torch.linspace(0.0, min(2.0, 60.0 / max(sharpness, 1e-9)), 200_001, dtype=torch.float64)
    dense = 2.0 * math.pi * torch.trapezoid(torch.exp(-sharpness * away), away)
    assert float(lobe_integral(torch.tensor(sharpness))) == pytest.approx(float(dense), rel=2e-6)


def test_the_light_starts_grey_with_the_published_energy_and_no_axis_twice() -> None:
    light = SphericalGaussians.start(GaussianLightSettings(), seeded())
    assert light.lobes.shape == (64, 7)
    apart = (light.axes @ light.axes.T).fill_diagonal_(-1.0)
    assert apart.max() < math.cos(math.radians(15))  # the published code has every axis twice
    assert torch.allclose(light.energy(), torch.full((3,), 0.8 * 2.0 * math.pi), rtol=1e-5)
    assert light.sharpness.min() >= 10.0
    assert torch.equal(light.amplitude[:, 0], light.amplitude[:, 2])
    assert torch.equal(light.lobes, SphericalGaussians.start(GaussianLightSettings(), seeded()).lobes)


def test_fibonacci_axes_cover_the_sphere() -> None:
    nearest = (random_directions(500, 0, torch.float32) @ fibonacci_sphere(64).T).max(dim=1).values
    assert nearest.min() > math.cos(math.radians(20))


def test_radiance_and_energy_are_the_sum_of_the_lobes() -> None:
    light = coloured()
    grid = sphere()
    rows = light.lobes.detach().double()
    expected = torch.zeros(len(grid.directions), 3, dtype=torch.float64)
    for row in rows:
        axis = row[:3] / row[:3].norm()
        expected += row[4:].abs() * torch.exp(row[3].abs() * (grid.directions @ axis - 1.0))[:, None]
    found = light(grid.directions.float()).detach()
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-6)
    assert torch.allclose(light.energy().double(), (expected * grid.solid[:, None]).sum(dim=0), rtol=1e-3)


def test_the_light_can_be_sampled_with_its_exact_density() -> None:
    """The published SG light has neither samples nor a density."""
    light = coloured()
    directions, pdf = light.sample(random_numbers(1, 60_000, seeded())[0])
    assert torch.allclose(directions.norm(dim=1), torch.ones(60_000), atol=1e-5)
    assert torch.allclose(pdf, light.pdf(directions), rtol=1e-5)
    grid = sphere()
    density = light.pdf(grid.directions.float()).double() * grid.solid
    assert float(density.sum()) == pytest.approx(1.0, abs=1e-3)
    moments = torch.cat([directions, directions**2, directions.prod(dim=1, keepdim=True)], dim=1).double()
    square = torch.cat([grid.directions, grid.directions**2, grid.directions.prod(dim=1, keepdim=True)], dim=1)
    within_interval(moments, (square * density[:, None]).sum(dim=0))
    within_interval(light(directions).detach() / pdf[:, None], light.energy().detach())


def test_grey_light_is_sampled_in_exact_proportion() -> None:
    light = SphericalGaussians.start(GaussianLightSettings(lobes=16), seeded(5))
    directions, pdf = light.sample(random_numbers(1, 1000, seeded())[0])
    assert torch.allclose(light(directions) / pdf[:, None], light.energy().expand(1000, 3), rtol=1e-3)


def test_a_sharp_lobe_keeps_its_width() -> None:
    light = SphericalGaussians(torch.tensor([[0.3, -0.5, 0.8, 2e4, 1.0, 1.0, 1.0]]))
    directions, _ = light.sample(random_numbers(1, 20_000, seeded())[0])
    distance = (directions - light.axes).square().sum(dim=1) / 2.0  # 1 − cosine, exponential with mean 1/λ
    within_interval(distance[:, None].double().detach() * 2e4, torch.ones(1, dtype=torch.float64), sigmas=5.0)


def test_every_number_of_a_lobe_can_be_learned() -> None:
    light = coloured(lobes=3).double()
    directions = random_directions(6, 2)

    def seen(lobes: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(light, {"lobes": lobes}, (directions,))

    lobes = light.lobes.detach().clone()
    lobes[:, 3] = torch.tensor([-2.0, 5.0, 0.7])
    assert torch.autograd.gradcheck(seen, (lobes.requires_grad_(),))
    seen(lobes).sum().backward()
    assert lobes.grad is not None
    assert (lobes.grad.abs().sum(dim=0) > 0).all()


def test_a_dark_light_samples_evenly_and_stays_finite() -> None:
    light = SphericalGaussians(torch.cat([fibonacci_sphere(4), torch.zeros(4, 4)], dim=1))
    directions, pdf = light.sample(random_numbers(1, 4000, seeded())[0])
    assert torch.allclose(pdf, torch.full_like(pdf, 1.0 / (4.0 * math.pi)), rtol=1e-4)
    within_interval(directions.double(), torch.zeros(3, dtype=torch.float64))
    assert (light(directions) == 0).all()


@pytest.mark.parametrize("lobes", [torch.ones(3, 6), torch.ones(0, 7), torch.full((2, 7), math.nan), torch.zeros(2, 7)])
def test_what_is_no_lobe_is_refused(lobes: torch.Tensor) -> None:
    with pytest.raises(BadInputError, match="rows of 7 finite numbers"):
        SphericalGaussians(lobes)
