"""The surface's BRDF (the BRDF of eq. 7): a diffuse part and a GGX specular part, Disney's in a simple version.

View and light are unit vectors that point away from the surface. `alpha` is GGX's α everywhere: Mitsuba's and glTF's
`roughness` is its square root, and what the official code calls roughness is α itself. Below the horizon of either
direction the BRDF is zero.

Specular forms: `smith` is D V F with height-correlated Smith shadowing (Heitz 2014); `smith_separable` has the product
of both directions' shadowing, as Mitsuba; `official` has the approximations of the published code (Schlick's shadowing
with k = (α + 1)²/8, an exponential for Fresnel's fifth power, and 10⁻⁶ in the denominator, by which it is not quite
reciprocal). Diffuse forms: `lambert` is plain; with the gloss beside it a surface brighter than skin gives back more
than it got at grazing angles. `disney` is Burley's of 2012, as in Mitsuba's principled BSDF. `coupled` loses to a smooth
Fresnel layer what that reflects, in both directions (Shirley et al. 1997), and never gives back more than it got, but
is darker towards outlines than rough skin is.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from palm_model.prior.directions import cosine_hemisphere, dot, from_frame, into_frame, polar
from schemas.prior_pbr import BrdfSettings

_TINY = 1e-7
_OFFICIAL_EPSILON = 1e-6
_LOBE_SHARE = (0.1, 0.95)
"""Bounds of the share of samples that go to the specular lobe: both parts are always met."""
_DEFAULT = BrdfSettings()


class MaterialLike(Protocol):
    """What a surface is made of, by point."""

    @property
    def albedo(self) -> Float[Tensor, "*n 3"]:
        """Linear RGB in [0, 1]: the diffuse colour, and the reflectance of what is metal."""

    @property
    def alpha(self) -> Float[Tensor, "*n"]:
        """GGX α, above 0 and at most 1."""

    @property
    def metallic(self) -> Float[Tensor, "*n"]:
        """Share of metal, 0 to 1."""


@dataclass(frozen=True, eq=False)
class _Angles:
    """Cosines that the BRDF is made of; where either direction is below the horizon, those of a direction above it."""

    view: Float[Tensor, "*n"]
    light: Float[Tensor, "*n"]
    half: Float[Tensor, "*n"]
    """Normal against the half vector."""
    difference: Float[Tensor, "*n"]
    """View against the half vector."""
    above: Float[Tensor, "*n"]
    """1 where both directions are above the horizon, else 0."""


def alpha_from_roughness(roughness: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """GGX α from the perceptual roughness of Mitsuba's principled BSDF and of glTF."""
    return roughness * roughness


