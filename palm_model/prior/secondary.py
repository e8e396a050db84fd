"""Secondary rays (eq. 8–9): what of the environment reaches a point past the hand, and what the hand itself sends.

A ray is marched at the scale of a hand: steps of millimetres, and no farther than a hand reaches. Nothing here has a
gradient: visibility and indirect light are taken as they are, as in the paper.

Density in front of a learned surface fades over a millimetre or so, and a ray that starts there would be dimmed by the
very surface it leaves. So density does not count until it has grown again by a margin over its least value so far:
over a convex surface it never does, and in a fist it does where the next finger begins.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from palm_model.prior.volume import interval_weights
from schemas.prior_pbr import SecondarySettings

Density = Callable[[Float[Tensor, "k 3"], Int[Tensor, "k"]], Float[Tensor, "k"]]
"""Density (1/m) at world points; the second argument is each point's owner, as given to the tracer."""
Occupied = Callable[[Float[Tensor, "k 3"], Int[Tensor, "k"]], Bool[Tensor, "k"]]
"""Where density can be at all; elsewhere it is not asked for."""
Radiance = Callable[[Float[Tensor, "k 3"], Float[Tensor, "k 3"], Int[Tensor, "k"]], Float[Tensor, "k 3"]]
"""Linear radiance that leaves world points against directions (those of the rays), by owner."""


class Arrival(NamedTuple):
    """What a secondary ray meets."""

    transmittance: Float[Tensor, "k"]
    """Share of the environment that reaches the start."""
    radiance: Float[Tensor, "k 3"]
    """What reaches the start from the hand itself, linear."""


class Secondary(Protocol):
    """Anything that follows secondary rays: marching through density, a mesh, or nothing."""

    def __call__(
        self, points: Float[Tensor, "k 3"], directions: Float[Tensor, "k 3"], owner: Int[Tensor, "k"]
    ) -> Arrival:
        """Follow rays from world points; `owner` is the row of the surface point that each belongs to."""


class SecondaryMarch:
    """Rays through a density field by quadrature of eq. 2, front to back; rays that have ended cost nothing more."""

    def __init__(
        self,
        density: Density,
        settings: SecondarySettings,
        *,
        radiance: Radiance | None = None,
        occupied: Occupied | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """A tracer.

        Args:
            radiance: what the hand sends along a ray; None: nothing, direct light only.
            generator: shifts each ray's samples within a step, on the rays' device; None: middles of the steps.
        """
        self._density, self._radiance, self._occupied = density, radiance, occupied
        self._settings, self._generator = settings, generator

    def __call__(
        self, points: Float[Tensor, "k 3"], directions: Float[Tensor, "k 3"], owner: Int[Tensor, "k"]
    ) -> Arrival:
        """March the rays, a bounded number at once."""
        with torch.no_grad():
            size = self._settings.rays_at_once
            parts = [
                self._march(points[row : row + size], directions[row : row + size], owner[row : row + size])
                for row in range(0, len(points), size)
            ]
            if not parts:
                return Arrival(points.new_ones(0), points.new_zeros(0, 3))
            return Arrival(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _march(self, points: Tensor, directions: Tensor, owner: Tensor) -> Arrival:
        settings = self._settings
        count = len(points)
        steps = math.ceil(settings.far_m / settings.step_m)
        shift = points.new_full((count,), 0.5)
        if self._generator is not None:
            shift = torch.rand(count, generator=self._generator, device=points.device).to(points)
        through, arriving = points.new_ones(count), points.new_zeros(count, 3)
        least = points.new_full((count,), math.inf)
        left = torch.full((count,), not settings.leave_own_surface, device=points.device)
        active = torch.arange(count, device=points.device)
        for first in range(0, steps, settings.block):
            number = torch.arange(first, min(first + settings.block, steps), device=points.device)
            distance = (number + shift[active, None]) * settings.step_m
            places = points[active, None] + distance[..., None] * directions[active, None]
            density = self._densities(places, owner[active])
            counted, least[active], left[active] = self._counted(density, least[active], left[active])
            if self._radiance is not None:
                weight = through[active, None] * interval_weights(counted, torch.full_like(counted, settings.step_m))
                arriving[active] += self._sent(weight, places, directions[active], owner[active])
            through[active] = through[active] * torch.exp(-settings.step_m * counted.sum(dim=1))
            active = active[through[active] > settings.stop_below]
            if not len(active):
                break
        return Arrival(through, arriving)

    def _densities(self, places: Float[Tensor, "rays steps 3"], owner: Int[Tensor, "rays"]) -> Tensor:
        flat = places.reshape(-1, 3)
        whose = owner[:, None].expand(places.shape[:2]).reshape(-1)
        if self._occupied is None:
            return self._density(flat, whose).reshape(places.shape[:2])
        chosen = self._occupied(flat, whose).nonzero()[:, 0]
        density = flat.new_zeros(len(flat))
        if len(chosen):
            density[chosen] = self._density(flat[chosen], whose[chosen])
        return density.reshape(places.shape[:2])

    def _counted(
        self, density: Float[Tensor, "rays steps"], least: Float[Tensor, "rays"], left: Bool[Tensor, "rays"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The density that counts, the least so far and who has left the own surface."""
        running = torch.minimum(torch.cummin(density, dim=1).values, least[:, None])
        grown = (density > running + self._settings.rise_per_m).cummax(dim=1).values | left[:, None]
        return torch.where(grown, density, torch.zeros_like(density)), running[:, -1], grown[:, -1]

    def _sent(
        self,
        weight: Float[Tensor, "rays steps"],
        places: Float[Tensor, "rays steps 3"],
        directions: Float[Tensor, "rays 3"],
        owner: Int[Tensor, "rays"],
    ) -> Float[Tensor, "rays 3"]:
        """The radiance of samples by their weights; those of almost no weight are not asked for."""
        assert self._radiance is not None  # noqa: S101 -- the caller asked
        sent = places.new_zeros(len(places), 3)
        ray, step = (weight > self._settings.stop_below * 1e-2).nonzero(as_tuple=True)
        if len(ray):
            colours = self._radiance(places[ray, step], directions[ray], owner[ray])
            sent.index_add_(0, ray, weight[ray, step, None] * colours)
        return sent
