"""Hands: joint order and the flags that say which convention a set of pose parameters follows."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import Sha256

JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    "index1", "index2", "index3",
    "middle1", "middle2", "middle3",
    "pinky1", "pinky2", "pinky3",
    "ring1", "ring2", "ring3",
    "thumb1", "thumb2", "thumb3",
    "thumb_tip", "index_tip", "middle_tip", "ring_tip", "pinky_tip",
)  # fmt: skip
"""The 21 joints: MANO's 16 in MANO order, then the tips from thumb to pinky."""


class HandConvention(BaseModel):
    """How pose and shape numbers of a table are to be read; travels with every table of hands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: Literal["right", "left"] = "right"
    flat_hand_mean: Annotated[bool, Field(description="False: hand_pose is an offset from the model's mean pose.")] = (
        False
    )
    model_id: Annotated[str, Field(description="Name of the hand model.")]
    model_sha256: Annotated[Sha256, Field(description="Digest of the hand model's file.")]
    tip_vertex_ids: Annotated[tuple[int, int, int, int, int], Field(description="Tips thumb → pinky, vertex rows.")]
