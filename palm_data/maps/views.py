"""The rows of `views.parquet`: what the maps of one capture in one colour view look like, in figures."""

from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.tables import read_rows
from palm_data.store.workspace import Workspace
from schemas.arrow import rows_to_table
from schemas.ids import CameraId, SubjectId

VIEWS_FILE = "views.parquet"


class ViewRow(BaseModel):
    """One capture in one colour view."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    mask_px: Annotated[int, Field(ge=0, description="Pixels of the scan mask.")]
    silhouette_iou: Annotated[
        float | None,
        Field(ge=0, le=1, description="Projected scan against the segmented image; null: no image, or hand not seen."),
    ]
    contour_offset_px: Annotated[
        float | None, Field(ge=0, description="Median distance from the projected contour to the image's edge, px.")
    ]


def write_views(path: Path, rows: tuple[ViewRow, ...]) -> None:
    """Write the rows, in the order given, with page checksums."""
    pq.write_table(rows_to_table(ViewRow, rows), path, compression="zstd", write_page_checksum=True)


def load_views(workspace: Workspace, subject_id: SubjectId) -> tuple[ViewRow, ...]:
    """The rows of a subject's scan maps, by frame and camera.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its table is damaged.
    """
    return tuple(read_rows(workspace.output("scan_maps", subject_id) / VIEWS_FILE, ViewRow))
