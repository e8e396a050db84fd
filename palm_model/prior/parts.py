"""What PalmNet is made of, as it uses it: networks, and skinning."""

from typing import NamedTuple, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from palm_model.prior.inverse_skinning import Roots
from palm_model.prior.poses import Poses
from palm_model.prior.skinning import Skinned


class GeometryValues(Protocol):
    """What the geometry network says of a point."""

    @property
    def sdf(self) -> Float[Tensor, "n"]:
        """Metres, negative inside."""

    @property
    def feature(self) -> Float[Tensor, "n f"]:
        """For the other networks."""


class MaterialValues(Protocol):
    """What the material network says of a point."""

    @property
    def albedo(self) -> Float[Tensor, "n 3"]:
        """Linear."""

    @property
    def alpha(self) -> Float[Tensor, "n"]:
        """GGX α."""

    @property
    def metallic(self) -> Float[Tensor, "n"]:
        """0 to 1."""


class Geometry(Protocol):
    """f_g of eq. 4."""

    def __call__(  # noqa: PLR0917 - as eq. 4 has them
        self,
        unit: Float[Tensor, "n 3"],
        pose_code: Float[Tensor, "p pose"],
        shape_code: Float[Tensor, "p shape"],
        betas: Float[Tensor, "p 10"] | None,
        open_levels: float | None,
        row: Int[Tensor, "n"] | None,
    ) -> GeometryValues:
        """At points of the canonical cube, scaled to [0, 1]³, told of p hands; `row` says whose a point is."""


class Radiance(Protocol):
    """f_rf of eq. 5."""

    def grid(self, unit: Float[Tensor, "n 3"], open_levels: float | None) -> Float[Tensor, "n grid"]:
        """Points of the canonical cube, scaled to [0, 1]³, as this network and that of the material see them."""

    def __call__(  # noqa: PLR0917 - as eq. 5 has them
        self,
        grid: Float[Tensor, "n grid"],
        feature: Float[Tensor, "n f"],
        reflected: Float[Tensor, "n 3"],
        normal: Float[Tensor, "n 3"],
        pose_code: Float[Tensor, "p pose"],
        appearance_code: Float[Tensor, "p appearance"],
        open_bands: float | None,
        row: Int[Tensor, "n"] | None,
    ) -> Float[Tensor, "n 3"]:
        """Linear light towards the viewer, directions and normals in the world; `row` says whose a point is."""


class Materials(Protocol):
    """f_m of eq. 6."""

    def __call__(
        self,
        grid: Float[Tensor, "n grid"],
        feature: Float[Tensor, "n f"],
        pose_code: Float[Tensor, "n pose"],
        appearance_code: Float[Tensor, "n appearance"],
    ) -> MaterialValues:
        """Of points of the canonical cube, as the radiance network's grid has them."""


class DensityOf(Protocol):
    """Γ: from signed distance, metres, to density, 1/m."""

    def __call__(self, sdf: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Of each."""


class Codes(NamedTuple):
    """What the networks are told of p posed hands."""

    pose: Float[Tensor, "p pose"]
    shape: Float[Tensor, "p shape"]
    appearance: Float[Tensor, "p appearance"]


class Conditioning(Protocol):
    """Tells the networks who it is, and in which pose."""

    def __call__(self, poses: Poses) -> Codes:
        """One row a hand."""


class Skinning(Protocol):
    """Eq. 3 and its inverse, as `InverseSkinning` has them."""

    def find(self, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses) -> Roots:
        """Canonical points of world points, without gradients."""

    def attach(self, roots: Roots, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses) -> Roots:
        """The same with implicit gradients."""

    def skinned(self, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"], poses: Poses) -> Skinned:
        """World points of canonical points, with ∂ world / ∂ canonical."""
