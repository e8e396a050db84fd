"""The fitted hands of a subject, as the stage `hand_pose` leaves them."""

from pydantic import ValidationError

from palm_data.store.tables import read_rows
from palm_data.store.workspace import Workspace
from schemas.errors import IntegrityError
from schemas.hand import HandConvention, HandRow
from schemas.ids import SubjectId

HAND_POSE = "hand_pose"
HANDS_FILE = "hands.parquet"
CONVENTION_FILE = "convention.json"


def load_hands(workspace: Workspace, subject_id: SubjectId) -> list[HandRow]:
    """The subject's fitted hands by frame; a capture whose hand could not be fitted has none.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its table is damaged.
    """
    return read_rows(workspace.output(HAND_POSE, subject_id) / HANDS_FILE, HandRow)


def load_convention(workspace: Workspace, subject_id: SubjectId) -> HandConvention:
    """How the numbers of the subject's hands are to be read.

    Raises:
        StoreError: if the stage has not finished for this subject.
        IntegrityError: if its file is damaged.
    """
    path = workspace.output(HAND_POSE, subject_id) / CONVENTION_FILE
    try:
        return HandConvention.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a hand convention, found {error}. Run the stage again.") from error
