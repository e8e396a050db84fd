"""How well a recovered light explains shading: its irradiance against that of the true environment."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from schemas.errors import BadInputError

Radiance = Callable[[Float[ndarray, "n 3"]], Float[ndarray, "n 3"]]
"""Linear RGB radiance from unit directions that point away from the hand, in the world."""

_NORMALS = 512
_EVEN = 0.01
"""Irradiance that differs by less than this share of its largest is even: the rest is the summation's own error."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def irradiance_correlation(light: Radiance, environment: Float[ndarray, "height width 3"], rows: int) -> float:
    """Pearson's correlation of the luminance of both lights' irradiance over surfaces that face every way.

    A scale makes no difference; 0 where one of them lights evenly.

    Args:
        environment: row 0 is the zenith (+z), columns turn from +x towards +y.
        rows: of the map over which the recovered light is summed up.
    """
    normals = spiral(_NORMALS)
    directions, solid = map_directions(rows, 2 * rows)
    recovered = irradiance(np.asarray(light(directions), np.float64), directions, solid, normals) @ _LUMINANCE
    directions, solid = map_directions(*environment.shape[:2])
    true = irradiance(environment.reshape(-1, 3).astype(np.float64), directions, solid, normals) @ _LUMINANCE
    if min(np.ptp(one) / max(float(one.max()), 1e-30) for one in (recovered, true)) < _EVEN:
        return 0.0
    first, second = recovered - recovered.mean(), true - true.mean()
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def irradiance(
    radiance: Float[ndarray, "n 3"],
    directions: Float[ndarray, "n 3"],
    solid_angle: Float[ndarray, "n"],
    normals: Float[ndarray, "m 3"],
) -> Float[ndarray, "m 3"]:
    """E(n) = ∫ L(ω) max(n·ω, 0) dω."""
    return np.maximum(normals @ directions.T, 0.0) @ (radiance * solid_angle[:, None])


def map_directions(height: int, width: int) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"]]:
    """Unit directions of the centres of a latitude–longitude map's pixels, row by row, and their exact solid angles."""
    polar, azimuth = np.pi * (np.arange(height) + 0.5) / height, 2.0 * np.pi * (np.arange(width) + 0.5) / width
    ring, turn = np.meshgrid(polar, azimuth, indexing="ij")
    directions = np.stack([np.sin(ring) * np.cos(turn), np.sin(ring) * np.sin(turn), np.cos(ring)], axis=-1)
    borders = np.cos(np.pi * np.arange(height + 1) / height)
    solid = np.repeat((borders[:-1] - borders[1:]) * 2.0 * np.pi / width, width)
    return directions.reshape(-1, 3), solid


def spiral(count: int) -> Float[ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere, along a golden spiral."""
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    ring = np.sqrt(1.0 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)


def read_environment(truth: Path) -> Float[ndarray, "height width 3"]:
    """The true radiance about the origin, `environment.exr`.

    Raises:
        BadInputError: if the file is missing or not readable.
    """
    import OpenEXR

    path = truth / "environment.exr"
    try:
        channels = OpenEXR.File(str(path)).channels()
        pixels = channels["RGB"].pixels if "RGB" in channels else np.stack([channels[one].pixels for one in "RGB"], -1)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            path, field="file", expected="the light of a simulated session", found=type(error).__name__,
            hint="Name the truth folder of the session that the release was made of.",
        ) from None  # fmt: skip
    return np.asarray(pixels, np.float32)
