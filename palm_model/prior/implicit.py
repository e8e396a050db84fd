"""The gradients of canonical points: implicit differentiation at a root, in place of the search's own steps."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from palm_model.prior import skinning_kernels
from palm_model.prior.skinning import skin_with_jacobian
from palm_model.prior.skinning_arrays import Gradients, kernel_fields
from palm_model.prior.skinning_grid import SkinningGrids


def implicit_points(
    grids: SkinningGrids,
    canonical: Float[Tensor, "m 3"],
    points: Float[Tensor, "m 3"],
    bones: Float[Tensor, "p 16 4 4"],
    pose: Int[Tensor, "m"],
) -> Float[Tensor, "m 3"]:
    """The roots `canonical` of the world `points`, with gradients with respect to the points and the bones.

    Where space is folded (|det J| below 0.01) a root has no usable derivative, and passes no gradient.
    """
    moving: Float[Tensor, "m 3"] = _Implicit.apply(points, bones, canonical.detach(), _Where(pose, grids))
    return moving


class _Where(NamedTuple):
    """Whose points they are."""

    pose: Int[Tensor, "m"]
    grids: SkinningGrids


class _Implicit(torch.autograd.Function):
    """d(x, B) = x_d at the root, so dx = J⁻¹ (dx_d − Σ w_i dB_i x) with J = ∂d/∂x; once differentiable."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, bones: Tensor, canonical: Tensor, where: _Where) -> Tensor:
        del points
        ctx.save_for_backward(bones, canonical)
        ctx.where = where
        return canonical.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        bones, canonical = ctx.saved_tensors
        compiled = canonical.device.type == "cpu" and canonical.dtype == torch.float32
        by_point, by_bone = (_compiled if compiled else _plain)(ctx.where, bones, canonical, gradient)
        return by_point, by_bone, None, None


def _plain(
    where: _Where, bones: Tensor, canonical: Tensor, gradient: Tensor
) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "p 16 4 4"]]:
    """J⁻ᵀ g, and for each bone −Σ w J⁻ᵀ g (x, 1)ᵀ over the points of its pose."""
    skinned = skin_with_jacobian(where.grids, bones, canonical, where.pose)
    regular = torch.linalg.det(skinned.jacobian).abs() > skinning_kernels.FOLDED
    identity = torch.eye(3, dtype=canonical.dtype, device=canonical.device)
    jacobian = torch.where(regular[:, None, None], skinned.jacobian, identity)
    by_point = torch.linalg.solve(jacobian.mT, gradient[..., None])[..., 0] * regular[:, None]
    lever = torch.cat([canonical, torch.ones_like(canonical[:, :1])], dim=1)
    moments = (by_point[:, :, None] * lever[:, None, :]).flatten(1)
    by_bone = torch.zeros_like(bones)
    for row in range(len(bones)):  # one product a pose: sums in one order, also where scattered sums have none
        own = skinned.weights * (where.pose == row)[:, None]
        by_bone[row, :, :3] = -(own.mT @ moments).unflatten(1, (3, 4))
    return by_point, by_bone


def _compiled(
    where: _Where, bones: Tensor, canonical: Tensor, gradient: Tensor
) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "p 16 4 4"]]:
    by_point = torch.empty_like(canonical)
    by_bone = np.zeros((len(bones), 3, 4, bones.shape[1]))
    skinning_kernels.implicit_gradients(
        canonical.contiguous().numpy(),
        where.pose.contiguous().numpy(),
        kernel_fields(where.grids, bones),
        gradient.contiguous().numpy(),
        Gradients(by_point.numpy(), by_bone),
    )
    all_rows = torch.zeros_like(bones)
    all_rows[:, :, :3] = torch.from_numpy(by_bone).permute(0, 3, 1, 2)
    return by_point, all_rows
