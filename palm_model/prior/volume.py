"""Volume rendering (eq. 1 and 2): what a ray meets, from densities on intervals of it; and where to look closer.

Rays have m intervals each, sorted, which need not touch: between them nothing is met. What is left of a ray's light
behind the last one is the background's, also when more samples are drawn in proportion to the weights.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rays:
    """n rays in the world, all tensors on one device; what lies behind an origin is not met."""

    origins: Float[Tensor, "n 3"]
    """Metres."""
    directions: Float[Tensor, "n 3"]
    """Of unit length."""
    pose: Int[Tensor, "n"]
    """Row of the hand that a ray is to meet, int64: it meets no other hand of the batch."""

    def __len__(self) -> int:
        return len(self.origins)

    def to(self, device: torch.device | str) -> "Rays":
        """The same rays on a device."""
        return Rays(**{one.name: getattr(self, one.name).to(device) for one in fields(self)})

    def part(self, begin: int, end: int) -> "Rays":
        """Rays `begin` to `end` − 1."""
        return Rays(**{one.name: getattr(self, one.name)[begin:end] for one in fields(self)})

    def at(self, distance: Float[Tensor, "n m"]) -> Float[Tensor, "n m 3"]:
        """r(t) = o + t d, metres."""
        return self.origins[:, None, :] + distance[..., None] * self.directions[:, None, :]


@dataclass(frozen=True, eq=False)
class Samples:
    """m samples on each of n rays, front to back; without gradients."""

    distance: Float[Tensor, "n m"]
    """From the origin, metres: where the fields are asked."""
    width: Float[Tensor, "n m"]
    """Length of the ray that a sample stands for, metres: δ of eq. 2; zero where there is no sample."""
    valid: Bool[Tensor, "n m"]
    """Which of them are samples; the others only fill up the table."""


def interval_weights(density: Float[Tensor, "n m"], width: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """What share of a ray's light comes from each interval: w = T (1 − exp(−σ δ)) of eq. 2.

    Args:
        density: σ, 1/m, not negative.
        width: δ, metres; an interval of width zero weighs nothing.
    """
    depth = density * width
    before = torch.cumsum(depth, dim=-1) - depth
    return torch.exp(-before) * -torch.expm1(-depth)


def render_weights(
    density: Float[Tensor, "n m"], starts: Float[Tensor, "n m"], ends: Float[Tensor, "n m"]
) -> Float[Tensor, "n m"]:
    """`interval_weights` of intervals by their ends, metres, sorted; the background's share is 1 − Σ w."""
    return interval_weights(density, ends - starts)


def composite(weights: Float[Tensor, "n m"], values: Float[Tensor, "n m c"]) -> Float[Tensor, "n c"]:
    """Σ w v over each ray's samples: eq. 2 for colours, and for any other value."""
    return torch.einsum("nm,nmc->nc", weights, values)


def importance_distances(
    weights: Float[Tensor, "n m"],
    starts: Float[Tensor, "n m"],
    ends: Float[Tensor, "n m"],
    uniform: Float[Tensor, "n k"],
) -> tuple[Float[Tensor, "n k"], Bool[Tensor, "n k"]]:
    """Distances in proportion to the weights, within an interval evenly; which of them are the background's.

    The weights are not made to sum to one: what they leave of one is the background's bin behind them, so that a ray
    that hardly meets anything gets hardly any. Those in it come back at the last end.

    Args:
        weights: not negative, of sum at most one.
        starts: of sorted intervals, metres.
        ends: metres.
        uniform: from [0, 1); one each.
    """
    total = torch.cumsum(weights, dim=-1)
    last = weights.shape[-1] - 1
    bins = torch.searchsorted(total.contiguous(), uniform.contiguous(), right=True)
    background = bins > last
    bins = bins.clamp(max=last)
    share = weights.gather(-1, bins)
    rest = uniform - (total.gather(-1, bins) - share)
    begin, end = starts.gather(-1, bins), ends.gather(-1, bins)
    within = (rest / share.clamp(min=torch.finfo(share.dtype).tiny)).clamp(0.0, 1.0)
    distances = torch.where(background, ends[..., -1:], begin + within * (end - begin))
    return distances, background


def stratified(uniform: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """One number from each k-th of [0, 1), from one number of [0, 1) each."""
    count = uniform.shape[-1]
    steps = torch.arange(count, dtype=uniform.dtype, device=uniform.device)
    return (steps + uniform) / count
