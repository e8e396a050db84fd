"""From signed distance to density: Laplace's distribution, as in VolSDF (Yariv et al., 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from schemas.errors import SettingsError


class LaplaceDensity(nn.Module):
    """σ = Ψ_β(−s)/β with Ψ the cumulative distribution of Laplace's law of scale β, which is learned.

    Args:
        initial: β at first, metres.
        least: β never falls below it, metres.

    Raises:
        SettingsError: if `initial` is not above `least`, or `least` not above 0.
    """

    def __init__(self, initial: float, least: float = 1e-4) -> None:
        super().__init__()
        if not initial > least > 0:
            raise SettingsError(f"density: expected beta_initial > beta_least > 0, found {initial} and {least}.")
        self.least = least
        self.above_least = nn.Parameter(torch.tensor(initial - least))

    @property
    def beta(self) -> Float[Tensor, ""]:
        """The scale, metres."""
        return self.above_least.abs() + self.least

    def forward(self, sdf: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Density, 1/m: 1/β deep inside (negative), half of it on the surface, 0 far outside; no overflow anywhere."""
        beta = self.beta
        tail = 0.5 * torch.exp(-sdf.abs() / beta)
        return torch.where(sdf > 0, tail, 1.0 - tail) / beta
