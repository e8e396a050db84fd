"""From the world to canonical space and back (eq. 3), with gradients.

A world point may come from several canonical ones: where fingers touch, from one on each of them. All of them are
found; which counts is the geometry network's to say (the one deepest inside). On CPU the search is compiled, elsewhere
it is torch; both find the same roots.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from palm_model.prior import broyden, skinning_kernels
from palm_model.prior.implicit import implicit_points
from palm_model.prior.poses import Poses
from palm_model.prior.skinning import Skinned, skin, skin_with_jacobian
from palm_model.prior.skinning_arrays import Carried, Found, Limits, kernel_fields
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.prior_skinning import SkinningSettings

_PARTS_PER_THREAD = 4
_FEWEST = 256
"""Points of a part, at least."""
_DEFAULTS = SkinningSettings()


class Roots(NamedTuple):
    """The canonical points of n world points, at most k of each, the nearest to the canonical surface first."""

    points: Float[Tensor, "n k 3"]
    """Canonical, metres; zero where there is none."""
    valid: Bool[Tensor, "n k"]
    distance: Float[Tensor, "n k"]
    """From the person's canonical surface (its nearest vertex), metres; infinite where there is none."""


class InverseSkinning:
    """Finds canonical points, each pose with its own person's grid."""

    def __init__(self, grids: SkinningGrids, settings: SkinningSettings = _DEFAULTS) -> None:
        self.grids = grids
        self.settings = settings

    @torch.no_grad()
    def find(self, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses) -> Roots:
        """The canonical points that skinning takes to world points; without gradients, which `attach` adds.

        Args:
            points: world, metres.
            pose: each point's row in `poses`, and in the grids' poses.
        """
        if points.device.type == "cpu" and points.dtype == torch.float32:
            found, away = self._compiled(points, pose, poses)
        else:
            found, away = broyden.search(points, pose, poses.bones, self.grids, self.settings)
        return Roots(found, away.isfinite(), away)

    def attach(self, roots: Roots, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses) -> Roots:
        """The same roots with gradients with respect to the bones and the world points they were found for.

        By the implicit function theorem at d(x, B) = x_d: dx = J⁻¹ (dx_d − Σ w_i dB_i x), J = ∂d/∂x.
        """
        row, slot = roots.valid.nonzero(as_tuple=True)
        moving = implicit_points(self.grids, roots.points[row, slot], points[row], poses.bones, pose[row])
        return roots._replace(points=torch.zeros_like(roots.points).index_put((row, slot), moving))

    def skin(self, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"], poses: Poses) -> Float[Tensor, "m 3"]:
        """Where canonical points are in the world, metres; differentiable in the points and the bones."""
        return skin(self.grids, poses.bones, canonical, pose)

    def skinned(self, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"], poses: Poses) -> Skinned:
        """The same with ∂ world / ∂ canonical, whose inverse transpose carries an SDF's gradient to the world.

        By compiled loops on CPU, where gradients are off.
        """
        if not torch.is_grad_enabled() and canonical.device.type == "cpu" and canonical.dtype == torch.float32:
            count = len(canonical)
            found = Skinned(torch.empty(count, 3), torch.empty(count, 3, 3), torch.empty(count, 16))
            at, row = (one.detach().contiguous().numpy() for one in (canonical, pose))
            fields = kernel_fields(self.grids, poses.bones)
            skinning_kernels.carry(at, row, fields, Carried(*(one.numpy() for one in found)))
            return found
        return skin_with_jacobian(self.grids, poses.bones, canonical, pose)

    def _compiled(
        self, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses
    ) -> tuple[Float[Tensor, "n k 3"], Float[Tensor, "n k"]]:
        """The search on as many threads as torch uses; their number does not change what is found."""
        count, settings = len(points), self.settings
        roots = torch.zeros(count, settings.max_roots, 3)
        away = torch.full((count, settings.max_roots), torch.inf)
        fields, limits = kernel_fields(self.grids, poses.bones), _limits(settings)
        arrays = [one.detach().contiguous().numpy() for one in (points, pose, roots, away)]
        threads = torch.get_num_threads()
        step = max(math.ceil(count / (threads * _PARTS_PER_THREAD)), _FEWEST)

        def part(begin: int) -> None:
            at, row, found, apart = (one[begin : begin + step] for one in arrays)
            skinning_kernels.search(at, row, fields, limits, Found(found, apart))

        begins = range(0, count, step)
        if threads == 1 or len(begins) == 1:
            for begin in begins:
                part(begin)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, begins))
        return roots, away


def _limits(settings: SkinningSettings) -> Limits:
    return Limits(
        iterations=settings.iterations,
        converged=np.float32(settings.converged_m),
        diverged=np.float32(settings.diverged_m),
        merged=np.float32(settings.merged_m),
        reach=np.float32(np.inf if settings.reach_m is None else settings.reach_m),
        stop_at_known=settings.stop_at_known_roots,
    )
