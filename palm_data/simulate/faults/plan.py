"""Which people are added to a session, whose captures they are copies of, and which fault goes where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from palm_data.calibration.cameras import calibration_folder
from palm_data.capture.layout import CaptureFiles, find_files
from palm_data.capture.tables import read_gestures, read_session
from palm_data.capture.tka import read_tka
from palm_data.simulate.faults.calibrations import POD_ON_ITS_SIDE
from palm_data.simulate.faults.catalogue import CAPTURE_LOTS, SESSION_LOTS, SessionLot
from palm_data.simulate.faults.record import CopiedCapture, FaultyPerson
from palm_data.simulate.faults.scene import Fault
from palm_data.simulate.faults.sessions import NO_SIMPLE_GESTURE
from palm_data.simulate.seeds import Stream, generator
from schemas.ids import SubjectId, is_colour_camera, raw_from_camera_id


@dataclass(frozen=True)
class PlannedFault:
    """A fault, the capture that gets it (any, for a whole session's) and the camera that is its victim."""

    fault: Fault
    capture: CopiedCapture
    camera: str


@dataclass(frozen=True)
class PlannedPerson:
    """Somebody to add, and what is wrong with their files."""

    person: FaultyPerson
    faults: tuple[PlannedFault, ...]


@dataclass(frozen=True)
class Plan:
    """All that is to be planted in a session."""

    people: tuple[PlannedPerson, ...]
    left_out: dict[str, str]


def plan_faults(raw: Path, originals: Sequence[SubjectId], seed: int) -> Plan:
    """Spread the catalogue over copies of the people of a session; the same session and seed give the same plan.

    Args:
        originals: the session's own people, sorted; new ids follow the last one's.
    """
    return _Planner(raw, originals, seed).plan()


class _Planner:
    """The steps of planning; they share the session's people and the order in which they are copied."""

    def __init__(self, raw: Path, originals: Sequence[SubjectId], seed: int) -> None:
        self._raw, self._seed = raw, seed
        self._rng = generator(seed, Stream.FAULTS)
        self._captures = {subject_id: find_files(raw, subject_id).captures for subject_id in originals}
        self._order = [originals[row] for row in self._rng.permutation(len(originals))]
        self._next = int(originals[-1])
        self._turn = 0
        self._left_out: dict[str, str] = {}

    def plan(self) -> Plan:
        people = [person for lot in CAPTURE_LOTS for person in self._people_of(lot)]
        people += [self._person_of(lot) for lot in SESSION_LOTS]
        return Plan(tuple(people), self._left_out)

    def _people_of(self, lot: Sequence[tuple[Fault, ...]]) -> Iterator[PlannedPerson]:
        """As many people as the lot needs; each keeps a faultless capture where they have more than one."""
        waiting = list(lot)
        while waiting:
            source = self._next_source()
            available = self._captures[source]
            groups = waiting[: max(len(available) - 1, 1)]
            waiting = waiting[len(groups) :]
            chosen = self._some(available, len(groups) + 1)
            person = self._person(source, chosen, calibration=None)
            faults = [
                planned
                for capture, group in zip(chosen, groups, strict=False)
                for planned in self._with_cameras(capture, group)
            ]
            yield PlannedPerson(person, tuple(faults))

    def _person_of(self, lot: SessionLot) -> PlannedPerson:
        source = self._next_source(lossless=POD_ON_ITS_SIDE in lot.faults)
        available, faults = self._captures[source], list(lot.faults)
        if NO_SIMPLE_GESTURE in faults:
            gestures = read_gestures(self._raw)
            unplain = tuple(item for item in available if not gestures.row(item.gesture).simple)
            if unplain:
                available = unplain
            else:
                faults.remove(NO_SIMPLE_GESTURE)
                self._left_out[NO_SIMPLE_GESTURE.name] = "every gesture of the session is simple"
        chosen = self._some(available, lot.captures)
        person = self._person(source, chosen, calibration=lot.calibration)
        return PlannedPerson(person, tuple(self._with_cameras(chosen[0], faults)))

    def _next_source(self, *, lossless: bool = False) -> SubjectId:
        """Whom to copy next; with images that editing does not change, if that is asked and there is anybody."""
        candidates = [*self._order[self._turn :], *self._order[: self._turn]]
        self._turn = (self._turn + 1) % len(self._order)
        if lossless:
            return next((name for name in candidates if self._all_png(name)), candidates[0])
        return candidates[0]

    def _all_png(self, subject_id: SubjectId) -> bool:
        paths = (path for item in self._captures[subject_id] for group in item.images.values() for path in group)
        return all(path.suffix.lower() == ".png" for path in paths)

    def _some(self, available: Sequence[CaptureFiles], count: int) -> list[CaptureFiles]:
        """Up to so many of the captures, in an order of chance."""
        return [available[row] for row in self._rng.permutation(len(available))[:count]]

    def _person(self, source: SubjectId, chosen: Sequence[CaptureFiles], *, calibration: str | None) -> FaultyPerson:
        self._next += 1
        rig = read_session(self._raw, source).calibration_id
        captures = sorted((item.gesture, item.raw_frame) for item in chosen)
        return FaultyPerson(
            subject_id=f"{self._next:04d}",
            copy_of=source,
            calibration_id=rig if calibration is None else f"{rig}_{calibration}",
            captures=tuple(CopiedCapture(gesture=gesture, raw_frame=frame) for gesture, frame in captures),
        )

    def _with_cameras(self, capture: CaptureFiles, faults: Sequence[Fault]) -> list[PlannedFault]:
        """Every fault of the capture, each with a colour camera of its own."""
        names = [raw_from_camera_id(name) for name in sorted(capture.images) if is_colour_camera(name)]
        free = [names[row] for row in self._rng.permutation(len(names))]
        if POD_ON_ITS_SIDE in faults:
            free = [name for name in free if self._is_landscape(capture, name)] or free
        at = CopiedCapture(gesture=capture.gesture, raw_frame=capture.raw_frame)
        return [PlannedFault(fault, at, free[row % len(free)]) for row, fault in enumerate(faults)]

    def _is_landscape(self, capture: CaptureFiles, raw_name: str) -> bool:
        subject_id = next(iter(capture.images.values()))[0].parent.parent.name
        folder = calibration_folder(self._raw, read_session(self._raw, subject_id).calibration_id)
        width, height = read_tka(folder / f"{raw_name}.tka").image_size_px
        return width > height
