"""How the physically based branch is trained beside the radiance branch (eq. 7 to 9), and what it is looked at with."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.prior_pbr import BrdfSettings, GaussianLightSettings, SecondarySettings, ShadingSettings

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)

Visibility = Literal["march", "mesh", "none"]


class MeshShadowSettings(BaseModel):
    """Shadows of the registered surface."""

    model_config = _FROZEN

    far_m: Annotated[float, Field(gt=0, description="Length of a ray, metres; beyond it is only environment.")] = 0.30
    through_m: Annotated[
        float,
        Field(
            ge=0,
            description="Nearer than this, faces met from behind are those of the ray's own skin, and let it out, metres.",
        ),
    ] = 0.008


class PbrTrainingSettings(BaseModel):
    """The physically based branch; the defaults are the published ones, with steps at the scale of a hand."""

    model_config = _FROZEN

    shared_environment: Annotated[
        bool, Field(description="One light for all people, who stood in one place; else each person has an own one.")
    ] = True
    light: GaussianLightSettings = GaussianLightSettings()
    balanced_light: Annotated[
        bool,
        Field(
            description="The light is white on the whole; else its colour is free, and so is that of all skin with it."
        ),
    ] = False
    light_rate: Annotated[float, Field(gt=0, description="Learning rate of the light's numbers.")] = 1e-3
    brdf: BrdfSettings = BrdfSettings()
    shading: Annotated[ShadingSettings, Field(description="Directions of each hit in training.")] = ShadingSettings()
    view_shading: Annotated[ShadingSettings, Field(description="Directions of each hit in pictures.")] = (
        ShadingSettings(strategy="mis", rows=8, columns=16)
    )
    visibility: Annotated[
        Visibility,
        Field(
            description="Shadows by marching through the learned density, by the registered surface's mesh, or none."
        ),
    ] = "march"
    view_visibility: Annotated[Visibility, Field(description="The same in pictures.")] = "march"
    secondary: Annotated[SecondarySettings, Field(description="How rays are marched.")] = SecondarySettings()
    mesh: Annotated[MeshShadowSettings, Field(description="How rays meet the mesh.")] = MeshShadowSettings()
    indirect: Annotated[bool, Field(description="The hand lights itself, as its radiance field says.")] = True
    least_opacity: Annotated[
        float, Field(gt=0, lt=1, description="Rays that meet less than this are not shaded, and black.")
    ] = 0.01
    max_hits: Annotated[
        int | None,
        Field(
            ge=1, description="Rays shaded in a step, at most; so many others are left out, drawn evenly. None: all."
        ),
    ] = None
    shape_gradient: Annotated[
        bool, Field(description="The shaded colours also teach the geometry, by normals and opacity.")
    ] = True
