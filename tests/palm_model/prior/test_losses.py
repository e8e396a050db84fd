import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional

from palm_model.prior import losses
from palm_model.prior.normals import tetrahedral_laplacian, tetrahedron

DOUBLE = torch.float64


def numbers(*shape: int, seed: int = 0, gradient: bool = False) -> Tensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    return values.requires_grad_(gradient)


def unit_vectors(count: int, seed: int = 0) -> Tensor:
    values = torch.randn((count, 3), generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    return functional.normalize(values, dim=-1)


def official_normal_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """What the authors' code compares: normals moved into [0, 1] and scaled to unit length again."""
    first, second = (functional.normalize((normals + 1) / 2, dim=-1) for normals in (predicted, target))
    return (first - second).abs().sum(dim=-1).mean()


def test_colour_is_the_l1_of_torch() -> None:
    first, second = numbers(7, 3), numbers(7, 3, seed=1)
    assert losses.colour(first, second).item() == pytest.approx(functional.l1_loss(first, second).item())


def test_rays_that_hit_nothing_count_in_the_colour() -> None:
    """The authors' code averages over rays with opacity only: a hand that is missing altogether cost no colour."""
    background = torch.zeros(4, 3)
    background.requires_grad_()
    target = torch.tensor([[0.8] * 3, [0.8] * 3, [0.0] * 3, [0.0] * 3])
    loss = losses.colour(background, target)
    loss.backward()
    assert loss.item() == pytest.approx(0.4)
    assert background.grad is not None
    assert (background.grad[:2] < 0).all()


def test_colours_that_are_not_known_do_not_count_nor_do_their_numbers_leak() -> None:
    predicted = numbers(4, 3, gradient=True)
    target = numbers(4, 3, seed=1)
    target[1] = math.nan
    known = torch.tensor([True, False, True, True])
    loss = losses.colour(predicted, target, known)
    assert loss.item() == pytest.approx((predicted - target)[known].abs().mean().item())
    loss.backward()
    assert predicted.grad is not None
    assert (predicted.grad[1] == 0).all()
    assert torch.isfinite(predicted.grad).all()
    assert losses.colour(predicted, target, torch.zeros(4, dtype=torch.bool)).item() == 0.0


def test_normals_are_compared_as_unit_vectors() -> None:
    predicted, target = unit_vectors(50), unit_vectors(50, seed=1)
    expected = (predicted - target).abs().sum(dim=-1).mean().item()
    assert losses.normal(predicted, target).item() == pytest.approx(expected)
    assert losses.normal(0.25 * predicted, 3.0 * target).item() == pytest.approx(expected)


def test_a_normal_and_its_opposite_are_not_the_same() -> None:
    """In the authors' encoding (1, 1, 1)/√3 and −(1, 1, 1)/√3 fall on one direction, and other angles shrink."""
    slanted = torch.full((1, 3), 1 / math.sqrt(3), dtype=DOUBLE)
    assert official_normal_loss(slanted, -slanted).item() == pytest.approx(0.0, abs=1e-12)
    assert losses.normal(slanted, -slanted).item() == pytest.approx(2 * math.sqrt(3))
    across = torch.tensor([[1.0, 0.0, 0.0]], dtype=DOUBLE)
    turned = torch.tensor([[math.cos(0.5), math.sin(0.5), 0.0]], dtype=DOUBLE)
    assert official_normal_loss(across, turned) < 0.75 * losses.normal(across, turned)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_smaller_the_angle_the_smaller_the_normal_loss_along_an_arc(seed: int) -> None:
    start, other = unit_vectors(2, seed)
    side = functional.normalize(other - (other @ start) * start, dim=0)
    angles = torch.linspace(0.0, math.pi, 20, dtype=DOUBLE)[:, None]
    apart = [losses.normal((a.cos() * start + a.sin() * side)[None], start[None]).item() for a in angles]
    # Every arc's loss lies between the chord and √3 times it: no two directions are confused.
    for angle, value in zip(angles[:, 0].tolist(), apart, strict=True):
        chord = 2 * math.sin(angle / 2)
        assert chord - 1e-9 <= value <= math.sqrt(3) * chord + 1e-9


def test_normals_that_are_missing_do_not_count() -> None:
    predicted = unit_vectors(5).requires_grad_()
    hit = torch.tensor([[1.0], [1.0], [1.0], [1.0], [0.0]], dtype=DOUBLE)
    target = unit_vectors(5, seed=1)
    target[0] = math.nan
    target[1] = 0.0
    counted = torch.tensor([True, True, False, True, True])
    loss = losses.normal(predicted * hit, target, counted)
    assert loss.item() == pytest.approx((predicted[3] - target[3]).abs().sum().item())
    loss.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[[0, 1, 2, 4]] == 0).all()


