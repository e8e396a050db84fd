"""Canonical space: everybody's hand flat, in one cube.

A hand stands in canonical space as the hand model has it in absolute zero pose (every joint's turn zero: flat, not
the mean pose) with its own shape, without pose correctives. Points of all people and poses meet there, and one fixed
cube, made from the hand model alone, maps it to [0, 1]³ for the networks.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palm_data.hand.model import HandModel

SHAPE_REACH_STD = 3.0
"""Shapes up to this far from the mean, in standard deviations, fit into the cube."""
MARGIN_M = 0.015
"""Room that the cube leaves about every such shape, metres."""


@dataclass(frozen=True, eq=False)
class CanonicalBox:
    """A cube of canonical space, the same for everybody."""

    centre: Float[Tensor, "3"]
    """Metres."""
    half_side: float
    """Metres."""

    def to_unit(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Canonical metres to [0, 1]³; points outside the cube come out beyond it."""
        return (points - self.centre.to(points)) * (0.5 / self.half_side) + 0.5

    def from_unit(self, unit: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """The inverse of `to_unit`, metres."""
        return (unit - 0.5) * (2.0 * self.half_side) + self.centre.to(unit)

    def contains(self, points: Float[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Which points lie in the cube, its faces included."""
        return ((points - self.centre.to(points)).abs() <= self.half_side).all(dim=-1)

    def to(self, device: torch.device | str) -> "CanonicalBox":
        """The same cube with its centre on a device."""
        return CanonicalBox(self.centre.to(device), self.half_side)


def canonical_box(
    model: HandModel, *, shape_reach_std: float = SHAPE_REACH_STD, margin_m: float = MARGIN_M
) -> CanonicalBox:
    """The cube about every hand whose shape is at most `shape_reach_std` from the mean, with room to spare.

    A function of the hand model alone: what a network learned in it does not move when people are added. A vertex
    with shape directions D reaches at most |D| · reach along an axis over the ball of shapes |β| ≤ reach.
    """
    reach = shape_reach_std * np.linalg.norm(model.shapedirs.astype(np.float64), axis=2)
    low = (model.v_template - reach).min(axis=0)
    high = (model.v_template + reach).max(axis=0)
    centre = torch.tensor(0.5 * (low + high), dtype=torch.float32)
    return CanonicalBox(centre, float(0.5 * (high - low).max() + margin_m))


def canonical_vertices(model: HandModel, betas: Float[Tensor, "p 10"]) -> Float[Tensor, "p vertices 3"]:
    """The flat surface of people's hands: the template with their shape, metres; on the shapes' device."""
    template = torch.tensor(model.v_template, dtype=betas.dtype, device=betas.device)
    directions = torch.tensor(model.shapedirs, dtype=betas.dtype, device=betas.device)
    return template + torch.einsum("vij,pj->pvi", directions, betas)


def canonical_joints(model: HandModel, betas: Float[Tensor, "p 10"]) -> Float[Tensor, "p 16 3"]:
    """Where the sixteen joints of people's hands are in canonical space, metres; on the shapes' device."""
    regressor = model.joint_regressor.astype(np.float64)
    mean = torch.tensor(regressor @ model.v_template, dtype=betas.dtype, device=betas.device)
    directions = np.einsum("jv,vik->jik", regressor, model.shapedirs.astype(np.float64))
    moved = torch.tensor(directions, dtype=betas.dtype, device=betas.device)
    return mean + torch.einsum("jik,pk->pji", moved, betas)
