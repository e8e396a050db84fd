"""The sensors: from radiance to eight bits, with the noise of photons and electronics."""

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from palm_data.colour import srgb_from_linear

STANDARD_EXPOSURE_US = 2000
FULL_WELL = 10_000.0
"""Electrons at which a pixel saturates."""
READ_NOISE = 3.0
"""Electrons, standard deviation."""
_COLOUR_GAIN = 1.12
_MONO_GAIN = 1.12
_MONO_RESPONSE = np.array([0.30, 0.45, 0.25])
"""A monochrome sensor's share of red, green and blue."""


def colour_image(
    radiance: Float[ndarray, "h w 3"], rng: np.random.Generator, exposure_us: float = STANDARD_EXPOSURE_US
) -> Shaped[ndarray, "h w 3"]:
    """The sRGB image, uint8, that a colour camera delivers; white balance is fixed (none is needed in this studio)."""
    return _developed(radiance * (_COLOUR_GAIN * exposure_us / STANDARD_EXPOSURE_US), rng)


def mono_image(radiance: Float[ndarray, "h w 3"], rng: np.random.Generator) -> Shaped[ndarray, "h w"]:
    """The image, uint8, that a mono camera delivers; encoded with the sRGB curve too."""
    return _developed((radiance @ _MONO_RESPONSE) * _MONO_GAIN, rng)


def noise_free(radiance: Float[ndarray, "h w 3"]) -> Float[ndarray, "h w 3"]:
    """What a colour camera would deliver without noise and steps: sRGB values in 0 to 1."""
    return srgb_from_linear(np.asarray(radiance, np.float64) * _COLOUR_GAIN)


def exposed(linear: Float[ndarray, "*n"], rng: np.random.Generator) -> Float[ndarray, "*n"]:
    """Linear values (1 = saturated) as the sensor reads them: shot noise, saturation, read noise.

    The rig's exposure lets a white pixel fill its well.
    """
    electrons = rng.poisson(np.clip(np.asarray(linear, np.float64), 0.0, 4.0) * FULL_WELL)
    read = np.minimum(electrons, FULL_WELL) + rng.normal(0.0, READ_NOISE, np.shape(linear))
    return read / FULL_WELL


def _developed(linear: Float[ndarray, "*n"], rng: np.random.Generator) -> Shaped[ndarray, "*n"]:
    return np.rint(srgb_from_linear(exposed(linear, rng)) * 255.0).astype(np.uint8)