def test_no_normals_at_all_are_no_loss_and_not_nan() -> None:
    """The authors' mean of nothing was NaN."""
    predicted = unit_vectors(3).requires_grad_()
    loss = losses.normal(predicted, torch.full((3, 3), math.nan, dtype=DOUBLE))
    loss.backward()
    assert loss.item() == 0.0
    assert predicted.grad is not None
    assert (predicted.grad == 0).all()


def test_segmentation_is_the_cross_entropy_of_torch() -> None:
    opacity, mask = numbers(20), numbers(20, seed=1) > 0.5
    expected = functional.binary_cross_entropy(0.001 + 0.998 * opacity, mask.to(DOUBLE))
    assert losses.segmentation(opacity, mask).item() == pytest.approx(expected.item())
    assert losses.segmentation(mask.to(DOUBLE), mask).item() == pytest.approx(-math.log(0.999))


def test_a_ray_that_misses_the_hand_altogether_is_drawn_to_it() -> None:
    """Cut off at 0.001, as in the authors' code, it had no gradient."""
    opacity = torch.tensor([0.0, 1.0, 1.0 + 1e-6], requires_grad=True)
    losses.segmentation(opacity, torch.tensor([True, False, False])).backward()
    assert opacity.grad is not None
    assert opacity.grad[0] < -300
    assert (opacity.grad[1:] > 300).all()


def test_segmentation_of_halves_is_finite() -> None:
    opacity = torch.tensor([0.0, 1.0], dtype=torch.float16)
    assert losses.segmentation(opacity, torch.tensor([True, False])).item() == pytest.approx(math.log(1000), rel=1e-3)


def test_eikonal_is_zero_for_a_distance_and_known_for_its_multiple() -> None:
    directions = unit_vectors(30)
    assert losses.eikonal(directions).item() == pytest.approx(0.0, abs=1e-30)
    assert losses.eikonal(1.5 * directions).item() == pytest.approx(0.25)


def test_eikonal_at_a_vanishing_gradient_is_one_with_a_finite_gradient() -> None:
    flat = torch.zeros(2, 3, requires_grad=True)
    loss = losses.eikonal(flat)
    loss.backward()
    assert loss.item() == 1.0
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_the_latent_term_is_the_squared_norm() -> None:
    codes = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert losses.latent(codes).item() == 13.0


@given(st.floats(-math.pi, math.pi), st.floats(-1.0, 1.0), st.floats(0.0, 0.999))
def test_neighbours_lie_a_step_away_in_the_tangent_plane(turn: float, height: float, uniform: float) -> None:
    flat = math.sqrt(1 - height**2)
    normals = torch.tensor([[flat * math.cos(turn), flat * math.sin(turn), height]], dtype=DOUBLE)
    points = torch.zeros(1, 3, dtype=DOUBLE)
    moved = losses.tangent_neighbours(points, normals, torch.tensor([uniform], dtype=DOUBLE), 0.01)
    assert moved.norm().item() == pytest.approx(0.01)
    assert (moved * normals).sum().item() == pytest.approx(0.0, abs=1e-9)


def test_directions_in_the_tangent_plane_are_even() -> None:
    normals = unit_vectors(1).expand(8, 3)
    moved = losses.tangent_neighbours(torch.zeros(8, 3, dtype=DOUBLE), normals, torch.arange(8, dtype=DOUBLE) / 8, 1.0)
    assert moved.sum(dim=0).abs().max() < 1e-12
    between = (moved * moved.roll(1, dims=0)).sum(dim=-1)
    assert torch.allclose(between, torch.full_like(between, math.cos(math.pi / 4)))


@pytest.mark.parametrize("step_m", [1e-5, 1e-3])
def test_the_curvature_of_a_sphere_is_its_closed_form(step_m: float) -> None:
    radius, normals = 0.008, unit_vectors(40)
    points = radius * normals
    moved = losses.tangent_neighbours(points, normals, numbers(40), step_m)
    found = losses.tangent_curvature(normals, functional.normalize(moved, dim=-1))
    assert found.item() == pytest.approx(math.atan(step_m / radius) / math.pi, rel=1e-9)


