"""Hands for the prior's tests: the shipped model in the protocol's gestures, touching themselves as people's do."""

import dataclasses
import functools

import numpy as np
import torch
from torch import Tensor

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model
from palm_data.simulate.contact import settled_angles
from palm_data.simulate.gestures import joint_rotations
from palm_data.simulate.hand import gesture_named
from palm_data.simulate.kinematics import RestHand
from palm_data.simulate.template import capture_template
from palm_model.prior.poses import Poses, posed_hands
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.prior_skinning import SkinningSettings

MODEL = load_hand_model()


@functools.cache
def hand_layer(dtype: torch.dtype = torch.float32) -> HandLayer:
    return HandLayer(MODEL, dtype=dtype)


def shapes(count: int, seed: int = 0, *, size: float = 1.0) -> Tensor:
    """β of a few people."""
    return torch.from_numpy(size * np.random.default_rng(seed).standard_normal((count, 10))).float()


@functools.cache
def gesture_pose(name: str) -> Tensor:
    """`hand_pose` of a gesture: its angles adjusted so that the mean hand touches itself and passes through nothing."""
    template = capture_template()
    joints = MODEL.joint_regressor @ MODEL.v_template.astype(np.float64)
    rest = RestHand(
        base=template.with_forearm(MODEL.v_template.astype(np.float64)),
        joints=np.concatenate([joints, joints[:1]]),
        weights=template.base_weights,
        parents=np.append(MODEL.parents, 0),
    )
    spec = gesture_named(name)
    turns = joint_rotations(template.anatomy, settled_angles(rest, spec, spec.angles()))
    return torch.from_numpy(turns.ravel() - MODEL.hands_mean).float()


def hands(*gestures: str, betas: Tensor | None = None, seed: int = 0) -> Poses:
    """One hand for each gesture, each turned and placed at random, its row as its person.

    Args:
        betas: (p, 10), one each; the mean shape by default.
    """
    rng = np.random.default_rng(seed)
    count = len(gestures)
    return posed_hands(
        hand_layer(),
        torch.zeros(count, 10) if betas is None else betas,
        torch.from_numpy(rng.normal(0.0, 1.0, (count, 3))).float(),
        torch.stack([gesture_pose(name) for name in gestures]),
        torch.from_numpy(rng.normal(0.0, 0.05, (count, 3))).float(),
        subject=torch.arange(count),
    )


def shell_points(vertices: Tensor, count: int, seed: int = 0, *, reach_m: float = 0.01) -> Tensor:
    """Points at random over a surface, up to `reach_m` inside and outside of it, (count, 3)."""
    rng = np.random.default_rng(seed)
    corners = vertices[torch.from_numpy(MODEL.faces[rng.integers(0, len(MODEL.faces), count)])]
    places = torch.from_numpy(rng.dirichlet(np.ones(3), count)).to(vertices)
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    heights = torch.from_numpy(rng.uniform(-reach_m, reach_m, (count, 1))).to(vertices)
    return torch.einsum("nk,nkc->nc", places, corners) + heights * torch.nn.functional.normalize(normals, dim=1)


def shells(poses: Poses, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`count` points about each of the hands, and whose they are."""
    points = [shell_points(surface, count, seed + row) for row, surface in enumerate(poses.vertices)]
    return torch.cat(points), torch.arange(len(poses)).repeat_interleave(count)


@functools.cache
def mean_grid() -> SkinningGrids:
    """The mean shape's grid at full resolution, for any number of hands by `for_poses(zeros)`."""
    return SkinningGrids.build(MODEL, torch.zeros(1, 10))


@functools.cache
def coarse_grids(count: int) -> SkinningGrids:
    """Grids of the first people of `shapes(count)`, coarse and quickly built."""
    return SkinningGrids.build(MODEL, shapes(count), SkinningSettings(resolution=24))


def double(grids: SkinningGrids) -> SkinningGrids:
    return dataclasses.replace(grids, cells=grids.cells.double(), distance=grids.distance.double())
