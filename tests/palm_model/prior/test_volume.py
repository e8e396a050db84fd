import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_model.prior.volume import composite, importance_distances, interval_weights, render_weights, stratified
from tests.palm_model.prior.surfaces import laplace_density


def random_intervals(rays: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Densities, starts and ends with gaps between intervals, in double precision."""
    random = torch.Generator().manual_seed(seed)
    ends = torch.rand(rays, 2 * count, generator=random, dtype=torch.float64).sort(dim=-1).values
    return 20.0 * torch.rand(rays, count, generator=random, dtype=torch.float64), ends[:, ::2], ends[:, 1::2]


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 10_000))
def test_weights_are_those_of_compositing_one_by_one(rays: int, count: int, seed: int) -> None:
    density, starts, ends = random_intervals(rays, count, seed)
    weights = render_weights(density, starts, ends)
    for ray in range(rays):
        left = 1.0
        for at in range(count):
            alpha = 1.0 - math.exp(-float(density[ray, at] * (ends[ray, at] - starts[ray, at])))
            assert float(weights[ray, at]) == pytest.approx(left * alpha, abs=1e-12)
            left *= 1.0 - alpha
        assert 1.0 - float(weights[ray].sum()) == pytest.approx(left, abs=1e-12)


def test_in_constant_density_light_fades_exponentially() -> None:
    density, length, count = 7.0, 0.4, 32
    ends = torch.linspace(0.0, length, count + 1)
    weights = render_weights(torch.full((1, count), density), ends[None, :-1], ends[None, 1:])
    expected = torch.exp(-density * ends[:-1]) - torch.exp(-density * ends[1:])
    torch.testing.assert_close(weights[0], expected, rtol=1e-5, atol=1e-7)
    assert 1.0 - float(weights.sum()) == pytest.approx(math.exp(-density * length), rel=1e-5)


@pytest.mark.parametrize("cosine", [1.0, 0.4])
def test_a_plane_of_soft_surface_has_its_closed_form(cosine: float) -> None:
    """Optical depth of Laplace density along a ray that meets the plane s = 0 at an angle and ends at depth −d."""
    beta, before, behind = 0.002, 0.03, 0.004
    ends = torch.linspace(before, -behind, 20_001, dtype=torch.float64)
    middle, width = 0.5 * (ends[1:] + ends[:-1]), (ends[:-1] - ends[1:]) / cosine
    weights = interval_weights(laplace_density(middle, beta)[None], width[None])
    outside = (1.0 - math.exp(-before / beta)) / 2.0
    inside = behind / beta - (1.0 - math.exp(-behind / beta)) / 2.0
    assert 1.0 - float(weights.sum()) == pytest.approx(math.exp(-(outside + inside) / cosine), rel=1e-5)


@given(st.floats(0.1, 1e6), st.integers(0, 1000))
def test_shares_are_shares_at_any_density(scale: float, seed: int) -> None:
    density, starts, ends = random_intervals(3, 10, seed)
    weights = render_weights((scale * density).float(), starts.float(), ends.float())
    assert (weights >= 0).all()
    assert (weights.sum(dim=-1) <= 1.0 + 1e-6).all()


def test_an_interval_without_width_changes_nothing() -> None:
    density = torch.tensor([[3.0, 1e9, 5.0]])
    width = torch.tensor([[0.1, 0.0, 0.2]])
    weights = interval_weights(density, width)
    assert float(weights[0, 1]) == 0.0
    torch.testing.assert_close(weights[:, [0, 2]], interval_weights(density[:, [0, 2]], width[:, [0, 2]]))


def test_gradients_of_weights_and_of_composited_values_are_right() -> None:
    density, starts, ends = random_intervals(2, 5, 3)
    values = torch.rand(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def colour(sigma: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        return composite(render_weights(sigma, starts, ends), shown)

    assert torch.autograd.gradcheck(colour, (density.requires_grad_(), values.requires_grad_()))


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_drawn_distances_follow_the_weights_and_the_background_keeps_its_share(seed: int) -> None:
    density, starts, ends = random_intervals(1, 6, seed)
    weights = render_weights(density, starts, ends)
    uniform = stratified(torch.full((1, 20_000), 0.5, dtype=torch.float64))
    drawn, background = importance_distances(weights, starts, ends, uniform)
    assert float(background.double().mean()) == pytest.approx(1.0 - float(weights.sum()), abs=1e-3)
    kept = drawn[~background]
    for at in range(6):
        inside = (kept >= starts[0, at]) & (kept <= ends[0, at])
        assert float(inside.sum()) / 20_000 == pytest.approx(float(weights[0, at]), abs=1e-3)
        if inside.sum() > 200:  # evenly within
            middle = 0.5 * float(starts[0, at] + ends[0, at])
            assert float(kept[inside].mean()) == pytest.approx(middle, abs=2e-2 * float(ends[0, at] - starts[0, at]))


def test_a_ray_that_meets_nothing_sends_every_draw_to_the_background() -> None:
    starts = torch.tensor([[0.1, 0.2]])
    _, background = importance_distances(torch.zeros(1, 2), starts, starts + 0.1, torch.tensor([[0.0, 0.5, 0.999]]))
    assert background.all()
