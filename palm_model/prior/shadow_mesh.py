"""Secondary rays against the registered posed surface (eq. 8 and 9): hard shadows of a mesh, fast enough for every step.

The learned surface lies beside the registered one, a millimetre or so inside or outside of it. A ray that starts
inside leaves through its own skin from behind: faces met from behind count only far from the start, where what is
left is another finger that touches this one, or the open wrist.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from palm_model.prior import shadow_kernels
from palm_model.prior.secondary import Arrival, Radiance
from schemas.prior_pbr_training import MeshShadowSettings

_LEAF = 8
"""Faces of a leaf, at most."""
_PAIRS = 2**22
"""Rays times faces at once, in torch."""


class ShadowMesh:
    """A hand model's faces in a tree that is right for all its poses: only the boxes move."""

    def __init__(self, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> None:
        """Sort the faces by where they are on the template."""
        depth = max(math.ceil(math.log2(max(len(faces), 1) / _LEAF)), 0)
        leaves = 2**depth
        size = math.ceil(len(faces) / leaves)
        repeated = np.concatenate([np.arange(len(faces)), np.full(leaves * size - len(faces), len(faces) - 1)])
        middles = vertices[faces].mean(axis=1)
        parts = [repeated]
        for _ in range(depth):
            parts = [half for part in parts for half in _halves(part, middles)]
        self._faces = torch.as_tensor(faces[np.concatenate(parts)].astype(np.int64))
        self._leaves = leaves

    def posed(self, vertices: Float[Tensor, "p v 3"]) -> "PosedMesh":
        """The mesh in p poses."""
        if self._faces.device != vertices.device:
            self._faces = self._faces.to(vertices.device)
        at = vertices.detach()[:, self._faces]
        corners = torch.stack([at[:, :, 0], at[:, :, 1] - at[:, :, 0], at[:, :, 2] - at[:, :, 0]], dim=2)
        grouped = at.reshape(len(at), self._leaves, -1, 3)
        low, high = [grouped.amin(dim=2)], [grouped.amax(dim=2)]
        while low[0].shape[1] > 1:
            low.insert(0, low[0].unflatten(1, (-1, 2)).amin(dim=2))
            high.insert(0, high[0].unflatten(1, (-1, 2)).amax(dim=2))
        return PosedMesh(corners.contiguous(), torch.cat(low, dim=1), torch.cat(high, dim=1))


@dataclass(frozen=True, eq=False)
class PosedMesh:
    """A mesh in p poses, with its tree of boxes."""

    corners: Float[Tensor, "p faces 3 3"]
    """A corner of each face and the two edges from it, metres, world."""
    low: Float[Tensor, "p nodes 3"]
    high: Float[Tensor, "p nodes 3"]

    @torch.no_grad()
    def first_hits(
        self,
        origins: Float[Tensor, "k 3"],
        directions: Float[Tensor, "k 3"],
        hand: Int[Tensor, "k"],
        settings: MeshShadowSettings,
    ) -> tuple[Float[Tensor, "k"], Bool[Tensor, "k"]]:
        """Distance to what each ray meets of its own hand, infinite for nothing, and whether it is met from outside."""
        if origins.device.type != "cpu" or origins.dtype != torch.float32:
            return self.first_hits_plain(origins, directions, hand, settings)
        distance = torch.empty(len(origins))
        front = torch.empty(len(origins), dtype=torch.bool)
        arrays = (one.detach().contiguous().numpy() for one in (origins, directions, hand))
        shadow_kernels.first_hits(
            shadow_kernels.Lines(*arrays),
            shadow_kernels.Tree(self.corners.numpy(), self.low.numpy(), self.high.numpy()),
            shadow_kernels.Limits(np.float32(settings.far_m), np.float32(settings.through_m)),
            shadow_kernels.Hits(distance.numpy(), front.numpy()),
        )
        return distance, front

    @torch.no_grad()
    def first_hits_plain(
        self,
        origins: Float[Tensor, "k 3"],
        directions: Float[Tensor, "k 3"],
        hand: Int[Tensor, "k"],
        settings: MeshShadowSettings,
    ) -> tuple[Float[Tensor, "k"], Bool[Tensor, "k"]]:
        """The same in torch: every ray with every face (Möller and Trumbore 1997)."""
        distance = torch.full_like(origins[:, 0], torch.inf)
        front = torch.zeros(len(origins), dtype=torch.bool, device=origins.device)
        step = max(_PAIRS // self.corners.shape[1], 1)
        for row in range(len(self.corners)):
            for part in (hand == row).nonzero()[:, 0].split(step):
                distance[part], front[part] = _nearest(origins[part], directions[part], self.corners[row], settings)
        return distance, front


class MeshSecondary:
    """`Secondary` by the posed mesh: a ray meets it or does not."""

    def __init__(
        self,
        mesh: PosedMesh,
        hand: Int[Tensor, "owners"],
        settings: MeshShadowSettings,
        *,
        radiance: Radiance | None = None,
    ) -> None:
        """A tracer.

        Args:
            hand: the pose that each owner belongs to.
            radiance: what the hand sends from where a ray meets it; None: nothing, direct light only.
        """
        self._mesh, self._hand, self._settings, self._radiance = mesh, hand, settings, radiance

    @torch.no_grad()
    def __call__(
        self, points: Float[Tensor, "k 3"], directions: Float[Tensor, "k 3"], owner: Int[Tensor, "k"]
    ) -> Arrival:
        """Follow the rays; where two fingers touch, nothing shines between them."""
        distance, front = self._mesh.first_hits(points, directions, self._hand[owner], self._settings)
        met = distance.isfinite()
        arriving = torch.zeros_like(points)
        if self._radiance is not None:
            lit = (met & front).nonzero()[:, 0]
            if len(lit):
                places = points[lit] + distance[lit, None] * directions[lit]
                arriving[lit] = self._radiance(places, directions[lit], owner[lit]).to(arriving)
        return Arrival((~met).to(points), arriving)


def _halves(part: Int[ndarray, "k"], middles: Float[ndarray, "f 3"]) -> tuple[ndarray, ndarray]:
    """Faces on either side of the median along the axis in which they reach farthest."""
    own = middles[part]
    order = np.argsort(own[:, np.argmax(np.ptp(own, axis=0))], kind="stable")
    return part[order[: len(part) // 2]], part[order[len(part) // 2 :]]


def _nearest(
    origins: Float[Tensor, "k 3"],
    directions: Float[Tensor, "k 3"],
    corners: Float[Tensor, "f 3 3"],
    settings: MeshShadowSettings,
) -> tuple[Float[Tensor, "k"], Bool[Tensor, "k"]]:
    corner, one, two = corners.to(origins).unbind(dim=1)
    shape = (len(origins), len(corner), 3)
    across = torch.linalg.cross(directions[:, None].expand(shape), two.expand(shape))
    turn = torch.einsum("fx,kfx->kf", one, across)
    scale = 1.0 / torch.where(turn == 0, torch.ones_like(turn), turn)
    offset = origins[:, None] - corner
    u = (offset * across).sum(dim=-1) * scale
    turned = torch.linalg.cross(offset, one.expand(shape))
    v = torch.einsum("kx,kfx->kf", directions, turned) * scale
    distance = torch.einsum("fx,kfx->kf", two, turned) * scale
    inside = (turn != 0) & (u >= 0) & (u <= 1) & (v >= 0) & (u + v <= 1)
    met = inside & (distance > 0) & (distance < settings.far_m) & ((turn > 0) | (distance > settings.through_m))
    nearest, face = distance.masked_fill(~met, torch.inf).min(dim=1)
    front = turn.gather(1, face[:, None])[:, 0] > 0
    return nearest, front & nearest.isfinite()
