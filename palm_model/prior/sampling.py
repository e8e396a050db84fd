"""Where on a ray the fields are asked: guided by the registered surface, or blind with importance rounds.

Both leave a ray without samples where it is far from its hand, and are turned about only by given uniform numbers:
the same numbers give the same samples, none give the middle of each interval.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from palm_model.prior.occupancy import OccupancyGrid
from palm_model.prior.poses import Poses
from palm_model.prior.shell import ShellBins, shell_along, surface_points
from palm_model.prior.volume import Rays, Samples, importance_distances, interval_weights, stratified
from schemas.prior_volume import BlindSampling, GuidedSampling

_PAIRS = 2**22
"""Rays times surface points at once."""


class Density(Protocol):
    """The density as it is now, σ, 1/m, without gradients."""

    def __call__(self, rays: Rays, distance: Float[Tensor, "n k"], where: Bool[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """At distances along rays, where `where` is true; zero elsewhere."""


class Sampler(Protocol):
    """Places samples on rays."""

    @property
    def numbers(self) -> int:
        """Uniform numbers that a ray takes."""

    @property
    def samples(self) -> int:
        """Samples of a ray, at most."""

    def __call__(
        self, rays: Rays, poses: Poses, density: Density, uniform: Float[Tensor, "n numbers"] | None = None
    ) -> Samples:
        """Samples of rays about the hands that are theirs.

        Args:
            uniform: from [0, 1); None: all are a half.
        """


def sampler_for(
    settings: BlindSampling | GuidedSampling, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]
) -> Sampler:
    """The sampler of these settings, for a hand model's template (metres) and faces."""
    return BlindSampler(settings) if settings.kind == "blind" else GuidedSampler(vertices, faces, settings)


