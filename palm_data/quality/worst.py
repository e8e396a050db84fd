"""The worst captures of many subjects on one sheet: what to look at before a release."""

from collections.abc import Sequence

from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.index import load_index
from palm_data.quality.picture import SHOWN, sheet, worst_first
from palm_data.quality.table import QUALITY, load_quality
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, Consent
from schemas.ids import SubjectId
from schemas.quality import QualityRow
from schemas.settings import Settings


def worst_sheet(
    workspace: Workspace, subject_ids: Sequence[SubjectId], settings: Settings, *, count: int = SHOWN
) -> UInt8[ndarray, "height width 3"] | None:
    """The captures with the lowest scores of all these subjects, worst first; None if none has been scored.

    Subjects without a finished `quality`, and people who withdrew, are left out.

    Raises:
        BadInputError: if a raw file is not the one that was ingested.
        IntegrityError: if a finished stage's output is damaged.
    """
    indexes: dict[SubjectId, CaptureIndex] = {}
    rows: list[QualityRow] = []
    for subject_id in sorted(set(subject_ids)):
        if workspace.record(QUALITY, subject_id) is None:
            continue
        index = load_index(workspace, subject_id)
        if index.subject.consent is Consent.GRANTED:
            indexes[subject_id] = index
            rows += load_quality(workspace, subject_id)
    worst = worst_first(rows)[:count]
    if not worst:
        return None
    return sheet([(indexes[row.subject_id], row) for row in worst], workspace, settings)
