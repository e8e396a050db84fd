"""How pixels and numbers are encoded in the official release."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from palm_data.interop.official_layout import CROP_MARGIN_PX, CROP_PX
from palm_data.interop.pickled import Plain
from palm_data.maps.training_mask import MaskSides, fused_mask
from schemas.camera import Camera
from schemas.hand import HandRow

_SIDES = MaskSides(reach=11, core=21, smooth=7)
"""The official code fuses its masks with these squares, at any image size."""
_FLIP = np.array([1.0, -1.0, -1.0])
"""Camera axes: ours are x right, y down, z forward; theirs x right, y up, z towards the camera."""


def encode_mask(mask: Bool[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
    """255 where it is, 0 elsewhere."""
    return mask.astype(np.uint8) * np.uint8(255)


def encode_normals(normals: Float[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    """Unit vectors in our camera axes (0 = none) to (n + 1) / 2 in theirs, of 255.

    A channel of 0 means "none" there, so a component of −1 becomes 1, a whole step (1/127.5) off.
    """
    steps = np.rint((normals * _FLIP + 1.0) * 127.5)
    there = (normals != 0).any(axis=-1, keepdims=True)
    return np.where(there, np.clip(steps, 1, 255), 0).astype(np.uint8)


def decode_normals(stored: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "h w 3"]:
    """The way back, to our axes; 0 where any channel is 0. Within a step of 1/127.5 of what was encoded."""
    there = (stored != 0).all(axis=-1, keepdims=True)
    return np.where(there, (stored / 127.5 - 1.0) * _FLIP, 0.0)


def official_mask(scan: Bool[ndarray, "h w"], hand: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """The mask that the official training makes of the two."""
    return fused_mask(scan, hand, _SIDES)


def crop_room(scan: Bool[ndarray, "h w"], hand: Bool[ndarray, "h w"]) -> tuple[int, int]:
    """Width and height, px, of the place where the official sampler cuts its patches; 0 × 0 without a mask.

    That is the mask's bounding box and 32 px about it, inside the image; both must be at least 128.
    """
    mask = official_mask(scan, hand)
    return _room(np.asarray(mask.any(axis=0))), _room(np.asarray(mask.any(axis=1)))


def crop_fits(room: tuple[int, int]) -> bool:
    """Whether a patch can be cut there."""
    return min(room) >= CROP_PX


def cameras_entry(cameras: Sequence[Camera]) -> dict[str, Plain]:
    """What `cameras.npy` holds; float32, metres, `Rt` = world → camera. Pixel centres are at +0.5 there as here."""
    return {
        "cameras": {
            camera.camera_id: {
                "K": camera.intrinsics().astype(np.float32),
                "Rt": camera.world_to_camera().astype(np.float32),
                "height": camera.height,
                "width": camera.width,
            }
            for camera in cameras
        }
    }


def poses_entry(hands: Sequence[HandRow]) -> dict[str, Plain]:
    """What `poses.npy` holds, one row a frame; float32. Their convention is ours: no PCA, offset from the mean pose."""
    return {
        "betas": np.array([hands[0].betas], dtype=np.float32),
        "hand_pose": np.array([hand.hand_pose for hand in hands], dtype=np.float32),
        "global_orient": np.array([hand.global_orient for hand in hands], dtype=np.float32),
        "transl": np.array([hand.transl for hand in hands], dtype=np.float32),
    }


def _room(occupied: Bool[ndarray, "side"]) -> int:
    places = np.flatnonzero(occupied)
    if not len(places):
        return 0
    start, stop = max(int(places[0]) - CROP_MARGIN_PX, 0), min(int(places[-1]) + 1 + CROP_MARGIN_PX, len(occupied))
    return stop - start
