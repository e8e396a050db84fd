"""Targets whose answer is known: the hand model itself, posed, closed off by a few rings of cameras."""

import functools

import numpy as np

from palm_data.hand.model import HandModel, load_hand_model
from palm_data.maps.surface import build_surface
from palm_data.registration.parameters import FRAME_SIZE, ORIENT, POSE, TRANSL
from palm_data.registration.posed import PosedHandFunction
from palm_data.registration.targets import FrameTarget


@functools.cache
def hand() -> tuple[HandModel, PosedHandFunction]:
    model = load_hand_model()
    return model, PosedHandFunction(model)


def some_pose(seed: int, spread: float = 0.15) -> np.ndarray:
    """A moderate pose anywhere in the rig."""
    rng = np.random.default_rng(seed)
    frame = np.zeros(FRAME_SIZE)
    frame[ORIENT] = rng.normal(0, 1.0, 3)
    frame[POSE] = rng.normal(0, spread, POSE.stop - POSE.start)
    frame[TRANSL] = rng.normal(0, 0.05, 3)
    return frame


def target_of(frame: np.ndarray, betas: np.ndarray, *, noise_mm: float = 0.0, seed: int = 0) -> FrameTarget:
    """What a rig would measure of the posed model, with noise on the joints only."""
    model, pose = hand()
    posed = pose(frame, betas)
    rng = np.random.default_rng(seed)
    joints = posed.joints + rng.normal(0, noise_mm / 1000, posed.joints.shape)
    poses = np.stack([_camera(2 * np.pi * view / 4, posed.vertices.mean(axis=0)) for view in range(4)])
    intrinsics = np.tile(np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]]), (4, 1, 1))
    in_camera = np.einsum("vij,nj->vni", poses[:, :3, :3], joints) + poses[:, None, :3, 3]
    return FrameTarget(
        scan=build_surface(posed.vertices, model.faces),
        keypoints=joints,
        keypoint_covariance=np.tile(np.eye(3) * 0.002**2, (21, 1, 1)),
        detections_px=in_camera[..., :2] / in_camera[..., 2:] * 700.0 + [320.0, 240.0],
        confidence=np.ones((4, 21)),
        intrinsics=intrinsics,
        world_to_camera=poses,
        seed=seed,
    )


def _camera(azimuth: float, towards: np.ndarray) -> np.ndarray:
    away = 0.7 * np.array([np.cos(azimuth), np.sin(azimuth), 0.2])
    forward = -away / np.linalg.norm(away)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ (towards + away)
    return pose
