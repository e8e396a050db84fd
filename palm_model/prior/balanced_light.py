"""A light whose colour is settled: what pictures cannot tell of light and skin apart."""

from jaxtyping import Float
from torch import Tensor

from palm_model.prior.light import SphericalGaussians, lobe_integral


class BalancedGaussians(SphericalGaussians):
    """Lobes of any colours that sum to white: over the sphere there is as much energy in each channel.

    Redder light on bluer skin makes the same pictures as bluer light on redder skin; in a studio whose cameras were
    balanced to its lamps, the light is white.
    """

    @property
    def amplitude(self) -> Float[Tensor, "lobes 3"]:
        """Radiance along the axis, linear RGB ≥ 0."""
        own = super().amplitude
        energy = lobe_integral(self.sharpness) @ own
        return own * (energy.mean() / energy.clamp(min=1e-12))
