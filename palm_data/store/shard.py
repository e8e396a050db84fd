"""The `subject_shard` stage: everything released about a subject, in one Zarr group and three tables."""

from palm_data.store.workspace import StageReport, Workspace
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "subject_shard"


def build_subject_shard(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Undistort the subject's images and put them beside the maps and scans, unless that is done already."""
    raise NotImplementedError
