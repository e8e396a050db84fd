"""PalmNet with an SDF and a material of which everything is known, told by one standing hand: for the tests of meshes."""

from collections.abc import Callable

import torch
from torch import Tensor

from palm_model.prior.network import PalmNet
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.prior_volume import VolumeSettings
from tests.palm_model.prior.small_fields import (
    BOX,
    KnownGeometry,
    Laplace,
    RowCodes,
    ShownNormals,
    known_material,
)


def known_net(sdf: Callable[[Tensor], Tensor]) -> PalmNet:
    return PalmNet(
        KnownGeometry(sdf),
        ShownNormals(),
        known_material,
        Laplace(),
        RowCodes(torch.zeros(1, 1)),
        box=BOX,
        settings=VolumeSettings(),
    )


def grids_about(vertices: Tensor) -> SkinningGrids:
    """A grid whose surface is these vertices and that hangs on bone 0."""
    steps = torch.linspace(-BOX.half_side, BOX.half_side, 17)
    nodes = torch.cartesian_prod(steps, steps, steps)
    cells = torch.zeros(1, 17, 17, 17, 16)
    cells[..., 0] = 1.0
    distance = torch.cdist(nodes, vertices).amin(dim=1).view(1, 17, 17, 17)
    return SkinningGrids(cells, distance, torch.zeros(1, dtype=torch.int64), BOX)
