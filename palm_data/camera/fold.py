"""Where a radial distortion stops growing: past it, the polynomial puts far points back into the frame."""

from collections.abc import Sequence

import numpy as np

_NO_COEFFICIENT = 1e-15  # on normalised coordinates; smaller ones bend nothing and overflow the root finder


def smallest_positive_root(coefficients: Sequence[float]) -> float:
    """The smallest positive real root of a polynomial, highest power first; infinite if there is none."""
    kept = [0.0 if abs(value) < _NO_COEFFICIENT else value for value in coefficients]
    roots = np.roots(kept)
    real = roots[np.abs(roots.imag) < 1e-9 * np.maximum(np.abs(roots.real), 1e-300)].real
    return float(real[real > 0].min(initial=np.inf))
