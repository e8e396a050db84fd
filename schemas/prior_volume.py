"""Where a ray is asked for density and colour, and how many points at once."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class BlindSampling(BaseModel):
    """Even steps through the cells about the registered surface, then importance rounds; the published values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["blind"] = "blind"
    resolution: Annotated[int, Field(ge=2, description="Cells along a side of the cube about a hand.")] = 64
    reach_m: Annotated[
        float, Field(gt=0, description="Cells nearer than this to the registered surface are looked at, metres.")
    ] = 0.015
    steps: Annotated[int, Field(ge=1, description="Steps along the diagonal of the cube.")] = 128
    rounds: Annotated[int, Field(ge=0, description="Times that more samples are drawn where the weights are.")] = 2
    samples_per_round: Annotated[int, Field(ge=1, description="Samples that a round adds to a ray.")] = 16


class GuidedSampling(BaseModel):
    """Few samples in a shell about the registered surface, most of them where that surface will be seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["guided"] = "guided"
    samples: Annotated[int, Field(ge=1, description="Samples on a ray that meets the shell.")] = 16
    shell_m: Annotated[
        float, Field(gt=0, description="Nothing is met farther than this from the registered surface, metres.")
    ] = 0.008
    spacing_m: Annotated[
        float, Field(gt=0, description="The surface is given by points on it: none of it is farther from one, metres.")
    ] = 0.004
    bin_m: Annotated[float, Field(gt=0, description="Along a ray the shell is known to this length, metres.")] = 0.001
    bins: Annotated[
        int, Field(ge=8, description="Such lengths of a ray; on one that is longer in the shell they are longer.")
    ] = 128
    softness_m: Annotated[
        float, Field(gt=0, description="How far off the registered surface is thought to be (a Laplace scale), metres.")
    ] = 0.002
    seen_share: Annotated[
        float, Field(ge=0, le=1, description="Share of the samples where the registered surface is seen first.")
    ] = 0.5
    wall_share: Annotated[
        float,
        Field(
            ge=0, le=1, description="Share near the registered surface, seen or behind; the rest is even in the shell."
        ),
    ] = 0.25


class VolumeSettings(BaseModel):
    """How the volume is rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Annotated[
        BlindSampling | GuidedSampling,
        Field(discriminator="kind", description="Blind as published, or guided by the registered surface."),
    ] = BlindSampling()
    max_points: Annotated[
        int,
        Field(
            ge=1, description="Samples that `render` holds at once: it takes rays in parts. A training step takes all."
        ),
    ] = 2**18
    normals: Annotated[
        Literal["tetrahedral", "autograd"],
        Field(description="The SDF's gradient by four evaluations about a point, or by automatic differentiation."),
    ] = "tetrahedral"
    tetrahedron_m: Annotated[float, Field(gt=0, description="How far from the point the four are, metres.")] = 2e-4
    normals_to_world: Annotated[
        Literal["jacobian", "blended_rotation"],
        Field(description="By skinning's inverse transposed Jacobian, or by the rotation that the bones agree on."),
    ] = "jacobian"
    negligible_weight: Annotated[
        float, Field(ge=0, lt=1, description="Samples that weigh less are not asked for colour and material.")
    ] = 0.0
