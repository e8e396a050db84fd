"""The grids of a hash encoding: how fine each is, where in the table it lies, and how far it is open.

Müller et al., Instant Neural Graphics Primitives (SIGGRAPH 2022), eq. 2–4. A grid whose vertices all fit into a level's
share of the table is kept densely, vertex (i, j, k) of r a side at i + r·j + r²·k; of a finer grid vertices share
entries, at (i·1 xor j·2654435761 xor k·805459861) mod the table's size, a power of two.
"""

import math
from dataclasses import dataclass

from schemas.errors import SettingsError
from schemas.prior_encoding import EncodingSettings

HASH_PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class Level:
    """One grid."""

    vertices: int
    """A side of the cube, borders included."""
    first: int
    """Its first entry in the table of all levels."""
    entries: int
    dense: bool
    """Whether each vertex has an entry of its own."""

    @property
    def strides(self) -> tuple[int, int, int]:
        """What a step along x, y and z is multiplied by: entries apart if dense, else the factors of the hash."""
        return (1, self.vertices, self.vertices**2) if self.dense else HASH_PRIMES


def levels_of(settings: EncodingSettings) -> tuple[Level, ...]:
    """The grids from coarse to fine, one after the other in the table."""
    found: list[Level] = []
    first = 0
    for order in range(settings.levels):
        vertices = round(settings.base_resolution * settings.growth**order)
        dense = vertices**3 <= settings.table_size
        found.append(Level(vertices, first, vertices**3 if dense else settings.table_size, dense))
        first += found[-1].entries
    return tuple(found)


def openings(levels: int, open_levels: float | None) -> tuple[float, ...]:
    """What each of the open levels counts, coarse to fine: 1, and of the last one what `open_levels` has beyond a whole.

    Args:
        open_levels: how many levels are open; None, or more than there are: all.

    Raises:
        SettingsError: if it is negative or not a number.
    """
    if open_levels is None:
        return (1.0,) * levels
    if not open_levels >= 0:
        raise SettingsError(f"hash encoding: open_levels: expected a number from 0 on, or None, found {open_levels}.")
    count = levels if open_levels >= levels else math.ceil(open_levels)
    return tuple(min(1.0, open_levels - order) for order in range(count))
