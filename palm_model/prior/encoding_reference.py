"""The hash encoding in plain torch: any device, differentiable as often as one likes, and what the kernel must equal.

With CUDA it is also what runs, through `torch.compile`, which fuses it; derivatives are then of first order, too.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from palm_model.prior.encoding_levels import HASH_PRIMES


class Grids(NamedTuple):
    """The open levels, coarse to fine."""

    vertices: Int[Tensor, " open"]
    """A side."""
    first: Int[Tensor, " open"]
    """The entry of the table at which the level begins."""
    dense: Bool[Tensor, " open"]
    """Whether each vertex has an entry of its own."""


def encode_reference(
    unit_points: Float[Tensor, "n 3"],
    table: Float[Tensor, "entries features"],
    grids: Grids,
    opening: Float[Tensor, " open"],
    table_size: int,
) -> Float[Tensor, "n columns"]:
    """Trilinear interpolation in each open level, coarse to fine, times the level's opening.

    Points outside the unit cube take the value of the closest point on it. One that is not a number gives features
    that are none.

    Args:
        opening: what each level counts.
        table_size: entries of a level that is not dense.
    """
    scaled = unit_points.clamp(0.0, 1.0)[:, None] * (grids.vertices - 1).to(unit_points)[:, None]  # (n, open, 3)
    cell = torch.minimum(scaled.detach().nan_to_num(0.0).long(), (grids.vertices - 2)[:, None])
    fraction = scaled - cell.to(scaled)
    sides = torch.stack([1.0 - fraction, fraction], dim=-1)  # (n, open, 3, 2)
    weights = sides[:, :, 2, :, None, None] * sides[:, :, 1, None, :, None] * sides[:, :, 0, None, None, :]
    entries = _entries(cell, grids, table_size) + grids.first[:, None]
    corners = table.index_select(0, entries.flatten()).unflatten(0, entries.shape)  # (n, open, 8, features)
    return (torch.einsum("nlc,nlcf->nlf", weights.flatten(2), corners) * opening[:, None]).flatten(1)


def _entries(cell: Int[Tensor, "n open 3"], grids: Grids, table_size: int) -> Int[Tensor, "n open 8"]:
    """Where in their level the eight corners of a cell are kept; x changes fastest."""
    both = torch.stack([cell, cell + 1], dim=-1)
    x, y, z = both[:, :, 0, None, None, :], both[:, :, 1, None, :, None], both[:, :, 2, :, None, None]
    side = grids.vertices[:, None, None, None]
    counted = x + side * (y + side * z)
    hashed = (x * HASH_PRIMES[0] ^ y * HASH_PRIMES[1] ^ z * HASH_PRIMES[2]) & (table_size - 1)
    return torch.where(grids.dense[:, None, None, None], counted, hashed).flatten(2)
