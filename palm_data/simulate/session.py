"""A whole simulated session: what the rig would have written to `raw/`, and what nobody could know in `truth/`.

Finished pieces are kept, so an interrupted simulation goes on where it was. Two sessions with equal options are
equal byte for byte, however many processes made them.
"""

import csv
import io
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.tka import format_tka
from palm_data.simulate.annotations import WrongLabel, with_wrong_labels, write_coco
from palm_data.simulate.faults.plant import plant_faults
from palm_data.simulate.faults.record import read_faults
from palm_data.simulate.gestures import GESTURES
from palm_data.simulate.options import SimulateOptions, claim_folder
from palm_data.simulate.pieces import (
    environment_done,
    make_environment,
    make_person,
    make_plates,
    measure_path_seconds,
    person_done,
    photograph_nobody,
    plates_done,
)
from palm_data.simulate.rig import CALIBRATION_ID, F_NUMBER, PODS, RIG_SERIAL, make_rig
from palm_data.simulate.seeds import Stream, generator
from palm_data.simulate.shoot import Shot, is_shot, plate_spp, shoot
from palm_data.simulate.subject import make_subject
from palm_data.simulate.summary import session_truth
from palm_data.simulate.truth import CamerasTruth, Labels
from palm_data.simulate.workers import run_all, threads_of, worker_pool
from palm_data.store.atomic import write_bytes
from schemas.capture import Session, Subject
from schemas.errors import SettingsError

SUMMARY = "truth/truth.json"
_FIRST_VISIT = datetime(2026, 1, 12, 9, 0, tzinfo=UTC)
_FULL_PIXELS = 2448 * 2048
_HAND_SHARE = 0.15
"""Of a frame, traced for a hand and its edge."""
_CAPTURE_SECONDS, _PERSON_SECONDS, _START_SECONDS = 4.0, 10.0, 15.0
"""CPU time beside the light paths: posing, scan, files; skin and best fit; starting."""


@dataclass(frozen=True)
class Estimate:
    """What a simulation will take, from a short rendering on this machine."""

    captures: int
    cpu_minutes: float
    wall_minutes: float


Progress = Callable[[str, int, int], None]
"""Told what was finished, how many pieces are done, and how many there are."""
Announce = Callable[[Estimate], None]


def simulate_session(
    out: Path,
    options: SimulateOptions,
    *,
    jobs: int = 2,
    progress: Progress = lambda *_: None,
    announce: Announce = lambda _: None,
) -> Path:
    """Make the session, or what is missing of it.

    Args:
        announce: told the estimate before the work begins; not called when nothing is left to do.

    Returns:
        The file with the truth's figures, `truth/truth.json`.

    Raises:
        SettingsError: if the folder holds another session, more gestures are asked for than there are, or Mitsuba is
            missing.
    """
    if options.gestures > len(GESTURES):
        raise SettingsError(f"--gestures: expected at most {len(GESTURES)}, found {options.gestures}.")
    claim_folder(out, options)
    shots = session_shots(options)
    shared, later = _missing(out, options, shots, threads_of(jobs))
    if shared or later:
        with worker_pool(jobs) as pool:
            waiting = sum(not is_shot(out, shot) for shot in shots)
            announce(pool.submit(_estimate, options, jobs, len(shared), waiting).result())
            total, done = len(shared) + len(later), 0
            for tasks in (shared, later):
                for label in run_all(pool, tasks):
                    done += 1
                    progress(label, done, total)
    _write_calibration(out, options)
    known = read_faults(out / "truth")
    _write_tables(out / "raw", options, people_too=known is None)
    labels, wrong = _write_annotations(out, options, shots)
    if options.faults and not (known and known.planted):
        # Until all are planted, nothing says that the session is finished.
        (out / SUMMARY).unlink(missing_ok=True)
        _plant(out, options, jobs)
    truth = session_truth(out / "truth", options, labels=labels, wrong=wrong)
    write_bytes(out / SUMMARY, truth.model_dump_json(indent=1).encode() + b"\n")
    shutil.rmtree(out / "partial", ignore_errors=True)
    return out / SUMMARY


def _plant(out: Path, options: SimulateOptions, jobs: int) -> None:
    """Add the faulty people."""

    def empty_view(raw_name: str, image: UInt8[ndarray, "h w ..."]) -> UInt8[ndarray, "h w ..."]:
        del image
        with worker_pool(1) as pool:
            return pool.submit(photograph_nobody, options, raw_name, threads_of(jobs)).result()

    plant_faults(out, seed=options.seed, empty_view=empty_view)


def session_shots(options: SimulateOptions) -> list[Shot]:
    """The captures of a session, person by person."""
    return [
        Shot(subject=subject, gesture=gesture)
        for subject in range(1, options.subjects + 1)
        for gesture in range(options.gestures)
    ]


