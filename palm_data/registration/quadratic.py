"""A sum of squares around the current parameters: what each term adds, and what the solver needs."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.registration.parameters import TOTAL_SIZE


@dataclass
class Quadratic:
    """½ hessian, gradient and value of a frame's objective in its 61 parameters."""

    value: float = 0.0
    gradient: Float[ndarray, "61"] = field(default_factory=lambda: np.zeros(TOTAL_SIZE))
    hessian: Float[ndarray, "61 61"] = field(default_factory=lambda: np.zeros((TOTAL_SIZE, TOTAL_SIZE)))

    def add(
        self,
        residuals: Float[ndarray, " rows"],
        jacobian: Float[ndarray, "rows 61"] | None,
        weights: Float[ndarray, " rows"],
        value: float | None = None,
    ) -> None:
        """Add Σ weight · residual²; without a Jacobian only to the value.

        Args:
            value: of the robust function that the weights stand for, where they are not constants.
        """
        self.value += float(weights @ residuals**2) if value is None else value
        if jacobian is None:
            return
        weighted = jacobian * weights[:, None]
        self.hessian += weighted.T @ jacobian
        self.gradient += weighted.T @ residuals


def geman_mcclure(squared: Float[ndarray, "..."], scale: Float[ndarray, "..."] | float) -> Float[ndarray, "..."]:
    """ρ(r) = r² σ²/(r² + σ²) (Geman & McClure 1987), from r²."""
    return squared * scale**2 / (squared + scale**2)


def geman_mcclure_weight(squared: Float[ndarray, "..."], scale: Float[ndarray, "..."] | float) -> Float[ndarray, "..."]:
    """Its weight in iteratively reweighted least squares, ρ'(r)/2r = (σ²/(r² + σ²))²."""
    return (scale**2 / (squared + scale**2)) ** 2
