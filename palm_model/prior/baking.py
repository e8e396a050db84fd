"""The material network's answers as textures of a hand: albedo, roughness and metallic, without any light."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from palm_data.maps.zbuffer import rasterize
from palm_model.prior.atlas import Atlas
from palm_model.prior.colour import srgb
from palm_model.prior.fitted_hand import FittedHand
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses
from schemas.errors import SettingsError

_PART = 1 << 16
_FARTHEST_M = 0.001
"""What a texel moves at most, from the triangle onto the surface that it stands for."""


@dataclass(frozen=True, eq=False)
class Textures:
    """Two square pictures, row 0 at v = 0, as glTF's metallic-roughness material has them."""

    base_colour: UInt8[ndarray, "s s 3"]
    """Albedo, sRGB-encoded."""
    metallic_roughness: UInt8[ndarray, "s s 3"]
    """Linear: green is the roughness √α, blue metallic; red is not used, and full."""
    covered: Bool[ndarray, "s s"]
    """Texels whose centre lies on a triangle; the others have the nearest such texel's values."""


def bake(network: PalmNet, poses: Poses, hand: FittedHand, *, size: int = 1024) -> Textures:
    """Ask the material network at every texel, on the SDF's zero level.

    Each texel's point on its triangle takes one Newton step x − s ∇s/|∇s|², a millimetre at most. Roughness: glTF
    squares it for GGX's α (glTF 2.0, appendix B.3), so √α is stored.

    Args:
        poses: one row, that of the fitted hand.
        size: texels along a side.

    Raises:
        SettingsError: if the prior has no material network.
        GeometryError: if the texture is larger than the rasteriser draws.
    """
    if size < 1:
        raise SettingsError(f"texture: expected a side of at least 1 texel, found {size}.")
    covered, points = texel_points(hand.atlas, hand.mesh.vertices, hand.mesh.faces, size)
    parts = [_asked(network, part.to(poses.bones), poses) for part in torch.from_numpy(points).split(_PART)]
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    pictures = []
    for values in (torch.cat([one[channel] for one in parts]) for channel in range(2)):
        picture = np.zeros((size, size, 3), np.uint8)
        picture[covered] = (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
        pictures.append(np.ascontiguousarray(picture[tuple(nearest)]))
    return Textures(pictures[0], pictures[1], covered)


def texel_points(
    atlas: Atlas, vertices: Float[ndarray, "v 3"], faces: ndarray, size: int
) -> tuple[Bool[ndarray, "s s"], Float[ndarray, "n 3"]]:
    """Which texels' centres triangles cover, and where these are on them, row by row.

    Raises:
        GeometryError: if the texture is larger than the rasteriser draws.
    """
    flat = np.column_stack([atlas.uv.astype(np.float64) * size, np.ones(len(atlas.uv))])
    drawn = rasterize(flat, atlas.faces.astype(np.int32), np.eye(3), size, size)
    covered = drawn.face_id >= 0
    corners = vertices[faces[drawn.face_id[covered]]]
    return covered, np.einsum("nk,nkx->nx", drawn.barycentric[covered], corners).astype(np.float32)


@torch.no_grad()
def _asked(
    network: PalmNet, points: Float[Tensor, "n 3"], poses: Poses
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """The stored numbers, 0 to 1, of points near the surface."""
    row = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    at = network.signed_distance(points, row, poses, gradient=True)
    step = -at.sdf[:, None] * at.gradient / at.gradient.square().sum(dim=-1, keepdim=True).clamp(min=1e-6)
    step *= (_FARTHEST_M / torch.linalg.vector_norm(step, dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
    found = network.materials(points + step, row, poses)
    rough = torch.stack([torch.ones_like(found.alpha), found.alpha.clamp(min=0.0).sqrt(), found.metallic], dim=-1)
    return srgb(found.albedo), rough
