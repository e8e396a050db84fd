"""Augmentation: the crop turned, scaled and moved; other light and sensors; blur, noise, and things in the way.

Every choice comes from the generator that is given, so that a training step can be repeated.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

_TURN_RAD = 0.6
_SCALE_SIGMA = 0.12
_SHIFT = 0.06
_GREY_SHARE = 0.4
_BLUR_SHARE = 0.3
_NOISE_SHARE = 0.5
_OCCLUDED_SHARE = 0.35

Crop = UInt8[ndarray, "size size 3"]


def centred(stored: Crop, points_px: Float[ndarray, "21 2"], size: int, scale: float) -> tuple[Crop, ndarray]:
    """The middle of a stored crop at `size` × `size`, and its points, without any augmentation.

    Args:
        scale: output pixels for each stored one.
    """
    return _warped(stored, points_px, size, np.eye(2) * scale, np.zeros(2))


def augmented(
    stored: Crop, points_px: Float[ndarray, "21 2"], size: int, scale: float, rng: np.random.Generator
) -> tuple[Crop, ndarray]:
    """As `centred`, but as another camera, light and moment might have shown it."""
    angle = rng.uniform(-_TURN_RAD, _TURN_RAD)
    stretch = scale * np.exp(rng.normal(0.0, _SCALE_SIGMA))
    sine, cosine = np.sin(angle), np.cos(angle)
    linear = stretch * np.array([[cosine, -sine], [sine, cosine]])
    crop, points = _warped(stored, points_px, size, linear, rng.uniform(-_SHIFT, _SHIFT, 2) * size)
    return _seen_otherwise(crop, rng), points


def _warped(
    stored: Crop, points_px: Float[ndarray, "21 2"], size: int, linear: Float[ndarray, "2 2"], shift_px: ndarray
) -> tuple[Crop, ndarray]:
    """Both about their middles: out = linear · (in − middle) + middle + shift, in corner coordinates."""
    offset = size / 2.0 + shift_px - linear @ np.full(2, stored.shape[0] / 2.0)
    # OpenCV counts from pixel centres: out_c + ½ = linear (in_c + ½) + offset.
    centres = np.column_stack([linear, offset + linear @ np.full(2, 0.5) - 0.5])
    crop = cv2.warpAffine(stored, centres, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return crop, points_px @ linear.T + offset


def _seen_otherwise(crop: Crop, rng: np.random.Generator) -> Crop:
    image = crop.astype(np.float32) / 255.0
    if rng.random() < _GREY_SHARE:
        image = np.repeat((image @ rng.dirichlet([4.0, 6.0, 3.0]).astype(np.float32))[..., None], 3, axis=2)
    else:
        image *= np.exp(rng.normal(0.0, 0.10, 3)).astype(np.float32)
    image *= np.float32(np.exp(rng.normal(0.0, 0.30)))
    image = np.clip(image, 0.0, 1.0) ** np.float32(np.exp(rng.normal(0.0, 0.25)))
    if rng.random() < _OCCLUDED_SHARE:
        _put_in_the_way(image, rng)
    if rng.random() < _BLUR_SHARE:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4)))
    if rng.random() < _NOISE_SHARE:
        image = image + np.float32(rng.uniform(0.0, 0.03)) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _put_in_the_way(image: Float[ndarray, "size size 3"], rng: np.random.Generator) -> None:
    """A filled ellipse of one colour over a small part."""
    size = image.shape[0]
    middle = rng.uniform(0.1 * size, 0.9 * size, 2).astype(int)
    axes = rng.uniform(0.04 * size, 0.14 * size, 2).astype(int) + 1
    colour = rng.uniform(0.0, 0.9, 3)
    cv2.ellipse(image, middle.tolist(), axes.tolist(), float(rng.uniform(0.0, 180.0)), 0.0, 360.0, colour.tolist(), -1)
