"""How the prior is lit and shaded (eq. 7–9): BRDF, environment, strategies, secondary rays."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SpecularForm = Literal["smith", "smith_separable", "official"]
DiffuseForm = Literal["lambert", "disney", "coupled"]
Strategy = Literal["uniform", "stratified", "brdf", "light", "mis"]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class BrdfSettings(BaseModel):
    """Which BRDF; the official code's own arithmetic is the specular form `official`."""

    model_config = _FROZEN

    specular: Annotated[
        SpecularForm,
        Field(
            description="GGX with height-correlated Smith shadowing; with separable Smith shadowing, as Mitsuba has it; "
            "or the official code's approximations."
        ),
    ] = "smith"
    diffuse: Annotated[
        DiffuseForm,
        Field(
            description="Plain Lambert, as the official code; Disney's, as Mitsuba's principled BSDF; or Lambert under a "
            "Fresnel layer, which gives back no more than it got for any material."
        ),
    ] = "lambert"
    dielectric_f0: Annotated[
        float, Field(gt=0, lt=1, description="Reflectance of what is not metal, seen straight on.")
    ] = 0.04


class GaussianLightSettings(BaseModel):
    """How an environment of spherical Gaussians starts."""

    model_config = _FROZEN

    lobes: Annotated[int, Field(gt=0, description="Spherical Gaussians.")] = 64
    sharpness: Annotated[float, Field(gt=0, description="Least sharpness at the start.")] = 10.0
    sharpness_spread: Annotated[
        float, Field(ge=0, description="Scale of the half-normal that is added to each lobe's sharpness.")
    ] = 20.0
    energy: Annotated[
        float, Field(gt=0, description="Integral of the starting radiance over the sphere, per channel.")
    ] = 0.8 * 2.0 * math.pi


class ShadingSettings(BaseModel):
    """How the light at a point is sampled."""

    model_config = _FROZEN

    strategy: Annotated[Strategy, Field(description="Where directions come from.")] = "stratified"
    rows: Annotated[int, Field(gt=0, description="Rows of the stratified pattern (cosine of the polar angle).")] = 16
    columns: Annotated[int, Field(gt=0, description="Columns of the stratified pattern (azimuth).")] = 32
    lift_m: Annotated[
        float, Field(ge=0, description="Secondary rays start this far off the surface, along its normal, metres.")
    ] = 0.0005


class SecondarySettings(BaseModel):
    """How a secondary ray is marched, at the scale of a hand."""

    model_config = _FROZEN

    step_m: Annotated[
        float, Field(gt=0, le=0.005, description="Distance of two samples, metres; a fingertip is some 14 mm thick.")
    ] = 0.002
    far_m: Annotated[float, Field(gt=0, description="Length of a ray, metres; beyond it is only environment.")] = 0.30
    leave_own_surface: Annotated[
        bool, Field(description="Density does not count while the ray is still leaving the surface it starts from.")
    ] = True
    rise_per_m: Annotated[
        float, Field(ge=0, description="A ray has left once density grows by this over its least so far, 1/m.")
    ] = 5.0
    stop_below: Annotated[
        float, Field(ge=0, lt=1, description="A ray ends where its transmittance falls below this.")
    ] = 1e-3
    block: Annotated[int, Field(gt=0, description="Steps taken between looks at which rays have ended.")] = 16
    rays_at_once: Annotated[int, Field(gt=0, description="Rays marched together, which bounds memory.")] = 16384


class PbrSettings(BaseModel):
    """Everything physically based."""

    model_config = _FROZEN

    brdf: BrdfSettings = BrdfSettings()
    light: GaussianLightSettings = GaussianLightSettings()
    shading: ShadingSettings = ShadingSettings()
    secondary: SecondarySettings = SecondarySettings()