class GuidedSampler:
    """Few samples, all in a shell about the registered surface; outside of it there is taken to be nothing.

    That is so while density is sharp beside the shell: of a Laplace scale of a tenth of the shell's half thickness
    hardly a thousandth of the light is lost, of a third of it some hundredths.

    The ray's length in the shell is cut into as many pieces as there are samples: shorter ones where the registered
    surface, thought soft, is seen, and near every other wall of it; each has its sample anywhere in it, evenly, and
    its length as width, so that optical depth is right on average whatever the pieces.
    """

    along = staticmethod(shell_along)

    def __init__(self, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], settings: GuidedSampling) -> None:
        """Prepare for the surface of `Poses.vertices`.

        Args:
            vertices: the hand model's template, metres.
        """
        self.settings = settings
        self._points = surface_points(vertices, faces, settings.spacing_m)

    @property
    def numbers(self) -> int:
        """One for each sample."""
        return self.settings.samples

    @property
    def samples(self) -> int:
        """As set."""
        return self.settings.samples

    @torch.no_grad()
    def __call__(
        self, rays: Rays, poses: Poses, density: Density, uniform: Float[Tensor, "n numbers"] | None = None
    ) -> Samples:
        """See `Sampler`; the density is not asked."""
        count, device = self.settings.samples, rays.origins.device
        if uniform is None:
            uniform = torch.full((len(rays), count), 0.5, device=device)
        points = self._points.to(device)
        distance, width = torch.zeros_like(uniform), torch.zeros_like(uniform)
        step = max(_PAIRS // len(points), 1)
        for row in range(len(poses)):
            surface = points.of(poses.vertices[row])
            for own in (rays.pose == row).nonzero()[:, 0].split(step):
                bins = self.along(rays.origins[own], rays.directions[own], surface, self.settings)
                distance[own], width[own] = _in_shell(bins, uniform[own], self.settings)
        return Samples(distance, width, width > 0)


def _in_shell(
    bins: ShellBins, uniform: Float[Tensor, "n m"], settings: GuidedSampling
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Distances and widths of one sample in each of m pieces of the shell."""
    length = bins.length[:, None]
    share = torch.cumsum(_shares(bins, settings), dim=-1)
    inside = torch.cumsum(bins.inside * length, dim=-1)
    count = uniform.shape[-1]
    cuts = torch.arange(1, count, dtype=uniform.dtype, device=uniform.device) / count
    cuts = share[:, -1:] * cuts
    ends = torch.cat([torch.zeros_like(length), _mapped(cuts, share, inside), inside[:, -1:]], dim=-1)
    width = ends.diff(dim=-1).clamp(min=0.0)
    place = torch.arange(bins.inside.shape[-1], device=uniform.device) + 1.0
    upper = place.to(uniform) * length
    target = (ends[:, :-1] + uniform * width).clamp(min=1e-9)
    return bins.start[:, None] + _mapped(target, inside, upper), width


def _shares(bins: ShellBins, settings: GuidedSampling) -> Float[Tensor, "n b"]:
    """How many of the samples belong into each bin, of all: zero outside of the shell."""
    soft = settings.softness_m
    decay = torch.exp(-bins.signed.abs() / soft)
    thick = torch.where(bins.signed > 0, 0.5 * decay, 1.0 - 0.5 * decay) / soft
    parts = [
        (settings.seen_share, interval_weights(thick * bins.inside, bins.length[:, None])),
        (settings.wall_share, decay * bins.inside),
        (max(1.0 - settings.seen_share - settings.wall_share, 0.0), bins.inside.to(decay)),
    ]
    tiny = torch.finfo(decay.dtype).tiny
    return sum((part * one / one.sum(-1, keepdim=True).clamp(min=tiny) for part, one in parts), torch.zeros_like(decay))


def _mapped(
    values: Float[Tensor, "n k"],
    rising: Float[Tensor, "n b"],
    other: Float[Tensor, "n b"],
) -> Float[Tensor, "n k"]:
    """Values of one piecewise linear function of the bins' ends as those of another; both begin at zero."""
    at = torch.searchsorted(rising, values.contiguous()).clamp(max=rising.shape[-1] - 1)
    begin = torch.nn.functional.pad(rising, (1, 0)).gather(-1, at)
    begin_other = torch.nn.functional.pad(other, (1, 0)).gather(-1, at)
    rise = (rising.gather(-1, at) - begin).clamp(min=torch.finfo(rising.dtype).tiny)
    within = ((values - begin) / rise).clamp(0.0, 1.0)
    return begin_other + within * (other.gather(-1, at) - begin_other)


class BlindSampler:
    """Even steps through the occupied cells about a hand, then rounds of samples where the weights are.

    In a round the density is known at the intervals' ends, and the greater of the two stands for the interval; the new
    samples cut intervals in two. A share of them falls to the background and is not used.
    """

    def __init__(self, settings: BlindSampling) -> None:
        self.settings = settings

    @property
    def samples(self) -> int:
        """Steps and all rounds' samples."""
        return self.settings.steps + self.settings.rounds * self.settings.samples_per_round

    @property
    def numbers(self) -> int:
        """One to shift the steps, one for each sample that a round draws, one for each interval at last."""
        return 1 + self.settings.rounds * self.settings.samples_per_round + self.samples

    @torch.no_grad()
    def __call__(
        self, rays: Rays, poses: Poses, density: Density, uniform: Float[Tensor, "n numbers"] | None = None
    ) -> Samples:
        """See `Sampler`."""
        if uniform is None:
            uniform = torch.full((len(rays), self.numbers), 0.5, device=rays.origins.device)
        drawn = self.settings.rounds * self.settings.samples_per_round
        shift, rounds, last = uniform.split([1, drawn, self.samples], dim=-1)
        ends, valid = self._steps(rays, poses, shift)
        found = torch.zeros_like(ends)
        if drawn:
            found = density(rays, ends, _touched(valid))
        for numbers in rounds.split(self.settings.samples_per_round, dim=-1):
            ends, valid, found = self._round(rays, density, (ends, valid, found), numbers)
        width = ends.diff(dim=-1) * valid
        return Samples(ends[:, :-1] + last * width, width, width > 0)

    def _steps(
        self, rays: Rays, poses: Poses, shift: Float[Tensor, "n 1"]
    ) -> tuple[Float[Tensor, "n ends"], Bool[Tensor, "n intervals"]]:
        """Ends of equal intervals along the rays, and those of them that touch an occupied cell."""
        settings = self.settings
        grid = OccupancyGrid.about(poses.vertices, settings.reach_m, settings.resolution)
        near, far = grid.span(rays.origins, rays.directions, rays.pose)
        step = grid.side[rays.pose] * (3.0**0.5 / settings.steps)
        count = torch.arange(settings.steps + 1, dtype=near.dtype, device=near.device)
        ends = near[:, None] + (count - shift) * step[:, None]
        ends = torch.minimum(torch.maximum(ends, near[:, None]), far[:, None])
        quarters = torch.lerp(ends[:, :-1, None], ends[:, 1:, None], ends.new_tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
        touched = grid.contains(rays.at(quarters.flatten(1)), rays.pose).view(quarters.shape).any(dim=-1)
        return ends, touched & (ends.diff(dim=-1) > 0)

    def _round(
        self,
        rays: Rays,
        density: Density,
        known: tuple[Float[Tensor, "n ends"], Bool[Tensor, "n intervals"], Float[Tensor, "n ends"]],
        numbers: Float[Tensor, "n k"],
    ) -> tuple[Float[Tensor, "n more_ends"], Bool[Tensor, "n more"], Float[Tensor, "n more_ends"]]:
        """The intervals, cut where new samples fall."""
        ends, valid, found = known
        thick = torch.maximum(found[:, :-1], found[:, 1:]) * valid
        weights = interval_weights(thick, ends.diff(dim=-1))
        new, background = importance_distances(weights, ends[:, :-1], ends[:, 1:], stratified(numbers))
        more = torch.cat([found, density(rays, new, ~background)], dim=-1)
        together, order = torch.cat([ends, new], dim=-1).sort(dim=-1, stable=True)
        middle = 0.5 * (together[:, :-1] + together[:, 1:])
        of = (torch.searchsorted(ends, middle, right=True) - 1).clamp(0, valid.shape[-1] - 1)
        return together, valid.gather(-1, of) & (together.diff(dim=-1) > 0), more.gather(-1, order)


def _touched(valid: Bool[Tensor, "n intervals"]) -> Bool[Tensor, "n ends"]:
    """Ends of at least one valid interval."""
    padded = torch.nn.functional.pad(valid, (1, 1))
    return padded[:, :-1] | padded[:, 1:]
