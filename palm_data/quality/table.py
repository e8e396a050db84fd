"""The table that the stage `quality` leaves: one row for each capture."""

from palm_data.store.tables import read_rows
from palm_data.store.workspace import Workspace
from schemas.ids import SubjectId
from schemas.quality import QualityRow

QUALITY = "quality"
QUALITY_FILE = "quality.parquet"


def load_quality(workspace: Workspace, subject_id: SubjectId) -> list[QualityRow]:
    """The quality of each of the subject's captures, by frame.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its table is damaged.
    """
    return read_rows(workspace.output(QUALITY, subject_id) / QUALITY_FILE, QualityRow)
