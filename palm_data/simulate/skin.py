"""A person's skin as textures: albedo from melanin and blood, roughness and specular.

Everything is computed at the surface's rest position and only then laid out in texture space: charts meet without seams.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree

from palm_data.simulate.anatomy import FINGERS
from palm_data.simulate.chart import texture_chart
from palm_data.simulate.detail import Relief
from palm_data.simulate.features import SurfaceFeatures, smoothstep
from palm_data.simulate.identity import lattice_field
from palm_data.simulate.landmarks import distance_to
from palm_data.simulate.skin_colour import skin_albedo
from palm_data.simulate.skin_traits import SkinTraits
from palm_data.simulate.template import capture_template

_NAIL_TINT = np.array([1.06, 0.98, 0.96])
_HORN_TINT = np.array([1.0, 0.975, 0.90])
"""The thick horny layer of palms is a little yellow."""
_VEIN_TINT = np.array([-0.12, -0.055, -0.02])
_NOISE_SCALES_MM = (16.0, 6.0, 3.2, 1.5)


@dataclass(frozen=True, eq=False)
class SkinTextures:
    """Maps in the captured mesh's texture layout; row 0 is v = 1."""

    albedo: Float[ndarray, "size size 3"]
    """Linear sRGB, diffuse."""
    roughness: Float[ndarray, "size size"]
    """GGX α (Mitsuba's principled BSDF and glTF take its square root)."""
    specular: Float[ndarray, "size size"]
    """Disney/Mitsuba `specular`: F0 = 0.08 × specular."""


@dataclass(frozen=True, eq=False)
class _Noise:
    """Random fields of unit variance a texel, from blotches to pores."""

    broad: Float[ndarray, "texels"]
    middle: Float[ndarray, "texels"]
    small: Float[ndarray, "texels"]
    fine: Float[ndarray, "texels"]


@dataclass(frozen=True, eq=False)
class _Lines:
    """Where lines run, 0 to 1 a texel."""

    creases: Float[ndarray, "texels"]
    wrinkles: Float[ndarray, "texels"]
    veins: Float[ndarray, "texels"]
    knuckles: Float[ndarray, "texels"]


def skin_textures(traits: SkinTraits, relief: Relief, size: int) -> SkinTextures:
    """The skin's maps at `size`² texels."""
    chart = texture_chart(size)
    places = chart.features
    rng = np.random.default_rng(traits.seed)
    noise = _Noise(*(lattice_field(places.points, rng, scale_mm=scale) for scale in _NOISE_SCALES_MM))
    lines = _lines(places, relief, noise)
    albedo = _albedo(traits, places, lines, noise, rng)
    roughness, specular = _gloss(traits, places, lines, noise)
    return SkinTextures(chart.image(albedo), chart.image(roughness), chart.image(specular))


def _lines(places: SurfaceFeatures, relief: Relief, noise: _Noise) -> _Lines:
    template = capture_template()
    plane = np.stack([places.distal, places.radial], axis=1)
    wobble = noise.middle
    off_finger = 1.0 - smoothstep(0.2, 0.7, places.finger_share) * (places.finger != 0)
    lined = (places.glabrous > 0.01) & (off_finger > 0)
    creases = np.zeros(len(wobble))
    near = distance_to(relief.landmarks.palm_lines, plane[lined] + 0.0004 * wobble[lined, None])
    creases[lined] = _bump(near, 0.0006) * off_finger[lined]
    wrinkles, knuckles = np.zeros(len(wobble)), np.zeros(len(wobble))
    bent = places.along_m + 0.0006 * wobble
    for row, name in enumerate(FINGERS):
        chosen = places.finger == row
        lengths = np.linalg.norm(np.diff(template.anatomy.fingers[name].points, axis=0), axis=1)
        joints = np.cumsum(lengths)
        spots = (joints[0], joints[0] - 0.0028, joints[1], 0.52 * joints[0]) if row else (joints[1], joints[0])
        across = np.max([_bump(bent[chosen] - spot, 0.0005) for spot in spots], axis=0)
        creases[chosen] = np.maximum(creases[chosen], across * smoothstep(0.2, 0.8, places.finger_share[chosen]))
        for joint, width in ((1, 0.17), (2, 0.2)):
            near = _bump(places.along[chosen] - joint, width) * smoothstep(0.6, 0.95, places.finger_share[chosen])
            wave = np.cos(2 * np.pi * (places.along_m[chosen] + 0.0009 * wobble[chosen]) / 0.0021)
            wrinkles[chosen] += near * smoothstep(0.3, 1.0, wave)
            knuckles[chosen] += near
    back = smoothstep(0.0, 0.6, -places.palmar_side) * (1.0 - places.nail)
    veined = (back > 0.01) & (places.finger_share < 1.0)
    veins = np.zeros(len(wobble))
    near = distance_to(relief.landmarks.veins, plane[veined] + 0.0006 * wobble[veined, None])
    veins[veined] = _bump(near, 0.0017)
    return _Lines(
        creases=relief.wrinkles * creases * places.glabrous,
        wrinkles=relief.wrinkles * wrinkles * back,
        veins=relief.veins * veins * back * (1.0 - places.finger_share),
        knuckles=knuckles * back,
    )


