"""The hash encoding of places in the canonical cube: a table to learn, read at many resolutions at once.

Each network of the prior sees its points through one (paper §4). Levels open one after the other while it learns:
the coarse shape first, since fine levels fit noise as readily as skin.
"""

import functools
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palm_model.prior.encoding_autograd import OpenLevels, encode_by_kernel
from palm_model.prior.encoding_levels import levels_of, openings
from palm_model.prior.encoding_reference import Grids, encode_reference
from schemas.prior_encoding import EncodingSettings

Implementation = Literal["kernel", "reference", "compiled"]
"""Compiled loops on CPU; plain torch on any device; plain torch under torch.compile."""


def implementation_for(device: torch.device) -> Implementation:
    """The fastest one for a device."""
    by_device: dict[str, Implementation] = {"cpu": "kernel", "cuda": "compiled"}
    return by_device.get(device.type, "reference")


@functools.cache
def _compiled_reference() -> Callable[..., Tensor]:
    return torch.compile(encode_reference, dynamic=True)


class HashEncoding(nn.Module):
    """Features of points in the unit cube, interpolated from a learned table.

    Args:
        implementation: None takes the fastest for the device that the points are on. Only the reference has
            derivatives of second order, which a loss on an analytic gradient of the encoding needs.
        generator: of the table's first values.
    """

    _vertices: Tensor
    _first: Tensor
    _dense: Tensor

    def __init__(
        self,
        settings: EncodingSettings,
        *,
        implementation: Implementation | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.implementation = implementation
        self.levels = levels_of(settings)
        entries = self.levels[-1].first + self.levels[-1].entries
        values = torch.rand(entries, settings.features, generator=generator)
        self.table = nn.Parameter((2.0 * values - 1.0) * settings.first_value)
        self.register_buffer("_vertices", torch.tensor([level.vertices for level in self.levels]), persistent=False)
        self.register_buffer("_first", torch.tensor([level.first for level in self.levels]), persistent=False)
        self.register_buffer("_dense", torch.tensor([level.dense for level in self.levels]), persistent=False)

    @property
    def width(self) -> int:
        """Features of a point, of all levels."""
        return self.settings.width

    def forward(
        self, unit_points: Float[Tensor, "n 3"], open_levels: float | None = None
    ) -> Float[Tensor, "n {self.width}"]:
        """Each point's features, coarse to fine; zeros for the levels that are closed.

        Differentiable in the points and in the table. A point outside the cube has the features of the closest point
        on it, and no gradient along the axes on which it is outside; one that is not a number has such features.

        Args:
            open_levels: how many levels are open, the last one by what is beyond a whole; None: all.

        Raises:
            SettingsError: if `open_levels` is negative or not a number.
        """
        opening = openings(len(self.levels), open_levels)
        points = unit_points.to(self.table.dtype)
        chosen = self.implementation or implementation_for(points.device)
        if chosen == "kernel":
            return encode_by_kernel(points, self.table, OpenLevels(self.levels, opening, self.settings.table_size))
        encode = encode_reference if chosen == "reference" else _compiled_reference()
        count = len(opening)
        encoded = encode(
            points,
            self.table,
            Grids(self._vertices[:count], self._first[:count], self._dense[:count]),
            torch.tensor(opening, dtype=points.dtype, device=points.device),
            self.settings.table_size,
        )
        return nn.functional.pad(encoded, (0, self.width - encoded.shape[1]))
