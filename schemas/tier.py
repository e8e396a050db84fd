"""Resolution tiers: the same images and maps at a whole fraction of their size.

A tier's image covers the full one's, with pixels that are `factor` times as wide and high: its size is rounded up, so
that the last column and row may reach past the full image. With integers at pixel corners, K divides by the factor.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Tier = Literal["full", "half", "quarter"]
TIERS: tuple[Tier, ...] = get_args(Tier)
"""All of them, the largest first."""
FULL: Tier = "full"
FACTORS: Mapping[Tier, int] = {"full": 1, "half": 2, "quarter": 4}
"""How many pixels of the full tier one pixel is wide."""


def in_order(names: Iterable[str]) -> tuple[Tier, ...]:
    """The tiers among the names, each once, the largest first."""
    there = set(names)
    return tuple(tier for tier in TIERS if tier in there)


def tier_length(length: int, tier: Tier) -> int:
    """Pixels of the tier that cover so many of the full one."""
    return -(-length // FACTORS[tier])
