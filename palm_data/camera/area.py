"""An image at a smaller resolution tier: what a camera with larger pixels would have measured.

Images are averaged over the areas of `palm_data.camera.tier` in linear light: light adds up. An average of sRGB values is
darker wherever the area is not of one colour, at edges above all.
"""

from functools import cache

import numpy as np
from jaxtyping import UInt8, UInt16
from numpy import ndarray

from palm_data.colour import linear_from_srgb, srgb_from_linear
from schemas.tier import FACTORS, Tier, tier_length

_STEPS = 65535
"""Linear light is added up in whole steps, so that every machine gets the same sums: near black 20 of them are one
sRGB value."""


def image_at(
    image: UInt8[ndarray, "height width *channels"], tier: Tier
) -> UInt8[ndarray, "small_height small_width *channels"]:
    """The sRGB image at the tier: means over areas in linear light; at the last column and row, of the pixels there are."""
    factor = FACTORS[tier]
    if factor == 1:
        return image
    height, width = (tier_length(side, tier) for side in image.shape[:2])
    linear = _to_linear()[image]
    total: ndarray = np.zeros((height, width, *image.shape[2:]), dtype=np.uint32)
    count: ndarray = np.zeros((height, width, *[1] * (image.ndim - 2)), dtype=np.uint32)
    for row in range(factor):
        for column in range(factor):
            part = linear[row::factor, column::factor]
            total[: part.shape[0], : part.shape[1]] += part
            count[: part.shape[0], : part.shape[1]] += 1
    return _to_srgb()[(total + count // 2) // count]


@cache
def _to_linear() -> UInt16[ndarray, "256"]:
    return np.rint(linear_from_srgb(np.arange(256) / 255.0) * _STEPS).astype(np.uint16)


@cache
def _to_srgb() -> UInt8[ndarray, "65536"]:
    return np.rint(srgb_from_linear(np.arange(_STEPS + 1) / _STEPS) * 255.0).astype(np.uint8)
