import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palm_model.prior.normals import autograd_gradient, carried_normals, tetrahedral_gradient, tetrahedron


def bumpy(points: torch.Tensor) -> torch.Tensor:
    return torch.sin(3.0 * points[..., 0]) * points[..., 1] + points[..., 2] ** 2


@given(st.integers(0, 1000))
def test_the_tetrahedron_is_exact_for_linear_fields(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    slope = torch.randn(3, generator=random, dtype=torch.float64)
    points = torch.randn(5, 3, generator=random, dtype=torch.float64)
    gradient = tetrahedral_gradient(tetrahedron(points, 0.3) @ slope + 2.0, 0.3)
    torch.testing.assert_close(gradient, slope.expand(5, 3))


def test_its_error_is_that_of_mixed_second_derivatives() -> None:
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, _, exact = autograd_gradient(lambda at: (bumpy(at), at), points)
    x, y = points[:, 0], points[:, 1]
    mixed = torch.stack([torch.zeros_like(x), torch.zeros_like(x), 3.0 * torch.cos(3.0 * x)], dim=-1) / 3.0**0.5
    for reach_m in (1e-3, 1e-4):
        error = tetrahedral_gradient(bumpy(tetrahedron(points, reach_m)), reach_m) - exact
        torch.testing.assert_close(error / reach_m, mixed, rtol=0, atol=20 * reach_m * float(y.abs().max()))
    reach = tetrahedron(points, 0.02) - points
    torch.testing.assert_close(torch.linalg.vector_norm(reach, dim=-1), torch.full((4, 50), 0.02, dtype=torch.float64))


def test_the_automatic_gradient_is_right_and_differentiable_once_more() -> None:
    points = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: autograd_gradient(lambda x: (bumpy(x), x), at)[2], points)
    with torch.no_grad():
        value, feature, gradient = autograd_gradient(lambda x: (bumpy(x), x), points)
    assert not any(one.requires_grad for one in (value, feature, gradient))


@given(st.integers(0, 1000))
def test_carried_normals_stand_on_carried_planes(seed: int) -> None:
    """Whatever the linear map, mirrored ones included, and unlike with the map itself."""
    random = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(6, 3, 3, generator=random, dtype=torch.float64)
    gradient = torch.randn(6, 3, generator=random, dtype=torch.float64)
    normal = carried_normals(gradient, jacobian)
    expected = torch.nn.functional.normalize(torch.linalg.solve(jacobian.mT, gradient[..., None])[..., 0], dim=-1)
    torch.testing.assert_close(normal, expected, rtol=1e-6, atol=1e-6)


def test_flattened_space_gives_numbers() -> None:
    flat = torch.diag(torch.tensor([1.0, 1.0, 0.0]))[None]
    normal = carried_normals(torch.tensor([[0.3, 0.2, 0.5]]), flat)
    assert normal[0].tolist() == pytest.approx([0.0, 0.0, 1.0])
