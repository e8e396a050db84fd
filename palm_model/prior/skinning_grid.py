"""Skinning weights in all of canonical space: eq. 3's w_i(x), a grid for each person's shape.

At a node the weights of the surface's nearest vertices are blended by inverse distance and then smoothed, so that the
root search meets no steps; between nodes they are interpolated linearly. The grid also holds how far the surface is.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import convolve1d
from scipy.spatial import cKDTree
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_model.prior.canonical import CanonicalBox, canonical_box, canonical_vertices
from schemas.errors import GeometryError
from schemas.prior_skinning import SkinningSettings

_NEAREST_M = 1e-4
"""Distances are not taken as smaller: a node on a vertex has that vertex's weights, and no division by zero."""
_KERNEL = (0.25, 0.5, 0.25)
_DEFAULTS = SkinningSettings()


@dataclass(frozen=True, eq=False)
class SkinningGrids:
    """The grids of g shapes, and which of them each of p poses uses. Nodes lie on the cube's faces too."""

    cells: Float[Tensor, "g r r r 16"]
    """Skinning weights at the nodes (x, y, z): not negative, summing to one."""
    distance: Float[Tensor, "g r r r"]
    """From each node to the nearest vertex of the canonical surface, metres."""
    row: Int[Tensor, "p"]
    """Each pose's grid."""
    box: CanonicalBox

    @staticmethod
    def build(
        model: HandModel,
        betas: Float[Tensor, "p 10"],
        settings: SkinningSettings = _DEFAULTS,
        box: CanonicalBox | None = None,
    ) -> "SkinningGrids":
        """The grids of these shapes, on their device; equal shapes share one. About a second for each.

        Args:
            betas: one shape for each pose.
            box: the canonical cube, the model's own by default.

        Raises:
            GeometryError: if a hand of such a shape does not fit into the cube.
        """
        box = canonical_box(model) if box is None else box
        shapes, row = torch.unique(betas.detach().cpu().double(), dim=0, return_inverse=True)
        surfaces = canonical_vertices(model, shapes).numpy()
        _check_inside(surfaces, shapes, box)
        nodes = _nodes(box, settings.resolution)
        grids = [_blended(nodes, surface, model.weights, settings) for surface in surfaces]
        return SkinningGrids(
            cells=torch.from_numpy(np.stack([cells for cells, _ in grids])),
            distance=torch.from_numpy(np.stack([distance for _, distance in grids])),
            row=row,
            box=box,
        ).to(betas.device)

    @property
    def weights(self) -> Float[Tensor, "g 16 r r r"]:
        """The skinning weights, bones first: a view."""
        return self.cells.movedim(-1, 1)

    @property
    def resolution(self) -> int:
        """Nodes along a side."""
        return self.cells.shape[1]

    def for_poses(self, row: Int[Tensor, "q"]) -> "SkinningGrids":
        """The same grids for other poses: `row` says which of the poses that it was built for has the same shape.

        Built once with the shapes of the code book's people, `for_poses(poses.subject)` serves every batch.
        """
        return replace(self, row=self.row[row])

    def to(self, device: torch.device | str) -> "SkinningGrids":
        """The same grids on a device."""
        cells, distance, row = (one.to(device) for one in (self.cells, self.distance, self.row))
        return SkinningGrids(cells, distance, row, self.box.to(device))


def _check_inside(surfaces: Float[ndarray, "g v 3"], shapes: Tensor, box: CanonicalBox) -> None:
    beyond = np.abs(surfaces - box.centre.cpu().numpy()).max(axis=(1, 2)) - box.half_side
    worst = int(beyond.argmax())
    if not beyond[worst] <= 0:
        raise GeometryError(
            f"betas: expected a hand inside the canonical cube, found one that reaches {beyond[worst] * 1e3:.1f} mm "
            f"out of it (|β| = {float(shapes[worst].norm()):.1f} standard deviations). "
            "Leave this person out, or fit the shape again with a stronger shape prior."
        )


def _nodes(box: CanonicalBox, resolution: int) -> Float[ndarray, "n 3"]:
    steps = np.linspace(-box.half_side, box.half_side, resolution)
    axes = [centre + steps for centre in box.centre.double().cpu().numpy()]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _blended(
    nodes: Float[ndarray, "n 3"],
    surface: Float[ndarray, "v 3"],
    weights: Float[ndarray, "v 16"],
    settings: SkinningSettings,
) -> tuple[Float[ndarray, "r r r 16"], Float[ndarray, "r r r"]]:
    """One person's weights and distances."""
    side = (settings.resolution,) * 3
    apart, nearest = map(np.asarray, cKDTree(surface).query(nodes, k=np.arange(1, settings.neighbours + 1)))
    shares = 1.0 / np.maximum(apart, _NEAREST_M)
    shares /= shares.sum(axis=1, keepdims=True)
    blended = np.zeros((len(nodes), weights.shape[1]), np.float32)
    for rank in range(settings.neighbours):
        blended += shares[:, rank, None].astype(np.float32) * weights[nearest[:, rank]]
    cells = blended.reshape(*side, -1)
    for _ in range(settings.smoothing_rounds):
        for axis in range(3):
            cells = convolve1d(cells, _KERNEL, axis=axis, mode="nearest")
    cells /= cells.sum(axis=-1, keepdims=True)
    return cells, apart[:, 0].reshape(side).astype(np.float32)
