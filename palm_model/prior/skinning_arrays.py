"""What the compiled search reads and writes, and how its loops are compiled."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from palm_data.maps.kernels import Function, compiled_with
from palm_model.prior.skinning_grid import SkinningGrids

_ANY_ORDER = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """The function, compiled as elsewhere, but with sums in any order: what lets the bones go sixteen at once."""
    return compiled_with(function, fastmath=_ANY_ORDER)


def inlined(function: Function) -> Function:
    """The same for what only compiled loops call: its code becomes part of theirs."""
    return compiled_with(function, fastmath=_ANY_ORDER, forceinline=True)


class Fields(NamedTuple):
    """What carries canonical points to the world, for all poses."""

    cells: ndarray
    """(g, r, r, r, 16) float32: skinning weights."""
    distance: ndarray
    """(g, r, r, r) float32: to the canonical surface, metres."""
    row: ndarray
    """(p,) int64: each pose's grid."""
    bones: ndarray
    """(p, 3, 4, 16) float32: the upper rows of the bones' transforms, bones last."""
    low: ndarray
    """(3,) float32: the cube's lowest corner, metres."""
    per_metre: np.float32
    """Cells a metre."""


class Limits(NamedTuple):
    """When the search stops, and what it keeps; lengths in metres, float32."""

    iterations: int
    converged: np.float32
    diverged: np.float32
    merged: np.float32
    reach: np.float32
    """Farther than this from the canonical surface, starts and roots are left out; infinite: none is."""
    stop_at_known: bool


class Found(NamedTuple):
    """What `search` fills."""

    roots: ndarray
    """(n, k, 3) float32: canonical, metres."""
    away: ndarray
    """(n, k) float32: from the canonical surface, metres, ascending; infinite where there is no root."""


class Scratch(NamedTuple):
    """Arrays that a search writes over and over: cutting views of one would cost more than the sums."""

    point: ndarray
    x: ndarray
    step: ndarray
    residual: ndarray
    change: ndarray
    row: ndarray
    inverse: ndarray
    weights: ndarray
    slopes: ndarray


class Carried(NamedTuple):
    """What `carry` fills."""

    points: ndarray
    """(m, 3) float32: world, metres."""
    jacobian: ndarray
    """(m, 3, 3) float32: ∂ world / ∂ canonical."""
    weights: ndarray
    """(m, 16) float32."""


class Gradients(NamedTuple):
    """What `implicit_gradients` fills."""

    by_point: ndarray
    """(m, 3) float32."""
    by_bone: ndarray
    """(p, 3, 4, 16) float64; added to."""


def kernel_fields(grids: SkinningGrids, bones: Float[Tensor, "p 16 4 4"]) -> Fields:
    """The grids and bones as the loops read them; on CPU, float32."""
    return Fields(
        cells=grids.cells.numpy(),
        distance=grids.distance.numpy(),
        row=grids.row.numpy(),
        bones=bones.detach()[:, :, :3].permute(0, 2, 3, 1).contiguous().numpy(),
        low=(grids.box.centre - grids.box.half_side).numpy(),
        per_metre=np.float32((grids.resolution - 1) / (2.0 * grids.box.half_side)),
    )