Task = tuple[str, Callable[..., None], tuple[object, ...]]


def _missing(out: Path, options: SimulateOptions, shots: Sequence[Shot], threads: int) -> tuple[list[Task], list[Task]]:
    """What is still to be made: what captures share first, then captures and people."""
    waiting = [shot for shot in shots if not is_shot(out, shot)]
    shared: list[Task] = [
        (f"pod {pod}", make_plates, (out, options, pod, threads))
        for pod in range(1, PODS + 1)
        if not plates_done(out, options, pod, needed=bool(waiting))
    ]
    if not environment_done(out):
        shared.append(("environment", make_environment, (out, options, threads)))
    later: list[Task] = [(shot.folder, shoot, (out, shot, options, threads)) for shot in waiting]
    for number in range(1, options.subjects + 1):
        if not person_done(out, number):
            later.append((f"{number:04d}", make_person, (out, options, number)))
    return shared, later


def _estimate(options: SimulateOptions, jobs: int, shared: int, captures: int) -> Estimate:
    """CPU time from a short rendering here; the workers share what cores there are."""
    pixels = _FULL_PIXELS * options.scale**2
    hand_paths = pixels * _HAND_SHARE * (7 * options.rgb_spp + (14 * options.mono_spp if options.mono else 0))
    start = time.process_time()
    path_seconds = measure_path_seconds(options, threads_of(jobs))
    measuring = time.process_time() - start
    # A path into the empty studio ends at its first or second turn: a third of the price.
    shared_seconds = shared * 3 * pixels * plate_spp(options) * path_seconds / 3
    people = options.subjects * _PERSON_SECONDS
    seconds = shared_seconds + people + captures * (_CAPTURE_SECONDS + hand_paths * path_seconds)
    seconds += _START_SECONDS * jobs + measuring
    return Estimate(captures, seconds / 60.0, seconds / 60.0 / min(jobs * threads_of(jobs), max(captures, 1)))


def _write_calibration(out: Path, options: SimulateOptions) -> None:
    rig = make_rig(options.seed, options.scale)
    folder = out / "raw" / "calibrations" / CALIBRATION_ID
    for camera in rig.calibrated:
        write_bytes(folder / f"{camera.raw_name}.tka", format_tka(camera).encode("ascii"))
    clean = CamerasTruth(calibration_id=CALIBRATION_ID, cameras=rig.cameras, f_number=F_NUMBER)
    write_bytes(out / "truth" / "cameras.json", clean.model_dump_json(indent=1).encode() + b"\n")


def _write_tables(raw: Path, options: SimulateOptions, *, people_too: bool) -> None:
    """Gestures, sessions, and subjects unless others were added to them."""
    people = [make_subject(options.seed, number).row for number in range(1, options.subjects + 1)]
    rows = [list(person.model_dump(mode="json").values()) for person in people]
    if people_too:
        _write_csv(raw / "subjects.csv", list(Subject.model_fields), rows)
    gestures = [spec.gesture for spec in GESTURES[: options.gestures]]
    described = [[gesture.gesture, gesture.description, str(gesture.simple).lower()] for gesture in gestures]
    _write_csv(raw / "gestures.csv", ["gesture", "description", "simple"], described)
    for number, person in enumerate(people, 1):
        minutes = int(generator(options.seed, Stream.SESSION, number).integers(25))
        session = Session(
            calibration_id=CALIBRATION_ID,
            captured_at=_FIRST_VISIT + timedelta(days=(number - 1) // 8, minutes=55 * ((number - 1) % 8) + minutes),
            rig_serial=RIG_SERIAL,
        )
        write_bytes(raw / person.subject_id / "session.json", session.model_dump_json(indent=1).encode() + b"\n")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, buffer.getvalue().encode())


def _write_annotations(out: Path, options: SimulateOptions, shots: Sequence[Shot]) -> tuple[int, list[WrongLabel]]:
    """Gather the captures' labels into the session's COCO files, some of them made wrong.

    Returns:
        How many labels there are, and which are wrong.
    """
    kept = [
        Labels.model_validate(json.loads((out / "truth" / shot.folder / "labels.json").read_bytes())) for shot in shots
    ]
    colour = [label for labels in kept for label in labels.colour]
    mono = [label for labels in kept for label in labels.mono]
    labels, wrong = with_wrong_labels([*colour, *mono], options.seed)
    folder = out / "raw" / "annotations"
    write_coco(folder / "colour.json", labels[: len(colour)], "Hand keypoints marked by people, colour cameras")
    if options.mono:
        write_coco(folder / "mono.json", labels[len(colour) :], "Hand keypoints marked by people, mono cameras")
    return len(labels), wrong
