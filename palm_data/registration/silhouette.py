"""The soft silhouette: how opaque a mesh makes each pixel, differentiable in its vertices.

Liu et al., Soft Rasterizer (ICCV 2019), eq. 3: a face covers a pixel with probability sigmoid(−d²/σ), d² the squared
distance to the face's border, negative inside; the silhouette is 1 − Π(1 − p). As in PyTorch3D, faces further than
a blur radius do not count; unlike there, no face within it is left out, and the cost is that of the pixels near each
face, not of all pixels times all faces.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx

from palm_data.registration.silhouette_kernels import accumulate, differentiate

_CUTOFF = 1e-4  # probability at the blur radius, PyTorch3D's usual choice


def blur_radius(sigma: float) -> float:
    """Distance at which a face's probability has fallen to 1e-4, in the square root of σ's unit."""
    return math.sqrt(math.log(1.0 / _CUTOFF - 1.0) * sigma)


def sigma_px2(sigma_ndc: float, width: int, height: int) -> float:
    """PyTorch3D's σ (on its normalised coordinates, where the shorter side spans 2) in square pixels."""
    return sigma_ndc * (min(width, height) / 2) ** 2


class _SoftSilhouette(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, triangles: Tensor, width: int, height: int, sigma: float) -> Tensor:
        corners = triangles.detach().cpu().double().numpy()
        total = accumulate(corners, width, height, sigma, blur_radius(sigma))
        ctx.corners, ctx.total, ctx.sigma = corners, total, sigma  # type: ignore[attr-defined]
        return 1.0 - torch.from_numpy(total).neg().exp().to(triangles)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        result = differentiate(
            ctx.corners,
            ctx.total,
            gradient.detach().cpu().double().contiguous().numpy(),
            ctx.sigma,
            blur_radius(ctx.sigma),
        )
        return torch.from_numpy(result).to(gradient), None, None, None


def soft_silhouette(
    vertices_px: Float[Tensor, "vertices 2"], faces: Int[Tensor, "faces 3"], width: int, height: int, *, sigma: float
) -> Float[Tensor, "height width"]:
    """Opacity of each pixel in [0, 1] under the projected mesh.

    Args:
        vertices_px: projected vertices, pixel corners at integers; all must lie before the camera.
        sigma: softness, px².
    """
    opacity: Tensor = _SoftSilhouette.apply(vertices_px[faces], width, height, sigma)
    return opacity


def soft_silhouette_reference(
    vertices_px: Float[Tensor, "vertices 2"], faces: Int[Tensor, "faces 3"], width: int, height: int, *, sigma: float
) -> Float[Tensor, "height width"]:
    """The same by the definition, every face against every pixel: slow, plain, differentiable by autograd."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = (torch.stack([columns, rows], dim=-1) + 0.5).to(vertices_px).reshape(-1, 1, 2)
    corners = vertices_px[faces]
    distances, sides = [], []
    for edge in range(3):
        start, along = corners[:, edge], corners[:, (edge + 1) % 3] - corners[:, edge]
        t = (((pixels - start) * along).sum(dim=-1) / (along**2).sum(dim=-1)).clamp(0.0, 1.0)
        distances.append(((pixels - start - t[..., None] * along) ** 2).sum(dim=-1))
        offset = pixels - start
        sides.append(along[:, 0] * offset[..., 1] - along[:, 1] * offset[..., 0])
    side = torch.stack(sides)
    inside = (side > 0).all(dim=0) | (side < 0).all(dim=0)
    distance = torch.stack(distances).amin(dim=0) * torch.where(inside, -1.0, 1.0)
    x = torch.where(distance < blur_radius(sigma) ** 2, -distance / sigma, -torch.inf)
    return (1.0 - (-torch.nn.functional.softplus(x).sum(dim=1)).exp()).reshape(height, width)
