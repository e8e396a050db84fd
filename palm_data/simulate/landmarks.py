"""Lines that a hand carries: palm creases, tendons and veins, each person's a little different.

All are polylines in the palm's plane at rest: (distal, radial) from the wrist joint, metres, for a hand of the model's
mean size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from palm_data.simulate.anatomy import Anatomy

Polyline = Float[ndarray, "points 2"]

# As shares of the wrist-to-knuckle length (distal) and of the knuckles' half width (radial).
_PALM_LINES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.93, 1.12), (0.86, 0.62), (0.62, 0.20), (0.38, 0.06), (0.14, 0.16)),
    ((0.92, 1.14), (0.83, 0.45), (0.70, -0.25), (0.58, -0.85)),
    ((1.04, 0.35), (0.92, 0.05), (0.85, -0.50), (0.84, -1.25)),
)
_VEINS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.98, 0.62), (0.70, 0.42), (0.44, 0.58), (0.16, 0.46), (-0.35, 0.55), (-1.1, 0.62)),
    ((0.98, -0.05), (0.76, 0.05), (0.62, 0.22), (0.50, 0.50)),
    ((0.96, -0.68), (0.70, -0.50), (0.45, -0.30), (0.20, -0.22), (-0.25, -0.30), (-1.1, -0.15)),
    ((0.97, -0.05), (0.80, -0.22), (0.60, -0.42)),
    ((0.40, 1.10), (0.25, 0.90), (0.10, 0.62)),
    ((0.20, -0.22), (0.08, 0.10), (-0.12, 0.36), (-0.35, 0.52)),
)
_SAMPLES = 160
_LINE_JITTER_M = 0.0018
_VEIN_JITTER_M = 0.0030


@dataclass(frozen=True, eq=False)
class Landmarks:
    """One person's lines."""

    palm_lines: tuple[Polyline, ...]
    tendons: tuple[Polyline, ...]
    """Index → pinky, wrist → knuckle."""
    veins: tuple[Polyline, ...]


def draw_landmarks(anatomy: Anatomy, rng: np.random.Generator) -> Landmarks:
    """A person's lines: the usual ones, each bent a little."""
    knuckles = {name: anatomy.palm_coordinates(anatomy.fingers[name].points[:1])[0] for name in anatomy.fingers}
    length = knuckles["middle"][0]
    half = 0.5 * (knuckles["index"][1] - knuckles["pinky"][1])
    middle = 0.5 * (knuckles["index"][1] + knuckles["pinky"][1])

    def bent(shares: tuple[tuple[float, float], ...], jitter: float) -> Polyline:
        control = np.array(shares) * [length, half] + [0.0, middle]
        return _curve(control + jitter * rng.standard_normal(control.shape))

    tendons = tuple(
        _curve(
            np.array([[0.05 * length, 0.25 * knuckles[name][1]], knuckles[name][:2] * [0.55, 0.62], knuckles[name][:2]])
            + 0.0008 * rng.standard_normal((3, 2))
        )
        for name in ("index", "middle", "ring", "pinky")
    )
    lines = tuple(bent(shares, _LINE_JITTER_M) for shares in _PALM_LINES)
    veins = tuple(bent(shares, _VEIN_JITTER_M) for shares in _VEINS)
    return Landmarks(lines, tendons, veins)


def distance_to(lines: tuple[Polyline, ...], places: Float[ndarray, "n 2"]) -> Float[ndarray, "n"]:
    """Distance from places in the palm's plane to the nearest of the lines, metres."""
    return np.asarray(cKDTree(np.concatenate(lines)).query(places, distance_upper_bound=0.02)[0])


def position_on(line: Polyline, places: Float[ndarray, "n 2"]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
    """Distance to one line, metres, and the share of its length at the nearest point."""
    distance, row = cKDTree(line).query(places)
    return np.asarray(distance), np.asarray(row) / (len(line) - 1)


def _curve(control: Float[ndarray, "n 2"]) -> Polyline:
    """A smooth curve through control points, densely sampled."""
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
    return CubicSpline(steps, control)(np.linspace(0.0, steps[-1], _SAMPLES))
