"""What a surface sends towards the camera (eq. 7): Monte Carlo estimates by named strategies, all unbiased.

    L_o(x, v) = ∫ BRDF(v, ω) L_i(x, ω) cos⁺(n, ω) dω        L_i(x, ω) = T(x, ω) Env(ω) + C(x, ω)   (eq. 8–9)

Strategies: `uniform` and `stratified` draw directions over the whole sphere (as the official training), `brdf` as the
surface reflects, `light` as the environment shines, `mis` either with even chances, by the balance heuristic.
Directions and densities carry no gradient: the gradient of an estimate is an unbiased estimate of the gradient, with
visibility and indirect light held as they are.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_model.prior.brdf import MaterialLike, brdf_pdf, brdf_times_cosine, sample_brdf
from palm_model.prior.directions import UNIFORM_SPHERE_PDF, random_numbers, stratified_numbers, uniform_sphere
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.secondary import Secondary
from schemas.prior_pbr import BrdfSettings, ShadingSettings, Strategy

_DEFAULT_BRDF = BrdfSettings()
_LEAST_PDF = 1e-12


class _Spread(NamedTuple):
    """A material with room for samples beside each point."""

    albedo: Float[Tensor, "n 1 3"]
    alpha: Float[Tensor, "n 1"]
    metallic: Float[Tensor, "n 1"]


class _Surface(NamedTuple):
    """What directions are drawn for."""

    view: Float[Tensor, "n 1 3"]
    normal: Float[Tensor, "n 1 3"]
    material: _Spread
    brdf: BrdfSettings


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points that are shaded, in the rig's world."""

    position: Float[Tensor, "n 3"]
    view: Float[Tensor, "n 3"]
    """Unit vectors towards the camera."""
    normal: Float[Tensor, "n 3"]
    """Unit vectors outwards."""
    material: MaterialLike


class Scatter(NamedTuple):
    """Where along each ray light is scattered, drawn by the volume's weights."""

    sample: Int[Tensor, "rays draws"]
    """Which sample of the ray; any where the draw fell behind everything."""
    share: Float[Tensor, "rays draws"]
    """1, or 0 where the draw fell behind everything; carries the gradient to the weights."""


def uniform_numbers(points: int, settings: ShadingSettings, generator: torch.Generator) -> Float[Tensor, "n samples 2"]:
    """What `outgoing_radiance` spends: rows × columns numbers a point, stratified where the strategy says so.

    Stratified numbers serve the other strategies as well; `uniform` is what has none, for comparison.
    """
    if settings.strategy == "uniform":
        return random_numbers(points, settings.rows * settings.columns, generator)
    return stratified_numbers(points, settings.rows, settings.columns, generator)


def outgoing_radiance(
    points: SurfacePoints,
    light: EnvironmentLight,
    uniform: Float[Tensor, "n samples 2"],
    settings: ShadingSettings,
    *,
    secondary: Secondary | None = None,
    brdf: BrdfSettings = _DEFAULT_BRDF,
) -> Float[Tensor, "n 3"]:
    """An unbiased estimate of what each point sends towards its view, linear RGB.

    Args:
        uniform: independent of the points; see `uniform_numbers`.
        secondary: what stands in the light's way and shines itself; None: nothing.
    """
    view, normal = points.view[:, None], points.normal[:, None]
    given = points.material
    material = _Spread(given.albedo[:, None], given.alpha[:, None], given.metallic[:, None])
    surface = _Surface(view, normal, material, brdf)
    directions, pdf = _directions(settings.strategy, surface, light, uniform)
    reflected = brdf_times_cosine(view, directions, normal, material, brdf)
    useful = (reflected.detach().amax(dim=-1) > 0) & (pdf > _LEAST_PDF)
    owner, sample = useful.nonzero(as_tuple=True)
    lifted = points.position + settings.lift_m * points.normal
    incident = _incident(lifted.detach()[owner], directions[owner, sample], owner, light, secondary)
    values = reflected[owner, sample] * incident / pdf[owner, sample, None]
    total = torch.zeros_like(points.view).index_add(0, owner, values)
    return total / uniform.shape[1]


def scatter_points(weights: Float[Tensor, "rays m"], uniform: Float[Tensor, "rays draws"]) -> Scatter:
    """Draw where on each ray light is scattered, by the weights of eq. 2; what they lack to one is the background.

    With L the light that a ray's samples send, the mean over draws of share · L[sample] is an unbiased estimate of
    Σ w L, and its gradient one of the gradient, to the weights too.
    """
    held = weights.detach()
    borders = held.cumsum(dim=1)
    sample = torch.searchsorted(borders, uniform.contiguous(), right=True)
    hit = sample < weights.shape[1]
    sample = sample.clamp(max=weights.shape[1] - 1)
    chosen, as_number = weights.gather(1, sample), held.gather(1, sample)
    hit = hit & (as_number > 0)
    share = torch.where(hit, chosen / torch.where(hit, as_number, torch.ones_like(as_number)), torch.zeros_like(chosen))
    return Scatter(sample, share)


def pixel_mean(scatter: Scatter, values: Float[Tensor, "rays draws 3"]) -> Float[Tensor, "rays 3"]:
    """Eq. 7: the pixel's colour (linear, before the background) from what its drawn points send towards the camera."""
    return (scatter.share[..., None] * values).mean(dim=1)


def _incident(
    positions: Tensor, directions: Tensor, owner: Tensor, light: EnvironmentLight, secondary: Secondary | None
) -> Float[Tensor, "k 3"]:
    """Eq. 8–9."""
    radiance = light.radiance(directions)
    if secondary is None:
        return radiance
    arrival = secondary(positions, directions, owner)
    return arrival.transmittance.detach()[:, None] * radiance + arrival.radiance.detach()


def _directions(
    strategy: Strategy, surface: _Surface, light: EnvironmentLight, uniform: Tensor
) -> tuple[Float[Tensor, "n samples 3"], Float[Tensor, "n samples"]]:
    """Directions, and the density of each."""
    if strategy in ("uniform", "stratified"):
        directions = uniform_sphere(uniform)
        return directions, torch.full_like(directions[..., 0], UNIFORM_SPHERE_PDF)
    if strategy == "brdf":
        return sample_brdf(surface.view, surface.normal, surface.material, uniform, surface.brdf)
    if strategy == "light":
        return light.sample(uniform)
    # Balance heuristic with equal shares: a value over the mean of both densities, whoever drew it.
    first = 2.0 * uniform[..., 0]
    numbers = torch.stack([first % 1.0, uniform[..., 1]], dim=-1)
    by_surface, _ = sample_brdf(surface.view, surface.normal, surface.material, numbers, surface.brdf)
    by_light, _ = light.sample(numbers)
    directions = torch.where((first < 1.0)[..., None], by_surface, by_light)
    surface_pdf = brdf_pdf(surface.view, directions, surface.normal, surface.material, surface.brdf)
    return directions, 0.5 * (surface_pdf + light.pdf(directions))
