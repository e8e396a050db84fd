"""What a model says that a camera sees of a hand: the pictures that a prediction is scored by."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from schemas.errors import GeometryError

_CHANNELS = {"rgb": 3, "normal": 3, "albedo": 3, "pbr_rgb": 3}


@dataclass(frozen=True, eq=False)
class PredictedView:
    """One view, of the size of its camera's image."""

    rgb: Float32[ndarray, "height width 3"]
    """sRGB from 0 to 1, before black."""
    opacity: Float32[ndarray, "height width"]
    """0 to 1."""
    normal: Float32[ndarray, "height width 3"]
    """World; any length, 0 = none."""
    depth: Float32[ndarray, "height width"]
    """Metres along the camera's z; 0 = none."""
    albedo: Float32[ndarray, "height width 3"] | None = None
    """Linear."""
    roughness: Float32[ndarray, "height width"] | None = None
    """GGX α."""
    pbr_rgb: Float32[ndarray, "height width 3"] | None = None
    """sRGB from 0 to 1, before black, of the branch that shades material by light."""

    def __post_init__(self) -> None:
        """Refuse pictures that do not belong together.

        Raises:
            GeometryError: if one is not of the opacity's size, or holds a value that is not finite; says which.
        """
        size = self.opacity.shape
        for one in fields(self):
            picture = getattr(self, one.name)
            if picture is None:
                continue
            channels = _CHANNELS.get(one.name)
            expected = size if channels is None else (*size, channels)
            if len(size) != 2 or picture.shape != expected:
                raise GeometryError(f"PredictedView: {one.name}: expected {expected}, found {picture.shape}.")
            if not np.isfinite(picture).all():
                raise GeometryError(f"PredictedView: {one.name}: expected finite values, found others.")
