"""The posed hand and its derivatives with respect to all 61 parameters of a frame."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import HandModel
from palm_data.registration.parameters import ORIENT, POSE, SHAPE, TRANSL


@dataclass(frozen=True)
class Posed:
    """A posed hand, metres, and its derivatives per unit of each parameter where they were asked for."""

    vertices: Float[ndarray, "vertices 3"]
    joints: Float[ndarray, "21 3"]
    vertex_slopes: Float[ndarray, "vertices 3 61"] | None = None
    joint_slopes: Float[ndarray, "21 3 61"] | None = None


class PosedHandFunction:
    """Vertices and joints as functions of the 61 parameters [orient 3, pose 45, transl 3, betas 10]."""

    def __init__(self, model: HandModel) -> None:
        self.model = model
        self._layer = HandLayer(model, dtype=torch.float64)
        self._slopes = torch.func.jacfwd(self._pose)

    def _pose(self, parameters: Float[Tensor, "61"]) -> tuple[Tensor, Tensor]:
        row = parameters[None]
        posed = self._layer(row[:, ORIENT], row[:, POSE], row[:, SHAPE], row[:, TRANSL])
        return posed.vertices[0], posed.joints[0]

    def __call__(self, frame: Float[ndarray, "51"], betas: Float[ndarray, "10"], *, slopes: bool = False) -> Posed:
        """The posed hand; with its derivatives, by forward differentiation, if asked."""
        with torch.no_grad():
            parameters = torch.from_numpy(np.concatenate([frame, betas]))
            values = self._pose(parameters)
            derivatives = self._slopes(parameters) if slopes else ()
        return Posed(*(tensor.numpy() for tensor in (*values, *derivatives)))
