"""The hash encoding by compiled loops, as an operation of autograd: values, and gradients of first order.

Every sum is taken in one order, whatever the number of threads: values and the points' gradients in spans of points,
the table's gradient level by level, since no two levels share an entry.
"""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import FunctionCtx

from palm_model.prior.encoding_kernels import Grid, interpolate, scatter, slope
from palm_model.prior.encoding_levels import Level
from schemas.errors import SettingsError

_SPAN = 16384
"""Points at most that pass through all levels before the next: a level's entries stay near, the features too."""
_WORTH_A_THREAD = 8192
"""Points times levels below which starting threads costs more than it saves."""

Task = TypeVar("Task")


@dataclass(frozen=True)
class OpenLevels:
    """What a call needs to know of the grids."""

    levels: tuple[Level, ...]
    """All of them, closed ones too."""
    openings: tuple[float, ...]
    """Of the open ones, from the coarsest."""
    table_size: int

    def grids(self, values: ndarray, features: int) -> list[tuple[slice, Grid]]:
        """Of each open level, its part of the table and the grid as the kernels take it."""
        mask, channels = np.uint64(self.table_size - 1), tuple(range(features))
        return [
            (
                slice(level.first, level.first + level.entries),
                Grid(
                    vertices=np.uint64(level.vertices),
                    dense=level.dense,
                    stride_y=np.uint64(level.strides[1]),
                    stride_z=np.uint64(level.strides[2]),
                    mask=mask,
                    opening=values.dtype.type(opening),
                    column=order * features,
                    channels=channels,
                ),
            )
            for order, (level, opening) in enumerate(zip(self.levels, self.openings, strict=False))
        ]


def encode_by_kernel(
    unit_points: Float[Tensor, "n 3"], table: Float[Tensor, "entries features"], open_levels: OpenLevels
) -> Float[Tensor, "n width"]:
    """What the reference computes, on CPU, with zeros for the closed levels.

    Differentiable once, in the points and in the table; a second derivative raises SettingsError.
    """
    encoded: Tensor = _Encode.apply(unit_points, table, open_levels)
    return encoded


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, points: Tensor, table: Tensor, open_levels: OpenLevels) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.open_levels = open_levels  # type: ignore[attr-defined]
        features = table.shape[1]
        encoded = points.new_zeros(len(points), len(open_levels.levels) * features)
        places, values, out = _array(points), _array(table), _array(encoded)
        grids = open_levels.grids(values, features)

        def fill(span: slice) -> None:
            for part, grid in grids:
                interpolate(places[span], values[part], grid, out[span])

        _on_threads(fill, _spans(len(points), len(grids)), len(points) * len(grids))
        return encoded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        return *_Gradients.apply(gradients[0], points, table, ctx.open_levels, ctx.needs_input_grad[:2]), None


class _Gradients(torch.autograd.Function):
    """The backward pass, as an operation of its own so that differentiating it says what to do instead."""

    @staticmethod
    def forward(  # noqa: PLR0917  (autograd passes by position)
        ctx: FunctionCtx,
        gradient: Tensor,
        points: Tensor,
        table: Tensor,
        open_levels: OpenLevels,
        needed: tuple[bool, bool],
    ) -> tuple[Tensor | None, Tensor | None]:
        of_points = _gradient_of_points(gradient, points, table, open_levels) if needed[0] else None
        of_table = _gradient_of_table(gradient, points, table, open_levels) if needed[1] else None
        return of_points, of_table

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise SettingsError(
            "hash encoding: implementation: expected reference for derivatives of second order, found kernel, which "
            "has those of first order. Make it HashEncoding(settings, implementation='reference'), or take the "
            "gradient by finite differences."
        )


def _gradient_of_points(gradient: Tensor, points: Tensor, table: Tensor, open_levels: OpenLevels) -> Tensor:
    found = points.new_zeros(points.shape)  # not zeros_like, which may keep strides that the kernels do not take
    places, values, coming, out = _array(points), _array(table), _array(gradient), _array(found)
    grids = open_levels.grids(values, table.shape[1])

    def fill(span: slice) -> None:
        for part, grid in grids:
            slope(places[span], values[part], coming[span], grid, out[span])

    _on_threads(fill, _spans(len(points), len(grids)), len(points) * len(grids))
    return found


def _gradient_of_table(gradient: Tensor, points: Tensor, table: Tensor, open_levels: OpenLevels) -> Tensor:
    found = table.new_zeros(table.shape)
    places, coming, out = _array(points), _array(gradient), _array(found)

    def fill(task: tuple[slice, Grid]) -> None:
        part, grid = task
        scatter(places, coming, grid, out[part])

    grids = open_levels.grids(out, table.shape[1])
    _on_threads(fill, grids, len(points) * len(grids))
    return found


def _array(tensor: Tensor) -> ndarray:
    return tensor.detach().contiguous().numpy()


def _spans(points: int, levels: int) -> list[slice]:
    threads = torch.get_num_threads() if points * levels >= _WORTH_A_THREAD else 1
    step = max(1, min(_SPAN, math.ceil(points / threads)))
    return [slice(begin, begin + step) for begin in range(0, points, step)]


def _on_threads(fill: Callable[[Task], None], tasks: Iterable[Task], work: int) -> None:
    """Do the tasks, which write to places of their own, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    if threads == 1 or work < _WORTH_A_THREAD:
        for task in tasks:
            fill(task)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, tasks):
            pass
