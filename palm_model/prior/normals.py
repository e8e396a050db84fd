"""The SDF's gradient in canonical space, and the normal that it gives in the world."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_TETRAHEDRON = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


def tetrahedron(points: Float[Tensor, "n 3"], reach_m: float) -> Float[Tensor, "4 n 3"]:
    """The corners of a regular tetrahedron about each point, `reach_m` from it."""
    corners = points.new_tensor(_TETRAHEDRON) * (reach_m / math.sqrt(3.0))
    return points + corners[:, None]


def tetrahedral_gradient(values: Float[Tensor, "4 n"], reach_m: float) -> Float[Tensor, "n 3"]:
    """The gradient from values at those corners: exact for linear functions.

    Σ v vᵀ = 4/3 I over the four unit corners v, so ∇s ≈ 3/(4 ε) Σ s(x + ε v) v. A tetrahedron has no corner opposite
    to another, so mixed second derivatives leave an error: ∂²s/∂y∂z ε/√3 in x, and so on round.
    """
    corners = values.new_tensor(_TETRAHEDRON) * (math.sqrt(3.0) / (4.0 * reach_m))
    return torch.einsum("kn,kx->nx", values, corners)


def tetrahedral_laplacian(
    centre: Float[Tensor, "n"], values: Float[Tensor, "4 n"], reach_m: float
) -> Float[Tensor, "n"]:
    """∇²s, 1/m, from values at points and at those corners: their mean is s + ε²/6 ∇²s, up to third derivatives.

    Autograd would find zero: a linearly interpolated grid has no second derivative.
    """
    return (values.mean(dim=0) - centre) * (6.0 / reach_m**2)


def autograd_gradient(
    field: Callable[[Float[Tensor, "n 3"]], tuple[Float[Tensor, "n"], Float[Tensor, "n f"]]],
    points: Float[Tensor, "n 3"],
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n f"], Float[Tensor, "n 3"]]:
    """A field's value and features at points, and the value's gradient there, itself differentiable where gradients are on."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        at = points if points.requires_grad else points.detach().requires_grad_()
        value, feature = field(at)
        (gradient,) = torch.autograd.grad(value.sum(), at, create_graph=further)
    return (value, feature, gradient) if further else (value.detach(), feature.detach(), gradient)


def carried_normals(gradient: Float[Tensor, "n 3"], jacobian: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Unit normals in the world, J⁻ᵀ ∇s normalised, from gradients in canonical space.

    By J's cofactors, which are J⁻ᵀ det J: where space is folded flat they still are numbers.

    Args:
        jacobian: ∂ world / ∂ canonical.
    """
    x, y, z = jacobian.unbind(dim=-2)
    yz = torch.linalg.cross(y, z)
    cofactors = torch.stack([yz, torch.linalg.cross(z, x), torch.linalg.cross(x, y)], dim=-2)
    side = torch.where((x * yz).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
    return torch.nn.functional.normalize(side * torch.einsum("nij,nj->ni", cofactors, gradient), dim=-1)
