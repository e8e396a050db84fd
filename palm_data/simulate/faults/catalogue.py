"""Every fault there is, and which of them one person's files can have together."""

from dataclasses import dataclass

from palm_data.simulate.faults.calibrations import (
    CAMERA_FILE_MISSING,
    CAMERA_FILE_TRUNCATED,
    CAMERA_MOVED,
    POD_ON_ITS_SIDE,
)
from palm_data.simulate.faults.images import (
    IMAGE_DOUBLED,
    IMAGE_MISSING,
    IMAGE_OF_WRONG_SIZE,
    IMAGE_ON_ITS_SIDE,
    IMAGE_TRUNCATED,
    VIEW_WITHOUT_HAND,
)
from palm_data.simulate.faults.scans import (
    FRAME_DOUBLED,
    SCAN_EMPTY,
    SCAN_HALF,
    SCAN_IN_OTHER_UNIT,
    SCAN_NOT_FINITE,
    SCAN_NOT_MANIFOLD,
    SCAN_TRUNCATED,
    TEXTURE_TRUNCATED,
)
from palm_data.simulate.faults.scene import Fault
from palm_data.simulate.faults.sessions import LATIN_1_TABLE, NO_SIMPLE_GESTURE, ONE_GESTURE, SESSION_TRUNCATED

CAPTURE_LOTS: tuple[tuple[tuple[Fault, ...], ...], ...] = (
    ((IMAGE_ON_ITS_SIDE, IMAGE_MISSING), (IMAGE_TRUNCATED, IMAGE_OF_WRONG_SIZE), (VIEW_WITHOUT_HAND, IMAGE_DOUBLED)),
    ((SCAN_TRUNCATED,), (SCAN_EMPTY,), (SCAN_NOT_FINITE,), (FRAME_DOUBLED,)),
    ((SCAN_IN_OTHER_UNIT,), (SCAN_NOT_MANIFOLD,), (SCAN_HALF,), (TEXTURE_TRUNCATED,)),
)
"""Lots for one person each (more, where there are few gestures); in a lot, what one capture gets."""


@dataclass(frozen=True)
class SessionLot:
    """Faults that a whole session has together."""

    faults: tuple[Fault, ...]
    calibration: str | None
    """What the name of the person's own calibration ends in; None: the rig's."""
    captures: int
    """How many captures the person has at most."""


SESSION_LOTS: tuple[SessionLot, ...] = (
    SessionLot((ONE_GESTURE, POD_ON_ITS_SIDE, LATIN_1_TABLE), "portrait", 1),
    SessionLot((NO_SIMPLE_GESTURE, CAMERA_FILE_MISSING, CAMERA_FILE_TRUNCATED), "files", 2),
    SessionLot((CAMERA_MOVED,), "moved", 2),
    SessionLot((SESSION_TRUNCATED,), None, 1),
)

CATALOGUE: tuple[Fault, ...] = (
    *(fault for lot in CAPTURE_LOTS for faults in lot for fault in faults),
    *(fault for lot in SESSION_LOTS for fault in lot.faults),
)
