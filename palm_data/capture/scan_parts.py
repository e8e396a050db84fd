"""What the OBJ and the PLY reader have in common: the mesh as the file states it, and fans of polygons."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from schemas.errors import BadInputError


@dataclass(frozen=True)
class FileMesh:
    """A mesh as a file states it, polygons cut into triangles; nothing is validated but the syntax."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    uv: Float[ndarray, "t 2"] | None
    uv_faces: Int[ndarray, "f 3"] | None
    material: str | None = None
    """Name of the material file."""
    texture: str | None = None
    """Name of the texture image."""
    partly_textured: bool = False
    """Some faces had texture coordinates, others none; then there are none here."""


def malformed(source: Path, field: str, expected: str, found: object) -> BadInputError:
    """The error of a scan file that breaks its format."""
    return BadInputError(
        source, field=field, expected=expected, found=found, hint="Export the scan from the rig's software again."
    )


def fan_corners(counts: Int[ndarray, "polygons"]) -> Int[ndarray, "triangles 3"]:
    """Where the corners of each polygon's fan of triangles stand in the flat list of all polygons' corners.

    Every polygon needs three corners or more; triangles keep the polygons' order and orientation.
    """
    triangles = counts - 2
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def parse_numbers(text: bytes, dtype: type[np.float64] | type[np.int64], expected: int) -> ndarray | None:
    """The whitespace-separated numbers, or None if there are not exactly as many as expected or one is malformed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy reports text that is no number
        try:
            numbers = np.fromstring(text, dtype=dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    return numbers if len(numbers) == expected else None