def _albedo(
    traits: SkinTraits, places: SurfaceFeatures, lines: _Lines, noise: _Noise, rng: np.random.Generator
) -> ndarray:
    palm = places.glabrous
    pads = palm * smoothstep(2.2, 2.8, places.along) * (places.finger >= 0)
    spots = _spots(places, rng, traits.freckles, 0.0011) + _spots(places, rng, traits.age_spots, 0.0024)
    mottled = traits.mottling * (0.10 * noise.broad + 0.07 * noise.small + 0.05 * noise.fine)

    melanin = np.exp((1 - palm) * np.log(traits.melanin) + palm * np.log(traits.palm_melanin))
    # The inner side of the arm sees little sun; it meets the palm without a step.
    melanin *= 1.0 - 0.4 * (1 - palm) * smoothstep(-0.4, 0.7, places.palmar_side) * smoothstep(
        0.03, -0.01, places.distal
    )
    melanin *= np.exp(0.6 * mottled + 0.25 * lines.knuckles + 0.22 * lines.creases + 0.2 * lines.wrinkles)
    melanin += (1 - palm) * (1 - places.nail) * (0.45 * traits.melanin + 0.02) * spots
    melanin = (1 - places.nail) * melanin + places.nail * (0.4 * melanin + 0.004)

    flecks = 0.12 * traits.mottling * noise.small * palm
    blood = (1 - palm) * traits.blood + palm * traits.palm_blood
    blood *= np.exp(2.0 * mottled + flecks + 0.5 * pads + 0.35 * lines.knuckles + 0.25 * lines.creases)
    blood = (1 - places.nail) * blood + places.nail * 1.6 * traits.palm_blood

    albedo = skin_albedo(melanin, blood)
    albedo *= 1.0 + palm[:, None] * (_HORN_TINT - 1.0) + places.nail[:, None] * (_NAIL_TINT - 1.0)
    albedo *= 1.0 + traits.veins * lines.veins[:, None] * _VEIN_TINT
    albedo *= 1.0 - 0.22 * np.clip(lines.creases, 0, 1.2)[:, None] - 0.10 * np.clip(lines.wrinkles, 0, 1.2)[:, None]
    edge = 4.0 * places.nail * (1.0 - places.nail)
    free_edge = places.nail * smoothstep(2.86, 2.95, places.along)
    albedo = albedo * (1.0 - 0.18 * edge[:, None])
    albedo += free_edge[:, None] * 0.5 * (np.array([0.62, 0.56, 0.47]) - albedo)
    return np.clip(albedo, 0.004, 0.95)


def _gloss(traits: SkinTraits, places: SurfaceFeatures, lines: _Lines, noise: _Noise) -> tuple[ndarray, ndarray]:
    """Roughness (GGX α) and specular."""
    palm, nail = places.glabrous, places.nail
    patches, fine = noise.broad, noise.fine
    palm_roughness = traits.roughness * (1.28 - 0.4 * traits.moisture)
    roughness = (1 - palm) * traits.roughness + palm * palm_roughness
    roughness *= np.exp(0.07 * patches + 0.06 * fine)
    roughness += 0.06 * lines.knuckles + 0.05 * np.clip(lines.creases, 0, 1) + 0.04 * np.clip(lines.wrinkles, 0, 1)
    roughness = (1 - nail) * roughness + nail * (0.14 + 0.02 * patches)
    specular = traits.specular * (1.0 + palm * (0.35 * traits.moisture - 0.1)) * np.exp(0.06 * patches + 0.05 * fine)
    specular *= 1.0 - 0.35 * np.clip(lines.creases, 0, 1)
    specular = (1 - nail) * specular + nail * 0.55
    return np.clip(roughness, 0.05, 0.9), np.clip(specular, 0.05, 0.9)


def _spots(places: SurfaceFeatures, rng: np.random.Generator, amount: float, radius: float) -> ndarray:
    """Round spots at random places on the surface, soft-edged, 0 to 1."""
    surface = np.arange(0, len(places.points), 97)
    count = int(amount * 220 * (0.0011 / radius))
    seeds = places.points[rng.choice(surface, size=max(count, 1), replace=False)]
    strength = rng.uniform(0.25, 1.0, len(seeds)) * (count > 0)
    size = radius * rng.uniform(0.5, 1.3, len(seeds))
    distance, which = map(np.asarray, cKDTree(seeds).query(places.points, distance_upper_bound=3 * radius))
    found = which < len(seeds)
    result = np.zeros(len(places.points))
    near = which[found]
    result[found] = strength[near] * np.exp(-0.5 * (distance[found] / size[near]) ** 2)
    return result


def _bump(distance: Float[ndarray, "n"], width: float) -> Float[ndarray, "n"]:
    return np.exp(-0.5 * (distance / width) ** 2)
