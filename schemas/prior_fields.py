"""The prior's networks: geometry, radiance and material, their density and the codes they are told (paper §4)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(ge=1, le=1024)]


class FieldSettings(BaseModel):
    """Sizes of the three networks; the defaults are those of the published prior, except where said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Annotated[int, Field(ge=16, le=1024, description="Units of every hidden layer.")] = 64
    features: Annotated[Width, Field(description="Outputs of the geometry network, of which the first is the SDF.")] = (
        13
    )
    pose_code: Annotated[Width, Field(description="Numbers that a pose is told in.")] = 32
    shape_code: Annotated[Width, Field(description="Numbers that a person's shape is told in.")] = 32
    appearance_code: Annotated[Width, Field(description="Numbers that a person's appearance is told in.")] = 32
    use_betas: Annotated[
        bool, Field(description="The geometry network sees β, as eq. 4 has it; the published code leaves it out.")
    ] = True
    separate_codes: Annotated[bool, Field(description="Shape and appearance have a code each, as in eq. 15.")] = True
    code_std: Annotated[float, Field(ge=0, description="Standard deviation of a code's first values.")] = 1e-8
    sphere_radius: Annotated[
        float, Field(gt=0, lt=1, description="Of the first surface, in half sides of the canonical cube.")
    ] = 0.5
    beta_initial: Annotated[
        float, Field(gt=0, description="Density's β at first, metres; 0.3 m is the published code's, for bodies.")
    ] = 0.002
    beta_least: Annotated[float, Field(gt=0, description="Density's β is at least this, metres.")] = 1e-4