def roughness_from_alpha(alpha: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Perceptual roughness, for Mitsuba's principled BSDF and glTF."""
    return torch.sqrt(alpha)


def brdf(
    view: Float[Tensor, "*#n 3"],
    light: Float[Tensor, "*#n 3"],
    normal: Float[Tensor, "*#n 3"],
    material: MaterialLike,
    settings: BrdfSettings = _DEFAULT,
) -> Float[Tensor, "*n 3"]:
    """The BRDF, 1/sr, without the cosine."""
    angles = _angles(view, light, normal)
    reflected = _diffuse(angles, material, settings) + _specular(angles, material, settings)
    return reflected * angles.above[..., None]


def brdf_times_cosine(
    view: Float[Tensor, "*#n 3"],
    light: Float[Tensor, "*#n 3"],
    normal: Float[Tensor, "*#n 3"],
    material: MaterialLike,
    settings: BrdfSettings = _DEFAULT,
) -> Float[Tensor, "*n 3"]:
    """The BRDF times the cosine of the light's angle: what eq. 7 sums."""
    return brdf(view, light, normal, material, settings) * dot(light, normal).clamp(min=0.0)[..., None]


def sample_brdf(
    view: Float[Tensor, "*#n 3"],
    normal: Float[Tensor, "*#n 3"],
    material: MaterialLike,
    uniform: Float[Tensor, "*#n 2"],
    settings: BrdfSettings = _DEFAULT,
) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
    """Light directions about as likely as they matter, and their density by solid angle; no gradient.

    A mixture of the cosine and of GGX's visible normals (drawn from spherical caps, Dupuy and Benyoub 2023). A direction
    may be below the horizon, where the BRDF is zero.
    """
    with torch.no_grad():
        share = _specular_share(view, normal, material, settings)
        first, second = torch.broadcast_tensors(uniform[..., 0], uniform[..., 1])
        glossy = first < share
        first = torch.where(glossy, first / share, (first - share) / (1.0 - share)).clamp(0.0, 1.0 - 2.0**-24)
        numbers = torch.stack([first, second.expand_as(first)], dim=-1)
        diffuse = from_frame(cosine_hemisphere(numbers), normal)
        light = torch.where(glossy[..., None], _reflected_visible(view, normal, material.alpha, numbers), diffuse)
        light = torch.nn.functional.normalize(light, dim=-1)
        return light, brdf_pdf(view, light, normal, material, settings)


def brdf_pdf(
    view: Float[Tensor, "*#n 3"],
    light: Float[Tensor, "*#n 3"],
    normal: Float[Tensor, "*#n 3"],
    material: MaterialLike,
    settings: BrdfSettings = _DEFAULT,
) -> Float[Tensor, "*n"]:
    """Density by solid angle with which `sample_brdf` draws a direction; no gradient."""
    with torch.no_grad():
        share = _specular_share(view, normal, material, settings)
        cosine = dot(normal, light)
        half = torch.nn.functional.normalize(view + light, dim=-1)
        facing = dot(view, normal).clamp(min=_TINY)
        # Visible normals reflect below the horizon too: that mass is part of the density there.
        visible = ggx(dot(normal, half).clamp(min=0.0), material.alpha) * smith_g1(facing, material.alpha)
        visible = torch.where(dot(normal, half) > 0, visible / (4.0 * facing), torch.zeros_like(visible))
        return share * visible + (1.0 - share) * cosine.clamp(min=0.0) / math.pi


def ggx(cosine: Float[Tensor, "*#n"], alpha: Float[Tensor, "*#n"]) -> Float[Tensor, "*n"]:
    """GGX's distribution of normals D, 1/sr: ∫ D cosθ over the hemisphere is one (Walter et al. 2007)."""
    squared = alpha * alpha
    spread = cosine * cosine * (squared - 1.0) + 1.0
    return squared / (math.pi * spread * spread)


def smith_g1(cosine: Float[Tensor, "*#n"], alpha: Float[Tensor, "*#n"]) -> Float[Tensor, "*n"]:
    """The share of GGX's normals that a direction sees (Smith 1967)."""
    return 2.0 * cosine / (cosine + _stretched(cosine, alpha))


def schlick(cosine: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Schlick's weight (1 − cos)⁵ of what Fresnel adds at grazing angles."""
    away = (1.0 - cosine).clamp(0.0, 1.0)
    squared = away * away
    return squared * squared * away


def _angles(view: Float[Tensor, "*#n 3"], light: Float[Tensor, "*#n 3"], normal: Float[Tensor, "*#n 3"]) -> _Angles:
    facing, lit = dot(view, normal), dot(light, normal)
    above = (facing > _TINY) & (lit > _TINY)
    # Below the horizon the half vector may vanish and give NaN gradients: both look along the normal there.
    safe_view = torch.where(above[..., None], view, normal)
    safe_light = torch.where(above[..., None], light, normal)
    half = torch.nn.functional.normalize(safe_view + safe_light, dim=-1)
    one = torch.ones_like(facing)
    return _Angles(
        view=torch.where(above, facing, one),
        light=torch.where(above, lit, one),
        half=dot(half, normal).clamp(0.0, 1.0),
        difference=dot(half, safe_view).clamp(0.0, 1.0),
        above=above.to(view.dtype),
    )


def _f0(material: MaterialLike, settings: BrdfSettings) -> Float[Tensor, "*n 3"]:
    metallic = material.metallic[..., None]
    return settings.dielectric_f0 * (1.0 - metallic) + material.albedo * metallic


def _diffuse(angles: _Angles, material: MaterialLike, settings: BrdfSettings) -> Float[Tensor, "*n 3"]:
    colour = material.albedo * ((1.0 - material.metallic) / math.pi)[..., None]
    if settings.diffuse == "lambert":
        return colour * torch.ones_like(angles.view)[..., None]
    towards_view, towards_light = schlick(angles.view), schlick(angles.light)
    if settings.diffuse == "disney":
        retro = 2.0 * roughness_from_alpha(material.alpha) * angles.difference**2 - 0.5
        return colour * ((1.0 + retro * towards_view) * (1.0 + retro * towards_light))[..., None]
    # (1 − F(v)) (1 − F(l)) with Schlick's F; 21/20 makes its integral albedo · (1 − F(v)), exactly.
    passed = (1.0 - settings.dielectric_f0) * (1.0 - towards_view) * (1.0 - towards_light)
    return colour * (1.05 * passed)[..., None]


def _specular(angles: _Angles, material: MaterialLike, settings: BrdfSettings) -> Float[Tensor, "*n 3"]:
    alpha = material.alpha
    normals = ggx(angles.half, alpha)
    base = _f0(material, settings)
    if settings.specular == "official":
        exponent = (-5.55473 * angles.difference - 6.98316) * angles.difference
        fresnel = base + (1.0 - base) * torch.exp2(exponent)[..., None]
        shadowing = _official_g1(angles.view, alpha) * _official_g1(angles.light, alpha)
        folded = normals * shadowing / (4.0 * angles.view + _OFFICIAL_EPSILON)
        return fresnel * (folded / angles.light)[..., None]
    fresnel = base + (1.0 - base) * schlick(angles.difference)[..., None]
    if settings.specular == "smith_separable":
        shadowing = smith_g1(angles.view, alpha) * smith_g1(angles.light, alpha)
        visible = shadowing / (4.0 * angles.view * angles.light)
    else:
        visible = 0.5 / (angles.light * _stretched(angles.view, alpha) + angles.view * _stretched(angles.light, alpha))
    return fresnel * (normals * visible)[..., None]


def _stretched(cosine: Float[Tensor, "*#n"], alpha: Float[Tensor, "*#n"]) -> Float[Tensor, "*n"]:
    squared = alpha * alpha
    return torch.sqrt(squared + (1.0 - squared) * cosine * cosine)


def _official_g1(cosine: Float[Tensor, "*n"], alpha: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    k = (alpha + 1.0) ** 2 / 8.0
    return cosine / (cosine * (1.0 - k) + k)


def _specular_share(
    view: Float[Tensor, "*#n 3"], normal: Float[Tensor, "*#n 3"], material: MaterialLike, settings: BrdfSettings
) -> Float[Tensor, "*n"]:
    base = _f0(material, settings)
    grazing = schlick(dot(view, normal).clamp(min=0.0))[..., None]
    specular = (base + (1.0 - base) * grazing).mean(dim=-1)
    diffuse = material.albedo.mean(dim=-1) * (1.0 - material.metallic)
    return (specular / (specular + diffuse).clamp(min=_TINY)).clamp(*_LOBE_SHARE)


def _reflected_visible(
    view: Float[Tensor, "*#n 3"],
    normal: Float[Tensor, "*#n 3"],
    alpha: Float[Tensor, "*#n"],
    uniform: Float[Tensor, "*n 2"],
) -> Float[Tensor, "*n 3"]:
    """The view mirrored in a normal drawn from those that it sees."""
    local = into_frame(view, normal)
    local = torch.cat([local[..., :2], local[..., 2:].clamp(min=_TINY)], dim=-1)
    stretch = torch.stack([alpha, alpha, torch.ones_like(alpha)], dim=-1)
    warped = torch.nn.functional.normalize(local * stretch, dim=-1)
    height = (1.0 - uniform[..., 0]) * (1.0 + warped[..., 2]) - warped[..., 2]
    half = polar(height, 2.0 * math.pi * uniform[..., 1]) + warped
    half = torch.nn.functional.normalize(half * stretch, dim=-1)
    mirrored = 2.0 * dot(local, half)[..., None] * half - local
    return from_frame(mirrored, normal)
