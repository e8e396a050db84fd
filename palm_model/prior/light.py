"""The light from afar: an environment that can be looked up, sampled and asked for its density; spherical Gaussians.

Directions are unit vectors of the rig's world (+z up) that point away from the surface, towards the light.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palm_model.prior.directions import fibonacci_sphere, from_frame, polar
from schemas.errors import BadInputError
from schemas.prior_pbr import GaussianLightSettings

_BROAD = 1e-4
"""A lobe of a smaller sharpness is the same in all directions, to float32."""
_LOBE_NUMBERS = 7


class EnvironmentLight(nn.Module, ABC):
    """Radiance from infinitely far away, by direction."""

    @abstractmethod
    def radiance(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Linear RGB radiance from each direction, with a gradient to what the light has learned."""

    @abstractmethod
    def sample(self, uniform: Float[Tensor, "*n 2"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
        """Directions about as likely as they are bright, and their density by solid angle; no gradient."""

    @abstractmethod
    def pdf(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        """Density by solid angle with which `sample` draws a direction; no gradient."""

    def forward(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """As `radiance`."""
        return self.radiance(directions)


class SphericalGaussians(EnvironmentLight):
    """L(ω) = Σ |μ| exp(|λ| (ω · ξ − 1)) (Env of eq. 9): learned axes ξ, sharpness λ and colours μ.

    The seven numbers of a lobe (axis, sharpness, RGB) are as the official code stores them; here it can be sampled too.
    """

    lobes: nn.Parameter
    """(lobes, 7); the axis need not be a unit vector, and signs of sharpness and colour do not count."""

    def __init__(self, lobes: Float[Tensor, "lobes 7"]) -> None:
        """A light of the lobes given, which are copied.

        Raises:
            BadInputError: if they are not rows of seven finite numbers, or an axis is zero.
        """
        super().__init__()
        expected = "rows of 7 finite numbers: axis (not zero), sharpness, RGB"
        if lobes.ndim != 2 or lobes.shape[0] < 1 or lobes.shape[1] != _LOBE_NUMBERS:
            raise BadInputError("SphericalGaussians", field="lobes", expected=expected, found=f"{tuple(lobes.shape)}")
        if not bool(torch.isfinite(lobes).all() & (lobes[:, :3].norm(dim=1) > 0).all()):
            raise BadInputError("SphericalGaussians", field="lobes", expected=expected, found="others")
        self.lobes = nn.Parameter(lobes.detach().clone().float())

    @classmethod
    def start(cls, settings: GaussianLightSettings, generator: torch.Generator) -> "SphericalGaussians":
        """Grey lobes along a Fibonacci sphere, every axis another; sharpness is random, the energy as the settings say.

        Args:
            generator: on the CPU.
        """
        axes = fibonacci_sphere(settings.lobes)
        spread = torch.randn(settings.lobes, generator=generator).abs()
        sharpness = settings.sharpness + settings.sharpness_spread * spread
        amplitude = settings.energy / lobe_integral(sharpness).sum()
        return cls(torch.cat([axes, sharpness[:, None], amplitude.expand(settings.lobes, 3)], dim=1))

    @property
    def axes(self) -> Float[Tensor, "lobes 3"]:
        """Unit vectors."""
        return nn.functional.normalize(self.lobes[:, :3], dim=1)

    @property
    def sharpness(self) -> Float[Tensor, "lobes"]:
        """λ ≥ 0."""
        return self.lobes[:, 3].abs()

    @property
    def amplitude(self) -> Float[Tensor, "lobes 3"]:
        """Radiance along the axis, linear RGB ≥ 0."""
        return self.lobes[:, 4:].abs()

    def energy(self) -> Float[Tensor, "3"]:
        """The integral of the radiance over the sphere, in closed form."""
        return lobe_integral(self.sharpness) @ self.amplitude

    def radiance(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Linear RGB radiance from each direction."""
        return self._shape(directions) @ self.amplitude

    def sample(self, uniform: Float[Tensor, "*n 2"]) -> tuple[Float[Tensor, "*n 3"], Float[Tensor, "*n"]]:
        """A lobe in proportion to its energy, then a direction in proportion to the lobe (von Mises–Fisher)."""
        with torch.no_grad():
            total = self._shares().cumsum(dim=0)
            total = total / total[-1]
            lobe = torch.searchsorted(total, uniform[..., 0].contiguous(), right=True).clamp(max=len(total) - 1)
            before = torch.cat([total.new_zeros(1), total[:-1]])
            inside = (uniform[..., 0] - before[lobe]) / (total[lobe] - before[lobe]).clamp(min=1e-12)
            away = _away_from_axis(inside.clamp(0.0, 1.0 - 2.0**-24), self.sharpness[lobe])
            local = polar(1.0 - away, 2.0 * math.pi * uniform[..., 1])
            # The sine from 1 − cosine, which keeps its digits in sharp lobes.
            sine = torch.sqrt((away * (2.0 - away)).clamp(min=0.0))
            across = nn.functional.normalize(local[..., :2], dim=-1) * sine[..., None]
            directions = from_frame(torch.cat([across, local[..., 2:]], dim=-1), self.axes[lobe])
            directions = nn.functional.normalize(directions, dim=-1)
            return directions, self.pdf(directions)

    def pdf(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        """The mixture's density: each lobe over its integral, by its share of the energy."""
        with torch.no_grad():
            return self._shape(directions) @ (self._shares() / lobe_integral(self.sharpness))

    def _shape(self, directions: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n lobes"]:
        return torch.exp(self.sharpness * (directions @ self.axes.T - 1.0))

    def _shares(self) -> Float[Tensor, "lobes"]:
        energy = self.amplitude.mean(dim=1) * lobe_integral(self.sharpness)
        total = energy.sum()
        return torch.where(total > 0, energy / total.clamp(min=1e-30), torch.full_like(energy, 1.0 / len(energy)))


def lobe_integral(sharpness: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The integral over the sphere of exp(λ (cosθ − 1)): 2π (1 − e^(−2λ)) / λ, and 4π where λ vanishes."""
    safe = sharpness.clamp(min=_BROAD)
    exact = -2.0 * math.pi * torch.expm1(-2.0 * safe) / safe
    return torch.where(sharpness < _BROAD, 4.0 * math.pi * (1.0 - sharpness), exact)


def _away_from_axis(uniform: Float[Tensor, "*n"], sharpness: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """1 − cosine of the angle from the axis, 0 to 2, by inverting a lobe's distribution."""
    safe = sharpness.clamp(min=_BROAD)
    bent = -torch.log1p(uniform * torch.expm1(-2.0 * safe)) / safe
    return torch.where(sharpness < _BROAD, 2.0 * uniform, bent).clamp(0.0, 2.0)
