"""How the geometry network learns hands before it sees any person: by the hand model's surfaces."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import Sha256
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class PretrainingSettings(BaseModel):
    """Pre-training of the SDF; the paper names the step but no number of it, so all of these are ours."""

    model_config = _FROZEN

    seed: Annotated[int, Field(ge=0, description="Shapes, points and poses follow from it.")] = 0
    steps: Annotated[int, Field(ge=1, description="Optimiser steps.")] = 1000
    batch: Annotated[int, Field(ge=1, description="Points of a step, of all shapes.")] = 4096
    learning_rate: Annotated[float, Field(gt=0, description="Adam's, at its highest.")] = 0.03
    warm_up: Annotated[
        float, Field(ge=0, lt=1, description="Share of the steps in which the rate rises; a cosine brings it down.")
    ] = 0.02
    last_rate: Annotated[float, Field(gt=0, le=1, description="What the cosine ends at, as a share.")] = 0.02
    shapes: Annotated[int, Field(ge=1, description="Hands, of as many shapes, that are learned from.")] = 256
    shape_reach_std: Annotated[
        float, Field(gt=0, le=3, description="|β| of a shape is at most this, standard deviations.")
    ] = 2.5
    points: Annotated[int, Field(ge=2, description="Points of which a shape's signed distance is known.")] = 4096
    near_share: Annotated[
        float, Field(ge=0, le=1, description="Share of them about the surface; the others fill the canonical cube.")
    ] = 0.6
    near_std_m: Annotated[float, Field(gt=0, description="How far those are off it, along each axis, metres.")] = 0.004
    far_m: Annotated[
        float, Field(gt=0, description="At this distance from the surface an error counts half, metres.")
    ] = 0.01
    eikonal: Annotated[float, Field(ge=0, description="Weight of the squared distance of |∇s| from one.")] = 0.003
    eikonal_points: Annotated[int, Field(ge=1, description="Points of a step at which the gradient is taken.")] = 256
    tetrahedron_m: Annotated[float, Field(gt=0, description="How far from such a point it is measured, metres.")] = 5e-4
    pose_std_rad: Annotated[
        float, Field(ge=0, description="Poses told are this far from the mean pose, each joint about each axis.")
    ] = 0.4
    finest_vertices: Annotated[
        int,
        Field(ge=2, description="Levels of the hash grid with more vertices a side stay closed, and as they were."),
    ] = 128
    unseen_shapes: Annotated[int, Field(ge=1, description="Further shapes, by which the result is judged.")] = 16


class PretrainedCard(BaseModel):
    """What a pre-trained geometry network says of itself."""

    model_config = _FROZEN

    name: str
    code_version: str
    digest: Annotated[Sha256, Field(description="Of all that the weights follow from.")]
    settings: PretrainingSettings
    network_seed: Annotated[int, Field(ge=0, description="Of the weights before the first step.")]
    fields: Annotated[FieldSettings, Field(description="Sizes of the network.")]
    encoding: Annotated[EncodingSettings, Field(description="Sizes of its hash grid.")]
    hand_model: Annotated[Sha256, Field(description="Digest of the hand model whose surfaces were learned.")]
    cube_centre_m: tuple[float, float, float]
    cube_half_side_m: Annotated[float, Field(gt=0, description="The canonical cube in which they were learned.")]
    figures: Annotated[dict[str, float | int], Field(description="Errors on shapes that it never saw.")]
