"""PalmNet asked at single world points: what secondary rays meet (eq. 8 and 9). Nothing here has a gradient."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_model.prior.network import ALL_OPEN, PalmNet, Progress
from palm_model.prior.normals import carried_normals
from palm_model.prior.parts import Codes, Skinning
from palm_model.prior.poses import Poses


@dataclass(frozen=True, eq=False)
class HandField:
    """The density and the radiance of posed hands, wherever they are asked for."""

    network: PalmNet
    poses: Poses
    codes: Codes
    skinning: Skinning
    progress: Progress

    @classmethod
    def of(cls, network: PalmNet, poses: Poses, skinning: Skinning, progress: Progress = ALL_OPEN) -> "HandField":
        """The hands of a batch, as the network has them now."""
        with torch.no_grad():
            return cls(network, poses, network.conditioning(poses), skinning, progress)

    @torch.no_grad()
    def density(self, points: Float[Tensor, "k 3"], pose: Int[Tensor, "k"]) -> Float[Tensor, "k"]:
        """σ at world points, 1/m; zero where there is no canonical point."""
        row, _, sdf = self._deepest(points, pose)
        return points.new_zeros(len(points)).index_put((row,), self.network.density(sdf).to(points))

    @torch.no_grad()
    def radiance(
        self, points: Float[Tensor, "k 3"], directions: Float[Tensor, "k 3"], pose: Int[Tensor, "k"]
    ) -> Float[Tensor, "k 3"]:
        """Linear light that leaves world points against rays' directions (eq. 5); none where there is no canonical point."""
        network, codes = self.network, self.codes
        row, canonical, _ = self._deepest(points, pose)
        own = pose[row]
        surface = network.signed_distance(canonical, own, self.poses, gradient=True, progress=self.progress)
        turn = self.skinning.skinned(canonical, own, self.poses).jacobian
        normal = carried_normals(surface.gradient, turn)
        towards = directions[row]
        reflected = towards - 2.0 * (towards * normal).sum(dim=-1, keepdim=True) * normal
        colour = network.radiance(
            network.radiance.grid(network.box.to_unit(canonical), self.progress.levels),
            surface.feature,
            reflected,
            normal,
            codes.pose,
            codes.appearance,
            self.progress.bands,
            own,
        )
        return torch.zeros_like(points).index_put((row,), colour.to(points))

    def _deepest(
        self, points: Float[Tensor, "k 3"], pose: Int[Tensor, "k"]
    ) -> tuple[Int[Tensor, "m"], Float[Tensor, "m 3"], Float[Tensor, "m"]]:
        """Points that have a canonical one: their rows, of several the one deepest inside, and its signed distance."""
        roots = self.skinning.find(points, pose, self.poses)
        row, slot = roots.valid.nonzero(as_tuple=True)
        canonical = roots.points[row, slot]
        sdf = self.network.signed_distance(canonical, pose[row], self.poses, progress=self.progress).sdf
        table = sdf.new_full(roots.valid.shape, torch.inf).index_put((row, slot), sdf)
        least, best = table.min(dim=1)
        some = roots.valid.any(dim=1).nonzero()[:, 0]
        return some, roots.points[some, best[some]], least[some]
