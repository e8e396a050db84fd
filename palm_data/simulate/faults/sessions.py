"""Faults of a whole session: few gestures, a damaged session file, a table in an old encoding."""

from palm_data.capture.tables import SESSION_FILE, SUBJECTS_FILE
from palm_data.simulate.faults.record import Outcome, Reason
from palm_data.simulate.faults.scene import Fault, Planted, Scene, cut_short


def _as_chosen(scene: Scene) -> Planted:
    """Nothing to change: which captures the person has is the fault."""
    del scene
    return Planted()


def _session_truncated(scene: Scene) -> Planted:
    path = scene.raw / scene.subject_id / SESSION_FILE
    cut_short(path)
    return Planted(
        (scene.name(path),),
        Reason(source=scene.name(path), field="content", expected="whole JSON", found="Invalid JSON"),
    )


def _latin_1_table(scene: Scene) -> Planted:
    """The person's row is written so when all rows are: see `plant`."""
    del scene
    return Planted((SUBJECTS_FILE,))


ONE_GESTURE = Fault(
    "one_gesture", "A person held one gesture and left.", Outcome.HANDLED, _as_chosen, of_session=True
)  # fmt: skip
NO_SIMPLE_GESTURE = Fault(
    "no_simple_gesture", "A person held no gesture that shows the hand's shape plainly.", Outcome.HANDLED, _as_chosen,
    of_session=True,
)  # fmt: skip
SESSION_TRUNCATED = Fault(
    "session_truncated", "A session file was cut short.", Outcome.SUBJECT_SET_ASIDE, _session_truncated,
    of_session=True,
)  # fmt: skip
LATIN_1_TABLE = Fault(
    "latin_1_table", "The table of subjects is Latin-1, with a no-break space in a cell.", Outcome.HANDLED,
    _latin_1_table, of_session=True,
)  # fmt: skip
