"""Planting: the faulty people are built aside, recorded in truth, and only then moved into the raw folder.

Nothing that the session had is changed but `subjects.csv`, which gains their rows, last: until then nobody knows
them. Interrupted at any moment, planting again finishes it; done, it does nothing.
"""

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from palm_data.calibration.cameras import calibration_folder
from palm_data.capture.layout import raw_subjects
from palm_data.capture.tables import SESSION_FILE, SUBJECTS_FILE, read_session, read_subjects
from palm_data.simulate.faults.plan import Plan, PlannedPerson, plan_faults
from palm_data.simulate.faults.record import (
    FAULTS_FILE,
    FaultsTruth,
    FaultyPerson,
    PlantedFault,
    read_faults,
    write_faults,
)
from palm_data.simulate.faults.scene import EmptyView, Scene
from palm_data.simulate.faults.sessions import LATIN_1_TABLE
from palm_data.store.atomic import flush_directory, flush_tree, write_bytes
from schemas.errors import SettingsError

NO_BREAK_SPACE = "\u00a0"


def plant_faults(out: Path, *, seed: int, empty_view: EmptyView) -> FaultsTruth:
    """Add the faulty people to the finished session in a folder, unless they are there already.

    Args:
        out: the folder with `raw` and `truth`.
        empty_view: gives an image of a camera with nobody in it.

    Raises:
        SettingsError: if the raw folder holds people whom nobody recorded.
        BadInputError: if the record of planted faults is damaged.
    """
    raw, truth, aside = out / "raw", out / "truth", out / "partial" / "faults"
    known = read_faults(truth)
    if known is not None and known.planted:
        return known
    _sweep(raw / SUBJECTS_FILE, truth / FAULTS_FILE)
    ours = {person.subject_id for person in known.people} if known else set()
    originals = sorted(set(read_subjects(raw).rows) - ours)
    strangers = sorted(set(raw_subjects(raw)) - ours - set(originals))
    if strangers:
        raise SettingsError(
            f"{raw}: expected the simulated people {originals[0]} to {originals[-1]}, found {', '.join(strangers)} too. "
            "Move them away, or simulate in another folder."
        )
    plan = plan_faults(raw, originals, seed)
    shutil.rmtree(aside, ignore_errors=True)
    faults = _build(plan, raw, aside, empty_view)
    people = tuple(planned.person for planned in plan.people)
    record = FaultsTruth(planted=False, people=people, faults=faults, left_out=plan.left_out)
    flush_tree(aside)
    write_faults(truth, record)
    for moved in sorted((*aside.glob("calibrations/*"), *aside.glob("[0-9]*"))):
        _move(moved, raw / moved.relative_to(aside))
    _write_subjects(raw, record)
    done = record.model_copy(update={"planted": True})
    write_faults(truth, done)
    shutil.rmtree(aside)
    return done


def _sweep(*paths: Path) -> None:
    """Remove what a planting that was killed while it wrote these files left beside them."""
    for path in paths:
        for partial in path.parent.glob(f".{path.name}.*.partial"):
            partial.unlink()


def _move(folder: Path, final: Path) -> None:
    """Put a folder into its place; one that an interrupted planting left there is the same."""
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    flush_directory(final.parent)


def _build(plan: Plan, raw: Path, aside: Path, empty_view: EmptyView) -> tuple[PlantedFault, ...]:
    """The faulty people's files, in a raw root of their own; what is wrong with them."""
    planted: list[PlantedFault] = []
    for person in plan.people:
        _copy(person.person, raw, aside)
        planted += [item.fault.planted_in(_scene(aside, person, number, empty_view))
                    for number, item in enumerate(person.faults)]  # fmt: skip
    return tuple(planted)


def _scene(aside: Path, person: PlannedPerson, number: int, empty_view: EmptyView) -> Scene:
    fault = person.faults[number]
    return Scene(
        raw=aside,
        subject_id=person.person.subject_id,
        calibration_id=person.person.calibration_id,
        capture=fault.capture,
        camera=fault.camera,
        empty_view=empty_view,
    )


def _copy(person: FaultyPerson, raw: Path, aside: Path) -> None:
    """A person's captures and session under the new id, and the calibration if they have one of their own."""
    source, copy = raw / person.copy_of, aside / person.subject_id
    for capture in person.captures:
        folder = copy / capture.gesture
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((source / capture.gesture).glob(f"{capture.gesture}.{capture.raw_frame:06d}*")):
            shutil.copyfile(path, folder / path.name)
    session = read_session(raw, person.copy_of)
    if session.calibration_id == person.calibration_id:
        shutil.copyfile(source / SESSION_FILE, copy / SESSION_FILE)
        return
    own = session.model_copy(update={"calibration_id": person.calibration_id})
    (copy / SESSION_FILE).write_text(own.model_dump_json(indent=1) + "\n", encoding="utf-8")
    folder = calibration_folder(raw, session.calibration_id)
    shutil.copytree(folder, calibration_folder(aside, person.calibration_id), copy_function=shutil.copyfile)


def _write_subjects(raw: Path, record: FaultsTruth) -> None:
    """The table of subjects with a row for each new person, as an old rig's software would have written it."""
    path = raw / SUBJECTS_FILE
    ours = {person.subject_id for person in record.people}
    content = path.read_bytes()
    header, *rows = csv.reader(io.StringIO(content.decode("latin-1"), newline=""))
    rows = [row for row in rows if row[0] not in ours]
    by_id = {row[0]: row for row in rows}
    spaced = {fault.subject_id for fault in record.faults if fault.fault == LATIN_1_TABLE.name}
    for person in record.people:
        row = [person.subject_id, *by_id[person.copy_of][1:]]
        rows.append(_spaced(row) if person.subject_id in spaced else row)
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    write_bytes(path, buffer.getvalue().encode("latin-1"))


def _spaced(row: Sequence[str]) -> list[str]:
    """The row with a no-break space at the end of its last cell: one byte in Latin-1, and no UTF-8."""
    return [*row[:-1], f"{row[-1]}{NO_BREAK_SPACE}"]
