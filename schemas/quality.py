"""How good a capture's labels are, in one number and in the parts that it is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import SubjectId


class QualityRow(BaseModel):
    """The quality of one capture: a score from 0 to 1, its parts, and whether every part is within its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    quality_ok: Annotated[bool, Field(description="Whether every part is within its limit.")]
    score: Annotated[
        float, Field(ge=0, le=1, description="From the parts below; 1 is as good as can be, 0 is no usable label.")
    ]
    coverage: Annotated[float, Field(ge=0, le=1, description="Share of the 21 joints that could be triangulated.")]
    reprojection_px: Annotated[
        float | None, Field(ge=0, description="Triangulated joints against the views used, mean over joints, px.")
    ]
    fit_mm: Annotated[float | None, Field(ge=0, description="Fitted joints to triangulated keypoints, mean, mm.")]
    model_to_scan_mm: Annotated[float | None, Field(ge=0, description="Fitted hand to scan, mean, mm.")]
    scan_to_model_mm: Annotated[float | None, Field(ge=0, description="Scan to fitted hand, mean, mm.")]
    silhouette_iou: Annotated[
        float | None, Field(ge=0, le=1, description="Fitted hand's silhouette against the scan's, mean over views.")
    ]
    capture_iou: Annotated[
        float | None, Field(ge=0, le=1, description="Projected scan against the segmented image, mean over views.")
    ]
    reasons: Annotated[str, Field(description="Which parts are beyond their limits, found and limit; empty if none.")]