def test_small_angles_survive_single_precision() -> None:
    """The arc cosine of a single-precision dot product has steps of 0.3 mrad and an infinite slope at its end."""
    angle = 1e-4
    first = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    second = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]])
    found = losses.tangent_curvature(first, second)
    assert found.item() * math.pi == pytest.approx(angle, rel=1e-4)
    same = losses.tangent_curvature(first, first.detach())
    same.backward()
    assert same.item() == 0.0
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()


def test_opposite_normals_are_the_largest_curvature() -> None:
    first = unit_vectors(3)
    assert losses.tangent_curvature(first, -first).item() == pytest.approx(1.0)


def _laplacian(field: Callable[[Tensor], Tensor], points: Tensor, reach_m: float) -> Tensor:
    return tetrahedral_laplacian(field(points), field(tetrahedron(points, reach_m)), reach_m)


def test_the_laplacian_of_a_sphere_is_twice_its_curvature() -> None:
    points = 0.02 * unit_vectors(30)
    found = _laplacian(lambda at: at.norm(dim=-1) - 0.02, points, 1e-4)
    assert torch.allclose(found, torch.full_like(found, 2 / 0.02), rtol=2e-2)


def test_the_laplacian_of_a_quadratic_is_exact_and_of_a_plane_none() -> None:
    form = numbers(3, 3, seed=3)
    points = numbers(10, 3)
    assert torch.allclose(_laplacian(lambda at: ((at @ form) * at).sum(-1), points, 1e-2), 2 * form.trace())
    assert _laplacian(lambda at: at @ form[0], points, 1e-2).abs().max() < 1e-10


def test_the_laplacian_agrees_with_autograd() -> None:
    points = numbers(6, 3, gradient=True)

    def field(at: Tensor) -> Tensor:
        return torch.sin(3 * at[..., 0]) * at[..., 1] + at[..., 2] ** 3

    (slope,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
    exact = sum(torch.autograd.grad(slope[:, axis].sum(), points, retain_graph=True)[0][:, axis] for axis in range(3))
    assert torch.allclose(_laplacian(field, points.detach(), 1e-4), exact, rtol=1e-3, atol=1e-3)


def test_both_smoothness_terms_give_a_sphere_the_same_value() -> None:
    radius, step_m = 0.02, 1e-5
    normals = unit_vectors(20)
    moved = losses.tangent_neighbours(radius * normals, normals, numbers(20), step_m)
    curvature = losses.tangent_curvature(normals, functional.normalize(moved, dim=-1))
    laplacian = losses.sdf_laplacian(torch.full((20,), 2 / radius, dtype=DOUBLE), step_m)
    assert curvature.item() == pytest.approx(laplacian.item(), rel=1e-5)


def test_relative_smoothness_knows_no_brightness() -> None:
    first, second = 0.1 + numbers(9, 4), 0.1 + numbers(9, 4, seed=1)
    loss = losses.relative_smoothness(first, second)
    assert loss.item() == pytest.approx(losses.relative_smoothness(7 * first, 7 * second).item())
    assert losses.relative_smoothness(torch.tensor([[0.5]]), torch.tensor([[0.25]])).item() == 0.5
    assert losses.relative_smoothness(torch.zeros(2, 1), torch.zeros(2, 1)).item() == 0.0


def test_gradients_are_right() -> None:
    target, mask = numbers(4, 3, seed=1), torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=DOUBLE)
    normals, others = unit_vectors(4).requires_grad_(), unit_vectors(4, seed=1).requires_grad_()
    points = numbers(4, 3, seed=5, gradient=True)
    assert gradcheck(lambda x: losses.colour(x, target), (numbers(4, 3, gradient=True),))
    assert gradcheck(lambda x: losses.normal(x, others.detach()), (normals,))
    assert gradcheck(lambda x: losses.segmentation(x, mask), (0.05 + 0.9 * numbers(4, gradient=True),))
    assert gradcheck(losses.eikonal, (points,))
    assert gradcheck(losses.latent, (points,))
    assert gradcheck(losses.tangent_curvature, (normals, others))
    assert gradcheck(
        lambda centre, corners: losses.sdf_laplacian(tetrahedral_laplacian(centre, corners, 0.5), 1.0),
        (numbers(4, seed=7, gradient=True), 2 + numbers(4, 4, seed=6, gradient=True)),
    )
    assert gradcheck(losses.relative_smoothness, (points, 0.5 + numbers(4, 3, seed=8, gradient=True)))
    assert gradcheck(lambda x: losses.tangent_neighbours(x, others.detach(), numbers(4), 0.1), (points,))
