"""The three networks of PALM-Net: geometry (eq. 4), radiance (eq. 5) and material (eq. 6)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from palm_model.prior.encoding import HashEncoding
from palm_model.prior.harmonics import DIRECTION_WIDTH, encode_directions
from palm_model.prior.layers import LipschitzNetwork, relu_network, sphere_network, told_layer
from schemas.errors import SettingsError
from schemas.prior_fields import FieldSettings

ALBEDO_RANGE = (0.03, 0.80)
ALPHA_RANGE = (0.09, 0.99)
_BETAS = 10


class GeometryOut(NamedTuple):
    """What the geometry network says of n points."""

    sdf: Float[Tensor, "n"]
    """Metres, negative inside."""
    feature: Float[Tensor, "n features"]
    """All the outputs, the SDF in half sides of the cube first."""


class Material(NamedTuple):
    """What the skin is made of at n points."""

    albedo: Float[Tensor, "n 3"]
    """Linear, in `ALBEDO_RANGE`."""
    alpha: Float[Tensor, "n"]
    """GGX α, in `ALPHA_RANGE`."""
    metallic: Float[Tensor, "n"]
    """0 to 1."""


class GeometryField(nn.Module):
    """f_g: signed distance and features of canonical points, told pose, shape code and β."""

    def __init__(
        self,
        settings: FieldSettings,
        encoding: HashEncoding,
        *,
        half_side: float,
        generator: torch.Generator | None = None,
    ) -> None:
        """Start as a sphere in the middle of the canonical cube.

        Args:
            half_side: of the canonical cube, metres.
        """
        super().__init__()
        self.settings, self.encoding, self.half_side = settings, encoding, half_side
        told = settings.pose_code + settings.shape_code + (_BETAS if settings.use_betas else 0)
        inputs = 3 + encoding.width + told
        self.network = sphere_network(inputs, settings.width, settings.features, settings.sphere_radius, generator)

    def forward(  # noqa: PLR0917 - as eq. 4 has them
        self,
        unit: Float[Tensor, "n 3"],
        pose_code: Float[Tensor, "p pose"],
        shape_code: Float[Tensor, "p shape"],
        betas: Float[Tensor, "p 10"] | None,
        open_levels: float | None = None,
        row: Int[Tensor, "n"] | None = None,
    ) -> GeometryOut:
        """At points of the canonical cube, scaled to [0, 1]³.

        Args:
            row: of the codes and β, whose each point is; None: every point has its own.

        Raises:
            SettingsError: if the network is to see β and is given none.
        """
        told = [pose_code, shape_code]
        if self.settings.use_betas:
            if betas is None:
                raise SettingsError("geometry: expected betas, since use_betas is on, found none.")
            told.append(betas)
        own = torch.cat([2.0 * unit - 1.0, self.encoding(unit, open_levels)], dim=-1)
        first, softplus, last = self.network
        feature: Tensor = last(softplus(told_layer(first, own, torch.cat(told, dim=-1), row)))
        return GeometryOut(feature[:, 0] * self.half_side, feature)


class RadianceField(nn.Module):
    """f_rf: light that leaves canonical points towards the viewer, with a hash grid of its own."""

    def __init__(
        self, settings: FieldSettings, encoding: HashEncoding, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.encoding = encoding
        told = settings.pose_code + settings.appearance_code
        inputs = 3 + encoding.width + settings.features + DIRECTION_WIDTH + 3 + told
        self.network = relu_network(inputs, settings.width, 3, generator)

    def grid(self, unit: Float[Tensor, "n 3"], open_levels: float | None = None) -> Float[Tensor, "n grid"]:
        """The points, from −1 to 1, and their encoding; the material network sees the same."""
        return torch.cat([2.0 * unit - 1.0, self.encoding(unit, open_levels)], dim=-1)

    def forward(  # noqa: PLR0917 - as eq. 5 has them
        self,
        grid: Float[Tensor, "n grid"],
        feature: Float[Tensor, "n features"],
        reflected: Float[Tensor, "n 3"],
        normal: Float[Tensor, "n 3"],
        pose_code: Float[Tensor, "p pose"],
        appearance_code: Float[Tensor, "p appearance"],
        open_bands: float | None = None,
        row: Int[Tensor, "n"] | None = None,
    ) -> Float[Tensor, "n 3"]:
        """Linear colour, 0 to 1.

        Args:
            row: of the codes, whose each point is; None: every point has its own.
            grid: what `grid` gives for the points.
            reflected: the viewing ray mirrored at the normal, unit, world.
        """
        shown = encode_directions(reflected, open_bands)
        own, told = torch.cat([grid, feature, shown, normal], dim=-1), torch.cat([pose_code, appearance_code], dim=-1)
        return torch.sigmoid(_single(self.network[1:](told_layer(self.network[0], own, told, row))))


class MaterialField(nn.Module):
    """f_m: albedo, roughness and metalness of canonical points, by the radiance network's grid."""

    def __init__(
        self, settings: FieldSettings, radiance: RadianceField, *, generator: torch.Generator | None = None
    ) -> None:
        """Take the radiance network whose `grid` it will be given; the grid stays that network's."""
        super().__init__()
        told = settings.pose_code + settings.appearance_code
        inputs = 3 + radiance.encoding.width + settings.features + told
        self.network = LipschitzNetwork(inputs, settings.width, 5, generator)

    def lipschitz_bound(self) -> Float[Tensor, ""]:
        """How steep the network can be, as a loss."""
        return self.network.bound()

    def forward(
        self,
        grid: Float[Tensor, "n grid"],
        feature: Float[Tensor, "n features"],
        pose_code: Float[Tensor, "n pose"],
        appearance_code: Float[Tensor, "n appearance"],
    ) -> Material:
        """Of points of the canonical cube; `grid` is what the radiance network's gives for them."""
        raw = torch.sigmoid(_single(self.network(torch.cat([grid, feature, pose_code, appearance_code], dim=-1))))
        return Material(_between(raw[:, :3], ALBEDO_RANGE), _between(raw[:, 3], ALPHA_RANGE), raw[:, 4])


def _single(values: Tensor) -> Tensor:
    """At least single precision: a colour in halves would have steps that an image shows."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _between(share: Tensor, ends: tuple[float, float]) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share
