"""Linear triangulation (DLT) in normalised image coordinates, closed form and vectorised.

With x = K⁻¹ pixel, each view gives two equations in the point X: (x r₃ − r₁)·X = t₁ − x t₃ and its y twin, where
rᵢ, t are the rows of world_to_camera (Hartley & Zisserman, Multiple View Geometry, §12.2, inhomogeneous form). The
equations enter only through each view's 3×3 normal matrix, so that every subset of views is a sum of a few of them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def normal_equations(
    points_px: Float[Tensor, "items views 2"],
    intrinsics: Float[Tensor, "items views 3 3"],
    world_to_camera: Float[Tensor, "items views 4 4"],
) -> tuple[Float[Tensor, "items views 3 3"], Float[Tensor, "items views 3"]]:
    """Each view's contribution AᵀA and Aᵀb to the normal equations of its point."""
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], dim=-1)
    normalised = (points_px - intrinsics[..., :2, 2]) / focal
    rotation, translation = world_to_camera[..., :3, :3], world_to_camera[..., :3, 3]
    rows = normalised[..., None] * rotation[..., 2:3, :] - rotation[..., :2, :]
    right = translation[..., :2] - normalised * translation[..., 2:3]
    return rows.mT @ rows, torch.einsum("...rk,...r->...k", rows, right)


def solve_symmetric(matrix: Float[Tensor, "*batch 3 3"], right: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Solve 3×3 systems by the adjugate; a singular one gives NaN or infinity, never an error.

    A batched LAPACK call costs more than these few products, and raises for the whole batch on one singular item.
    """
    first, second, third = matrix.unbind(dim=-1)
    cofactors = torch.stack(
        [
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ],
        dim=-2,
    )
    determinant = (first * cofactors[..., 0, :]).sum(dim=-1)
    return torch.einsum("...ij,...j->...i", cofactors, right) / determinant[..., None]


def triangulate_dlt(
    points_px: Float[Tensor, "items views 2"],
    intrinsics: Float[Tensor, "items views 3 3"],
    world_to_camera: Float[Tensor, "items views 4 4"],
    weights: Float[Tensor, "items views"],
) -> Float[Tensor, "items 3"]:
    """Triangulate each item from the views with a positive weight, in metres.

    An item with fewer than two such views has no solution and comes back as NaN.

    Args:
        points_px: undistorted pixels; masked ones may hold any finite value.
        weights: of each view's equations; 0 leaves the view out.
    """
    matrices, rights = normal_equations(points_px, intrinsics, world_to_camera)
    matrix = torch.einsum("nv,nvij->nij", weights, matrices)
    right = torch.einsum("nv,nvi->ni", weights, rights)
    points = solve_symmetric(matrix, right)
    solvable: Bool[Tensor, " items"] = (weights > 0).sum(dim=1) >= 2
    return torch.where(solvable[:, None], points, torch.nan)
