"""Keypoints: what the detector saw, what triangulation made of it, and the card that travels with a detector."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.column import DEG, FULL_IMAGE, M2, ONE, PX, WORLD, M
from schemas.hand import JOINT_NAMES
from schemas.ids import CameraId, Sha256, SubjectId

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)
_Joint = Annotated[
    int, ONE, Field(ge=0, lt=len(JOINT_NAMES), description="Row in MANO's order, then tips thumb → pinky.")
]
_Covariance = Annotated[
    float | None, M2, WORLD, Field(description="Entry of the position's covariance; null = missing.")
]


class Keypoint2DRow(BaseModel):
    """One joint as the detector saw it in one image."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    joint: _Joint
    x_px: Annotated[float, PX, FULL_IMAGE, Field(description="Where the joint is, from the left.")]
    y_px: Annotated[float, PX, FULL_IMAGE, Field(description="Where the joint is, from the top.")]
    confidence: Annotated[float, ONE, Field(ge=0, le=1, description="Share of the heatmap's mass about its peak.")]


class Keypoint3DRow(BaseModel):
    """One joint in space, triangulated from the views that agree on it; missing rather than guessed."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    joint: _Joint
    x: Annotated[float | None, M, WORLD, Field(description="Position; null = missing.")]
    y: Annotated[float | None, M, WORLD, Field(description="Position; null = missing.")]
    z: Annotated[float | None, M, WORLD, Field(description="Position; null = missing.")]
    cov_xx: _Covariance
    cov_xy: _Covariance
    cov_xz: _Covariance
    cov_yy: _Covariance
    cov_yz: _Covariance
    cov_zz: _Covariance
    reprojection_px: Annotated[
        float | None,
        PX,
        Field(
            ge=0,
            description="Reprojection error at the full tier, root mean square over the views used; null = missing.",
        ),
    ]
    views: Annotated[int, ONE, Field(ge=0, description="Views that agree; 0 = missing.")]
    ray_angle_deg: Annotated[float, DEG, Field(ge=0, description="Largest angle between two of the rays.")]


class DetectorCard(BaseModel):
    """What a detector learned from, how, and how good it was on annotations it never saw."""

    model_config = _FROZEN

    name: str
    code_version: str
    start: Annotated[str, Field(description="What the weights began as: ImageNet's, or another detector's sha256.")]
    settings: Annotated[dict[str, object], Field(description="The settings of the training.")]
    data_digest: Annotated[Sha256, Field(description="Digest of the annotated images and their labels.")]
    subjects: Annotated[
        tuple[Sha256, ...],
        Field(description="Digest of every person seen in training, here or earlier; see `subject_digest`."),
    ]
    figures: Annotated[dict[str, float | int], Field(description="Counts and validation errors.")]
