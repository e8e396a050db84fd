"""Where the model ends: the wrist rim, and the plane beyond which a scan shows forearm that the model lacks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.hand.model import HandModel


@dataclass(frozen=True)
class WristPlane:
    """The plane through the posed rim; its normal points to the forearm."""

    point: Float[ndarray, "3"]
    normal: Float[ndarray, "3"]

    def beyond(self, points: Float[ndarray, "points 3"], margin: float) -> Bool[ndarray, " points"]:
        """Points on the forearm's side, or nearer to the plane than the margin (metres)."""
        side: Bool[ndarray, " points"] = (points - self.point) @ self.normal > -margin
        return side


class WristRim:
    """The rim of a hand model."""

    def __init__(self, model: HandModel) -> None:
        self._loop = model.rim_vertices()

    def plane(self, vertices: Float[ndarray, "vertices 3"]) -> WristPlane:
        """The plane through the posed rim."""
        loop = vertices[self._loop]
        centre = loop.mean(axis=0)
        normal = np.linalg.svd(loop - centre)[2][2]
        return WristPlane(centre, normal * np.sign((centre - vertices.mean(axis=0)) @ normal))

    def near(self, vertices: Float[ndarray, "vertices 3"], margin: float) -> Bool[ndarray, " vertices"]:
        """Vertices within the margin (metres) of the rim's own."""
        loop = vertices[self._loop]
        gap = np.linalg.norm(vertices[:, None] - loop[None], axis=2).min(axis=1)
        close: Bool[ndarray, " vertices"] = gap <= margin
        return close
