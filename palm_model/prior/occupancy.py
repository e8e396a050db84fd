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

        A cell counts when its centre is within reach and half its diagonal: none that has a place in reach is missed.
        """
        low, high = points.amin(dim=1), points.amax(dim=1)
        half = 0.5 * (high - low).amax(dim=-1) + reach_m
        corner = 0.5 * (low + high) - half[:, None]
        side = 2.0 * half
        occupied = torch.zeros(len(points), resolution**3, dtype=torch.bool, device=points.device)
        for row in range(len(points)):  # one hand at a time bounds the memory
            cells = _cells_near(points[row] - corner[row], side[row] / resolution, reach_m, resolution)
            occupied[row, cells] = True
        return cls(corner, side, occupied.view(-1, resolution, resolution, resolution))

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


def _cells_near(
    points: Float[Tensor, "v 3"], cell: Float[Tensor, ""], reach_m: float, resolution: int
) -> Int[Tensor, "k"]:
    """Numbers of the cells of one cube within reach of points given from its corner, some of them repeated."""
    wide = reach_m + 0.5 * math.sqrt(3.0) * float(cell)
    many = math.ceil(wide / float(cell))
    steps = torch.arange(-many, many + 1, device=points.device)
    around = torch.cartesian_prod(steps, steps, steps)
    cells = (points / cell).floor().long()[:, None] + around
    near = torch.linalg.vector_norm((cells + 0.5) * cell - points[:, None], dim=-1) <= wide
    near &= ((cells >= 0) & (cells < resolution)).all(dim=-1)
    x, y, z = cells[near].unbind(dim=-1)
    return (x * resolution + y) * resolution + z
