"""Where space may hold a hand: for each pose a cube about its registered surface, and the cells near that surface.

Each hand of a batch has a grid of its own: a ray that is to meet one hand is not led to where another happens to be.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class OccupancyGrid:
    """p cubes of r³ cells in the world, axes along the world's."""

    low: Float[Tensor, "p 3"]
    """Each cube's least corner, metres."""
    side: Float[Tensor, "p"]
    """Metres."""
    occupied: Bool[Tensor, "p r r r"]

    @classmethod
    def about(cls, points: Float[Tensor, "p v 3"], reach_m: float, resolution: int) -> "OccupancyGrid":
        """The cells any of which lies within `reach_m` of one of the points of its own pose, and the cubes about them.

        Cells that hold a point are marked, and those taken whose centre is within reach and one diagonal of a cell of a
        marked one's: none that has a place in reach is missed, and none is farther than that and two diagonals.
        """
        low, high = points.amin(dim=1), points.amax(dim=1)
        half = 0.5 * (high - low).amax(dim=-1) + reach_m
        corner = 0.5 * (low + high) - half[:, None]
        cell = 2.0 * half / resolution
        place = ((points - corner[:, None]) / cell[:, None, None]).long().clamp(0, resolution - 1)
        marked = torch.zeros(len(points), resolution, resolution, resolution, dtype=torch.bool, device=points.device)
        marked[torch.arange(len(points), device=points.device)[:, None], *place.unbind(dim=-1)] = True
        within = reach_m / cell + math.sqrt(3.0) + 1e-3
        away = _squared_distances(marked, math.ceil(float(within.max())))
        return cls(corner, 2.0 * half, away <= within[:, None, None, None] ** 2)

    def contains(self, points: Float[Tensor, "n m 3"], pose: Int[Tensor, "n"]) -> Bool[Tensor, "n m"]:
        """Which points lie in an occupied cell of their own pose."""
        resolution = self.occupied.shape[1]
        cells = ((points - self.low[pose][:, None]) * (resolution / self.side[pose])[:, None, None]).floor().long()
        inside = ((cells >= 0) & (cells < resolution)).all(dim=-1)
        x, y, z = cells.clamp(0, resolution - 1).unbind(dim=-1)
        return inside & self.occupied[pose[:, None], x, y, z]

    def span(
        self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], pose: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """Where rays enter and leave their pose's cube, metres from the origin, not before it; equal where they miss."""
        tiny = torch.finfo(directions.dtype).tiny
        slope = torch.where(directions.abs() < tiny, torch.full_like(directions, tiny), directions)
        low, side = self.low[pose], self.side[pose][:, None]
        one, other = (low - origins) / slope, (low + side - origins) / slope
        enter = torch.minimum(one, other).amax(dim=-1).clamp(min=0.0)
        leave = torch.maximum(one, other).amin(dim=-1)
        met = leave > enter
        zero = torch.zeros_like(enter)
        return torch.where(met, enter, zero), torch.where(met, leave, zero)


def _squared_distances(marked: Bool[Tensor, "p r r r"], most: int) -> Float[Tensor, "p r r r"]:
    """From each cell to the nearest marked one, squared, in cells; at least those up to `most` are right.

    One axis after the other: the least of what lies along it, each with its squared distance along it added.
    """
    least = torch.zeros(marked.shape, device=marked.device).masked_fill_(~marked, torch.inf)
    resolution = marked.shape[-1]
    for axis in (1, 2, 3):
        known, least = least, least.clone()
        for step in range(1, min(most, resolution - 1) + 1):
            keep = resolution - step
            near, far = known.narrow(axis, 0, keep) + step**2, known.narrow(axis, step, keep) + step**2
            torch.minimum(least.narrow(axis, step, keep), near, out=least.narrow(axis, step, keep))
            torch.minimum(least.narrow(axis, 0, keep), far, out=least.narrow(axis, 0, keep))
    return least
