"""The sRGB curve (IEC 61966-2-1), the one place it is written."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def srgb_from_linear(linear: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """Encode linear light for storage; values outside [0, 1] are clipped."""
    clipped = np.clip(linear, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def linear_from_srgb(encoded: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """Decode stored values in [0, 1] to linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.0) + 0.055) / 1.055) ** 2.4)
