"""What the prior's training weighs: one schedule for each term of the loss, with the published values as defaults.

The paper leaves its weights to a supplement that was never published; where it gives none, the defaults are those of
the authors' code, save one: the mask's weight decays, as the paper says and the code does not.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import SettingsError

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)

LossName = Literal[
    "colour",
    "pbr_colour",
    "segmentation",
    "normal",
    "eikonal",
    "perceptual",
    "laplacian",
    "latent_shape",
    "latent_appearance",
    "material_smoothness",
]
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)
LaplacianVariant = Literal["tangent_curvature", "sdf_laplacian"]
PerceptualName = Literal["st-lpips-alex", "st-lpips-vgg", "lpips-alex", "lpips-vgg"]
"""ST-LPIPS comes with the package `stlpips-pytorch`; the weights of LPIPS are the user's to bring."""


class Constant(BaseModel):
    """The same weight at every step."""

    model_config = _FROZEN

    kind: Literal["constant"] = "constant"
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False, description="The weight.")]


class Linear(BaseModel):
    """A weight that goes straight from one value to another and stays there."""

    model_config = _FROZEN

    kind: Literal["linear"] = "linear"
    start: Annotated[float, Field(ge=0, allow_inf_nan=False, description="Weight up to the first step.")]
    end: Annotated[float, Field(ge=0, allow_inf_nan=False, description="Weight from the last step on.")]
    first_step: Annotated[int, Field(ge=0, description="Optimiser step at which the weight begins to change.")] = 0
    last_step: Annotated[int, Field(gt=0, description="Optimiser step at which the weight has changed.")]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_step <= self.first_step:
            raise ValueError(f"expected last_step after first_step {self.first_step}, found {self.last_step}")
        return self


class FromStep(BaseModel):
    """Nothing before a step; from it on, what another schedule says at that step of the whole training."""

    model_config = _FROZEN

    kind: Literal["from_step"] = "from_step"
    step: Annotated[int, Field(gt=0, description="First optimiser step, from 0, at which the term counts.")]
    then: Annotated[Constant | Linear, Field(discriminator="kind", description="What holds from there.")]


Schedule = Annotated[Constant | Linear | FromStep, Field(discriminator="kind")]

_UNFROZEN = 6002
"""The first step at which the authors' code trains the geometry (its condition is `step > 6001`)."""


class LossSettings(BaseModel):
    """The terms of equations 10 to 14; None switches a term off."""

    model_config = _FROZEN

    colour: Annotated[Schedule | None, Field(description="L1 of the radiance field's colours, sRGB (eq. 10).")] = (
        Constant(weight=1.0)
    )
    pbr_colour: Annotated[Schedule | None, Field(description="L1 of the shaded colours, sRGB.")] = FromStep(
        step=12001, then=Constant(weight=0.2)
    )
    segmentation: Annotated[Schedule | None, Field(description="Cross-entropy of opacity and mask (eq. 12).")] = Linear(
        start=0.1, end=0.01, last_step=24000
    )
    normal: Annotated[Schedule | None, Field(description="L1 of unit normals against the scan's (eq. 11).")] = FromStep(
        step=_UNFROZEN, then=Linear(start=0.5, end=0.1, last_step=24000)
    )
    eikonal: Annotated[Schedule | None, Field(description="Squared distance of |∇s| from one.")] = Constant(weight=1e-5)
    perceptual: Annotated[Schedule | None, Field(description="Perceptual distance of patches.")] = FromStep(
        step=6, then=Constant(weight=0.1)
    )
    laplacian: Annotated[Schedule | None, Field(description="Smooth surfaces, by the variant named below.")] = FromStep(
        step=_UNFROZEN, then=Constant(weight=0.1)
    )
    latent_shape: Annotated[Schedule | None, Field(description="Squared norm of shape codes.")] = FromStep(
        step=_UNFROZEN, then=Constant(weight=1e-3)
    )
    latent_appearance: Annotated[Schedule | None, Field(description="Squared norm of appearance codes.")] = Constant(
        weight=1e-3
    )
    material_smoothness: Annotated[
        Schedule | None, Field(description="Relative change of the material nearby; not in the paper.")
    ] = None
    laplacian_variant: Annotated[
        LaplacianVariant, Field(description="tangent_curvature as in the authors' code, or the SDF's Laplacian.")
    ] = "tangent_curvature"
    laplacian_step_m: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Distance along the surface between two normals, metres.")
    ] = 1e-5
    perceptual_network: Annotated[PerceptualName, Field(description="Which network compares patches.")] = "st-lpips-vgg"
    perceptual_scale: Annotated[
        int, Field(ge=1, le=8, description="Patches are enlarged by this before they are compared.")
    ] = 2

    def schedules(self) -> Mapping[LossName, Schedule]:
        """The terms that are on, in the order of their names."""
        named = {name: getattr(self, name) for name in LOSS_NAMES}
        return {name: schedule for name, schedule in named.items() if schedule is not None}

    def without(self, *names: LossName) -> Self:
        """The same settings with these terms off.

        Raises:
            SettingsError: if there is no term of a name.
        """
        for name in names:
            if name not in LOSS_NAMES:
                raise SettingsError(f"losses: expected one of {', '.join(LOSS_NAMES)}, found {name}.")
        return self.model_copy(update=dict.fromkeys(names))
