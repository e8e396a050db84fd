"""Hands: joint order and the flags that say which convention a set of pose parameters follows."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.column import MM, ONE, RAD, WORLD, Frame, M
from schemas.ids import Sha256, SubjectId

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

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    side: Annotated[Literal["right", "left"], Field(description="Which hand.")] = "right"
    flat_hand_mean: Annotated[bool, Field(description="False: hand_pose is an offset from the model's mean pose.")] = (
        False
    )
    model_id: Annotated[str, Field(description="Name of the hand model.")]
    model_sha256: Annotated[Sha256, Field(description="Digest of the hand model's file.")]
    tip_vertex_ids: Annotated[
        tuple[int, int, int, int, int], ONE, Field(description="Tips thumb → pinky, vertex rows.")
    ]


class HandRow(BaseModel):
    """The fitted hand of one capture, with how well it fits."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    global_orient: Annotated[
        tuple[float, ...],
        RAD,
        WORLD,
        Field(min_length=3, max_length=3, description="Axis-angle about the rest wrist joint."),
    ]
    hand_pose: Annotated[
        tuple[float, ...],
        RAD,
        Frame("of each joint, as the hand model has them"),
        Field(
            min_length=45,
            max_length=45,
            description="Axis-angle of joints 1–15, as an offset from the model's mean pose (flat_hand_mean = False).",
        ),
    ]
    betas: Annotated[
        tuple[float, ...],
        ONE,
        Field(min_length=10, max_length=10, description="Shape coefficients; the same for all captures of a subject."),
    ]
    transl: Annotated[tuple[float, ...], M, WORLD, Field(min_length=3, max_length=3, description="Added after posing.")]
    model_to_scan_mm_mean: Annotated[
        float | None,
        MM,
        Field(
            ge=0,
            description="Mean distance of vertices farther than 8 mm from the wrist rim to their closest scan points, those on a scan border left out.",
        ),
    ]
    model_to_scan_mm_median: Annotated[float | None, MM, Field(ge=0, description="Their median.")]
    model_to_scan_mm_p95: Annotated[float | None, MM, Field(ge=0, description="Their 95th percentile.")]
    border_share: Annotated[float, ONE, Field(ge=0, le=1, description="Share of those vertices that were left out.")]
    scan_to_model_mm_mean: Annotated[
        float | None,
        MM,
        Field(ge=0, description="Mean distance of scan points up to the wrist to their closest model points."),
    ]
    scan_to_model_mm_median: Annotated[float | None, MM, Field(ge=0, description="Their median.")]
    scan_to_model_mm_p95: Annotated[float | None, MM, Field(ge=0, description="Their 95th percentile.")]
    joint_error_mm_mean: Annotated[
        float | None, MM, Field(ge=0, description="Mean distance of fitted joints to triangulated keypoints.")
    ]
    silhouette_iou_mean: Annotated[
        float | None,
        ONE,
        Field(
            ge=0,
            le=1,
            description="IoU of the model's silhouette and the scan's up to the wrist, mean over the colour views.",
        ),
    ]
    silhouette_iou_min: Annotated[float | None, ONE, Field(ge=0, le=1, description="The worst view's.")]
