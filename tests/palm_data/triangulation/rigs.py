"""A synthetic rig with a known answer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SyntheticRig:
    points: Tensor  # (items, 3), metres
    points_px: Tensor  # (items, views, 2), exact
    intrinsics: Tensor  # (items, views, 3, 3)
    world_to_camera: Tensor  # (items, views, 4, 4)


def synthetic_rig(*, views: int, items: int = 50, seed: int = 0) -> SyntheticRig:
    """Cameras on a ring around points in a hand-sized box, 0.9 m away, focal length 3000 px."""
    rng = np.random.default_rng(seed)
    poses = np.zeros((views, 4, 4))
    for view in range(views):
        azimuth, elevation = 2 * np.pi * view / views + 0.1, rng.uniform(-0.4, 0.4)
        centre = 0.9 * np.array(
            [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        )
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        poses[view] = np.eye(4)
        poses[view, :3, :3], poses[view, :3, 3] = rotation, -rotation @ centre
    intrinsics = np.array([[3000.0, 0, 1224], [0, 3010.0, 1024], [0, 0, 1]])
    points = rng.uniform(-0.1, 0.1, (items, 3))
    in_camera = np.einsum("vij,nj->nvi", poses[:, :3, :3], points) + poses[:, :3, 3]
    pixels = in_camera[..., :2] / in_camera[..., 2:] * [3000.0, 3010.0] + [1224.0, 1024.0]
    return SyntheticRig(
        points=torch.from_numpy(points),
        points_px=torch.from_numpy(pixels),
        intrinsics=torch.from_numpy(intrinsics).expand(items, views, 3, 3),
        world_to_camera=torch.from_numpy(poses).expand(items, views, 4, 4),
    )
