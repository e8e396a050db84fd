"""How good a capture's labels are, in one number and in the parts that it is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.column import MM, ONE, PX
from schemas.ids import SubjectId


class QualityRow(BaseModel):
    """The quality of one capture: a score from 0 to 1, its parts, and whether every part is within its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    quality_ok: Annotated[bool, Field(description="Whether every part is within its limit.")]
    score: Annotated[
        float, ONE, Field(ge=0, le=1, description="From the parts below; 1 is as good as can be, 0 is no usable label.")
    ]
    coverage: Annotated[float, ONE, Field(ge=0, le=1, description="Share of the 21 joints that could be triangulated.")]
    reprojection_px: Annotated[
        float | None,
        PX,
        Field(
            ge=0, description="Reprojection error of the triangulated joints in the views used, at the full tier, mean."
        ),
    ]
    fit_mm: Annotated[float | None, MM, Field(ge=0, description="Fitted joints to triangulated keypoints, mean.")]
    model_to_scan_mm: Annotated[float | None, MM, Field(ge=0, description="Fitted hand to scan, mean.")]
    scan_to_model_mm: Annotated[float | None, MM, Field(ge=0, description="Scan to fitted hand, mean.")]
    silhouette_iou: Annotated[
        float | None,
        ONE,
        Field(ge=0, le=1, description="IoU of the fitted hand's silhouette and the scan's, mean over views."),
    ]
    capture_iou: Annotated[
        float | None,
        ONE,
        Field(ge=0, le=1, description="IoU of the projected scan and the segmented image, mean over views."),
    ]
    reasons: Annotated[str, Field(description="Which parts are beyond their limits, found and limit; empty if none.")]
