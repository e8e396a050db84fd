"""The geometry network by itself: the SDF of canonical points of a hand that it is told."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_data.hand.model import POSE_SIZE
from palm_model.prior.canonical import CanonicalBox
from palm_model.prior.codes import Conditioning, PoseEncoder
from palm_model.prior.fields import GeometryField
from palm_model.prior.network import PalmNet
from palm_model.prior.normals import tetrahedral_gradient, tetrahedron
from schemas.errors import SettingsError


class Told(NamedTuple):
    """What the network is told of n points' hands."""

    pose: Float[Tensor, "n pose"]
    shape: Float[Tensor, "n shape"]
    betas: Float[Tensor, "n 10"]

    def rows(self, rows: slice | Int[Tensor, "k"]) -> "Told":
        """Of some of the points."""
        return Told(*(one[rows] for one in self))

    def repeated(self, times: int) -> "Told":
        """The whole list so many times over."""
        return Told(*(one.repeat(times, 1) for one in self))


@dataclass(frozen=True, eq=False)
class CanonicalSdf:
    """A geometry network with the encoder of its pose codes and its cube."""

    geometry: GeometryField
    encoder: PoseEncoder
    box: CanonicalBox
    open_levels: int | None = None
    """Of its hash grid; None: all."""

    @staticmethod
    def of(network: PalmNet, open_levels: int | None = None) -> "CanonicalSdf":
        """That of a PalmNet; it shares its weights.

        Raises:
            SettingsError: if its parts are not those that are trained.
        """
        geometry, conditioning = network.geometry, network.conditioning
        if not isinstance(geometry, GeometryField) or not isinstance(conditioning, Conditioning):
            found = f"{type(geometry).__name__} and {type(conditioning).__name__}"
            raise SettingsError(f"prior: expected a network of GeometryField and Conditioning, found {found}.")
        return CanonicalSdf(geometry, conditioning.pose, network.box, open_levels)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.geometry.encoding.table.device

    def __call__(self, points: Float[Tensor, "n 3"], told: Told) -> Float[Tensor, "n"]:
        """Signed distance at canonical points, metres, negative inside."""
        unit = self.box.to_unit(points)
        values: Tensor = self.geometry(unit, told.pose, told.shape, told.betas, self.open_levels).sdf
        return values

    def gradient(self, points: Float[Tensor, "n 3"], told: Told, reach_m: float) -> Float[Tensor, "n 3"]:
        """∇s by four evaluations, `reach_m` from each point."""
        corners = tetrahedron(points, reach_m).flatten(0, 1)
        return tetrahedral_gradient(self(corners, told.repeated(4)).view(4, -1), reach_m)

    @torch.no_grad()
    def told(
        self,
        betas: Float[Tensor, "n 10"],
        mean_pose: Float[Tensor, "45"],
        pose_std_rad: float,
        generator: torch.Generator,
    ) -> Told:
        """These shapes with the codes of random poses about a mean one, and of people as code books begin.

        Args:
            generator: on CPU, so that all devices draw the same.
        """
        count, sizes = len(betas), self.geometry.settings
        turns = torch.randn(count, POSE_SIZE, generator=generator) * pose_std_rad + mean_pose
        shape = torch.randn(count, sizes.shape_code, generator=generator) * sizes.code_std
        pose: Tensor = self.encoder(torch.nn.functional.pad(turns, (3, 0)).to(self.device))
        return Told(pose, shape.to(self.device), betas)
