"""What a trained prior is scored on, and how finely the truth is rendered for it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class PriorEvaluationSettings(BaseModel):
    """The views that are scored are a function of these numbers and of the release alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    spp: Annotated[int, Field(ge=1, le=8192, description="Light paths a pixel of the true images.")] = 512
    supersample: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="Places a pixel and axis at which true albedo and normals, and the baked mesh, are looked at.",
        ),
    ] = 4
    train_views: Annotated[
        int, Field(ge=1, description="Views a person that were trained on: seen gestures in seen cameras.")
    ] = 2
    new_camera_gestures: Annotated[
        int, Field(ge=1, description="Seen gestures a person that are scored in the held-out camera, spread evenly.")
    ] = 3
    new_pose_views: Annotated[
        int, Field(ge=1, description="Seen cameras in which each held-out gesture of a person is scored.")
    ] = 2
    opaque: Annotated[float, Field(gt=0, lt=1, description="Opacity above which a pixel counts as hand.")] = 0.5
    floater_mm: Annotated[
        float, Field(gt=0, description="A piece that is nowhere nearer to the true hand than this floats, mm.")
    ] = 3.0
    floater_px: Annotated[
        int, Field(ge=1, description="Pieces of fewer pixels are not counted, where no mesh is given.")
    ] = 9
    depth_step_mm: Annotated[
        float, Field(gt=0, description="Neighbouring pixels whose depths differ by more are not one surface, mm.")
    ] = 5.0
    light_rows: Annotated[int, Field(ge=8, le=256, description="Rows of the maps over which light is summed up.")] = 64
