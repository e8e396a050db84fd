"""How depth and normals are stored: whole numbers, rounded once, so that they compress and read back the same anywhere."""

import numpy as np
from jaxtyping import Float, Int16, UInt16
from numpy import ndarray

from schemas.errors import GeometryError

NORMAL_UNIT = 32767
_MAX_DEPTH = 65535


def encode_depth(depth: Float[ndarray, "*shape"], unit_mm: float) -> UInt16[ndarray, "*shape"]:
    """Metres to multiples of the unit, to the nearest; 0 stays "none".

    Raises:
        GeometryError: if a depth is negative, not finite, or too far or too near for the unit.
    """
    steps = np.rint(depth.astype(np.float64) * (1000.0 / unit_mm))
    seen = depth != 0
    if not np.isfinite(steps).all() or (steps < 0).any() or (steps > _MAX_DEPTH).any() or (steps[seen] == 0).any():
        found = f"{float(np.nanmin(depth)):.4f} to {float(np.nanmax(depth)):.4f} m"
        raise GeometryError(
            f"depth: expected 0 (none) or {unit_mm / 1000:g} to {_MAX_DEPTH * unit_mm / 1000:g} m, found {found}. "
            "Check the scan's unit and the calibration, or choose another maps.depth_unit_mm."
        )
    return steps.astype(np.uint16)


def decode_depth(stored: UInt16[ndarray, "*shape"], unit_mm: float) -> Float[ndarray, "*shape"]:
    """Multiples of the unit to metres, float32; within half a unit of what was encoded."""
    return (stored.astype(np.float64) * (unit_mm / 1000.0)).astype(np.float32)


def encode_normals(normals: Float[ndarray, "*shape 3"]) -> Int16[ndarray, "*shape 3"]:
    """Unit vectors to 1/32767, to the nearest; 0 stays "none".

    Raises:
        GeometryError: if a component is not finite or beyond ±1.
    """
    steps = np.rint(normals.astype(np.float64) * NORMAL_UNIT)
    if not (np.abs(steps) <= NORMAL_UNIT).all():  # NaN is caught too
        raise GeometryError("normals: expected components within ±1, found others.")
    return steps.astype(np.int16)


def decode_normals(stored: Int16[ndarray, "*shape 3"]) -> Float[ndarray, "*shape 3"]:
    """1/32767 to unit vectors, float32; 0 where there is none."""
    return (stored.astype(np.float64) / NORMAL_UNIT).astype(np.float32)
