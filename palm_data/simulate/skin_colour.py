"""What colour skin has, from the melanin over it and the blood in it.

Two layers, an epidermis with the melanin over a dermis thick enough to be without end, as in Donner and Jensen, "A
Spectral BSSRDF for Shading Human Skin" (EGSR 2006); each layer by Kubelka's two-flux theory ("New Contributions to the
Optics of Intensely Light-Scattering Materials", JOSA 38 and 44, 1948 and 1954), as Anderson and Parrish apply it to
skin ("The Optics of Human Skin", J. Invest. Dermatol. 77, 1981). Sources of the numbers: melanin and bloodless skin
absorption Jacques, "Skin Optics" (Oregon Medical Laser Center, 1998); reduced scattering Jacques, "Optical properties
of biological tissues: a review" (Phys. Med. Biol. 58, 2013); molar extinction of haemoglobin Prahl, "Tabulated molar
extinction coefficient for hemoglobin in water" (1998); colour matching Wyman, Sloan and Shirley, "Simple Analytic
Approximations to the CIE XYZ Color Matching Functions" (JCGT 2013).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import RegularGridInterpolator

WAVELENGTHS_NM: tuple[int, ...] = tuple(range(420, 701, 10))
_OXY = (
    480360, 246072, 102580, 62816, 44480, 33209, 26629, 23684, 20933, 20035, 24202, 39957, 53236, 43016, 32613,
    44496, 50104, 14401, 3200, 1506, 942, 610, 442, 368, 320, 294, 278, 276, 290,
)  # fmt: skip
_DEOXY = (
    407560, 528600, 413280, 103292, 23389, 16156, 14550, 16684, 20862, 25774, 31590, 39036, 46592, 53412, 53788,
    45072, 37020, 28324, 14677, 9444, 6510, 5149, 4345, 3750, 3227, 2795, 2408, 2052, 1794,
)  # fmt: skip
"""Molar extinction at the wavelengths above, cm⁻¹ per mol/l."""
_HAEMOGLOBIN_G_PER_L = 150.0
_HAEMOGLOBIN_G_PER_MOL = 64500.0
_EPIDERMIS_CM = 0.006
MELANIN_RANGE = (0.002, 0.60)
BLOOD_RANGE = (0.002, 0.12)
_GRID = 48
_XYZ_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def skin_albedo(
    melanin: Float[ndarray, "*n"], blood: Float[ndarray, "*n"], *, oxygenation: float = 0.75
) -> Float[ndarray, "*n 3"]:
    """Linear sRGB albedo of skin; looked up in a table of the model, values outside its range held at the end.

    Args:
        melanin: volume share of melanosomes in the epidermis (light skin 0.01–0.06, dark 0.18–0.43).
        blood: volume share of blood in the dermis (0.002 pale – 0.07 flushed).
        oxygenation: share of the haemoglobin that carries oxygen.
    """
    query = np.stack([np.log(np.clip(melanin, *MELANIN_RANGE)), np.log(np.clip(blood, *BLOOD_RANGE))], axis=-1)
    return _table(round(oxygenation, 3))(query)


def skin_reflectance(
    melanin: Float[ndarray, "*n"], blood: Float[ndarray, "*n"], *, oxygenation: float
) -> Float[ndarray, "*n waves"]:
    """Diffuse reflectance at `WAVELENGTHS_NM`."""
    waves = np.array(WAVELENGTHS_NM, np.float64)
    melanin, blood = np.asarray(melanin)[..., None], np.asarray(blood)[..., None]
    bloodless = 0.244 + 85.3 * np.exp(-(waves - 154.0) / 66.2)
    epidermal = melanin * 6.6e11 * waves**-3.33 + (1.0 - melanin) * bloodless
    extinction = oxygenation * np.array(_OXY) + (1.0 - oxygenation) * np.array(_DEOXY)
    absorbing_blood = np.log(10.0) * extinction * _HAEMOGLOBIN_G_PER_L / _HAEMOGLOBIN_G_PER_MOL
    dermal = blood * absorbing_blood + (1.0 - blood) * bloodless
    backscatter = 0.75 * 46.0 * (waves / 500.0) ** -1.421
    under = _infinite_reflectance(2.0 * dermal, backscatter)
    reflected, passed = _layer(2.0 * epidermal, backscatter, _EPIDERMIS_CM)
    return reflected + passed**2 * under / (1.0 - reflected * under)


def _infinite_reflectance(absorption: ndarray, backscatter: ndarray) -> ndarray:
    """Of a layer without end; two-flux coefficients K and S, cm⁻¹."""
    ratio = absorption / backscatter
    return 1.0 + ratio - np.sqrt(ratio * (ratio + 2.0))


def _layer(absorption: ndarray, backscatter: ndarray, thickness_cm: float) -> tuple[ndarray, ndarray]:
    """Reflectance and transmittance of a layer on black (Kubelka 1948)."""
    a = 1.0 + absorption / backscatter
    b = np.sqrt(a * a - 1.0)
    depth = b * backscatter * thickness_cm
    below = a * np.sinh(depth) + b * np.cosh(depth)
    return np.sinh(depth) / below, b / below


@lru_cache(maxsize=8)
def _table(oxygenation: float) -> RegularGridInterpolator:
    melanin = np.geomspace(*MELANIN_RANGE, _GRID)
    blood = np.geomspace(*BLOOD_RANGE, _GRID)
    spectra = skin_reflectance(*np.meshgrid(melanin, blood, indexing="ij"), oxygenation=oxygenation)
    matching = _colour_matching()
    # Equal-energy light, with white adapted to sRGB's: a perfect reflector comes out as (1, 1, 1).
    white = _XYZ_TO_SRGB @ matching.sum(axis=0)
    colours = (spectra @ matching) @ _XYZ_TO_SRGB.T / white
    return RegularGridInterpolator((np.log(melanin), np.log(blood)), np.clip(colours, 1e-3, 0.98))


def _colour_matching() -> Float[ndarray, "waves 3"]:
    """CIE 1931 x̄, ȳ, z̄ (multi-lobe fit)."""
    waves = np.array(WAVELENGTHS_NM, np.float64)

    def lobe(gain: float, mean: float, below: float, above: float) -> ndarray:
        slope = np.where(waves < mean, below, above)
        return gain * np.exp(-0.5 * ((waves - mean) * slope) ** 2)

    x = lobe(0.362, 442.0, 0.0624, 0.0374) + lobe(1.056, 599.8, 0.0264, 0.0323) + lobe(-0.065, 501.1, 0.0490, 0.0382)
    y = lobe(0.821, 568.8, 0.0213, 0.0247) + lobe(0.286, 530.9, 0.0613, 0.0322)
    z = lobe(1.217, 437.0, 0.0845, 0.0278) + lobe(0.681, 459.0, 0.0385, 0.0725)
    return np.stack([x, y, z], axis=1)
