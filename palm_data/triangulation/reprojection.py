"""Pinhole reprojection and its derivatives, for many items and views at once."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_camera(
    points: Float[Tensor, "items points 3"], world_to_camera: Float[Tensor, "items views 4 4"]
) -> Float[Tensor, "items points views 3"]:
    """The points in every view's camera axes, metres."""
    rotated = torch.einsum("nvij,npj->npvi", world_to_camera[..., :3, :3], points)
    return rotated + world_to_camera[:, None, :, :3, 3]


def project(
    in_camera: Float[Tensor, "items points views 3"], intrinsics: Float[Tensor, "items views 3 3"]
) -> Float[Tensor, "items points views 2"]:
    """Pixels of points given in camera axes (no distortion)."""
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], dim=-1)[:, None]
    return focal * in_camera[..., :2] / in_camera[..., 2:] + intrinsics[:, None, :, :2, 2]


def projection_jacobian(
    in_camera: Float[Tensor, "items views 3"],
    intrinsics: Float[Tensor, "items views 3 3"],
    world_to_camera: Float[Tensor, "items views 4 4"],
) -> Float[Tensor, "items views 2 3"]:
    """Derivative of the pixel with respect to the world point, px/m."""
    x, y, z = in_camera.unbind(dim=-1)
    fx, fy, zero = intrinsics[..., 0, 0], intrinsics[..., 1, 1], torch.zeros_like(x)
    rows = torch.stack([fx / z, zero, -fx * x / z**2, zero, fy / z, -fy * y / z**2], dim=-1)
    return rows.unflatten(-1, (2, 3)) @ world_to_camera[..., :3, :3]


def largest_ray_angle(
    points: Float[Tensor, "items 3"],
    world_to_camera: Float[Tensor, "items views 4 4"],
    used: Float[Tensor, "items views"],
) -> Float[Tensor, " items"]:
    """The largest angle between the rays of two used views, radians; 0 if fewer than two are used."""
    rotation, translation = world_to_camera[..., :3, :3], world_to_camera[..., :3, 3]
    centres = -torch.einsum("nvji,nvj->nvi", rotation, translation)
    rays = torch.nn.functional.normalize(points[:, None] - centres, dim=-1)
    cosines = torch.einsum("nvi,nwi->nvw", rays, rays)
    pairs = (used[:, :, None] * used[:, None, :]) > 0
    return torch.where(pairs, cosines, 1.0).amin(dim=(1, 2)).clamp(-1.0, 1.0).acos()
