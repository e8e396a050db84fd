"""Planting adds people and changes nobody's files; it is deterministic, and no moment of it looks finished."""

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm_data.capture.layout import find_files
from palm_data.capture.tables import read_session, read_subjects
from palm_data.simulate.faults.catalogue import CATALOGUE
from palm_data.simulate.faults.plan import plan_faults
from palm_data.simulate.faults.record import FAULTS_FILE, FaultsTruth, read_faults, write_faults
from palm_data.testing.apart import moments, run_apart
from schemas.errors import BadInputError, SettingsError
from tests.palm_data.simulate.faults.sessions import copied, digests, paint_session, plant

NAMES = [fault.name for fault in CATALOGUE]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_session(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def faulty(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = copied(clean, tmp_path_factory.mktemp("faulty"))
    plant(out)
    return out


@pytest.fixture(scope="module")
def faults(faulty: Path) -> FaultsTruth:
    found = read_faults(faulty / "truth")
    assert found is not None
    return found


def test_every_fault_of_the_catalogue_is_planted_once_and_recorded(faults: FaultsTruth) -> None:
    assert faults.planted
    assert sorted(item.fault for item in faults.faults) == sorted(NAMES)
    assert faults.left_out == {}


def test_the_session_s_own_files_stay_as_they_are(clean: Path, faulty: Path) -> None:
    before, after = digests(clean / "raw"), digests(faulty / "raw")
    assert {name for name, digest in before.items() if after[name] != digest} == {"subjects.csv"}
    rows, now = read_subjects(clean / "raw").rows, read_subjects(faulty / "raw").rows
    assert {name: now[name] for name in rows} == rows


def test_a_person_s_files_are_copies_but_for_what_is_recorded(faulty: Path, faults: FaultsTruth) -> None:
    raw = faulty / "raw"
    for person in faults.people:
        recorded = {name for fault in faults.of_subject(person.subject_id) for name in fault.files}
        recorded |= {f"{person.subject_id}/session.json"} if person.calibration_id.count("_") > 1 else set()
        theirs, source = digests(raw / person.subject_id), digests(raw / person.copy_of)
        expected = {"session.json"} | {
            f"{item.gesture}/{path.name}"
            for item in person.captures
            for path in (raw / person.copy_of / item.gesture).glob(f"{item.gesture}.{item.raw_frame:06d}*")
        }
        differing = {f"{person.subject_id}/{name}" for name in theirs if theirs[name] != source.get(name)}
        missing = {f"{person.subject_id}/{name}" for name in expected - theirs.keys()}
        inside = {name for name in recorded if name.startswith(person.subject_id)}
        assert differing | missing == inside


def test_calibrations_are_copies_but_for_what_is_recorded(faulty: Path, faults: FaultsTruth) -> None:
    folder = faulty / "raw" / "calibrations"
    recorded = {name for fault in faults.faults for name in fault.files if name.startswith("calibrations/")}
    rig = digests(folder / "rig_a")
    differing = set()
    for copy in sorted(folder.glob("rig_a_*")):
        theirs = digests(copy)
        differing |= {f"calibrations/{copy.name}/{name}" for name in rig if theirs.get(name) != rig[name]}
    assert differing == recorded


def test_somebody_and_something_stays_untouched(faults: FaultsTruth) -> None:
    assert sum(len(faults.untouched(person)) for person in faults.people) >= 3
    for person in faults.people:
        touched = {(item.gesture, item.raw_frame) for item in faults.of_subject(person.subject_id)}
        assert not touched & {(item.gesture, item.raw_frame) for item in faults.untouched(person)}


def test_the_table_of_subjects_is_latin_1_and_reads(faulty: Path, faults: FaultsTruth) -> None:
    path = faulty / "raw" / "subjects.csv"
    with pytest.raises(UnicodeDecodeError):
        path.read_text(encoding="utf-8")
    table = read_subjects(faulty / "raw")
    assert not table.problems
    assert sorted(table.rows) == ["0001", "0002", *(person.subject_id for person in faults.people)]
    for person in faults.people:
        row, source = table.row(person.subject_id), table.row(person.copy_of)
        assert row.model_copy(update={"subject_id": source.subject_id}) == source


def test_the_same_seed_plants_the_same_bytes_and_another_one_others(clean: Path, faulty: Path, tmp_path: Path) -> None:
    again = copied(clean, tmp_path / "again")
    plant(again)
    assert digests(again) == digests(faulty)
    other = copied(clean, tmp_path / "other")
    plant(other, seed=4)
    assert digests(other) != digests(faulty)


def test_planting_again_does_nothing(clean: Path, tmp_path: Path) -> None:
    out = copied(clean, tmp_path / "out")
    first = plant(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert plant(out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_killed_at_any_moment_it_is_not_finished_and_the_next_run_finishes_it(
    clean: Path, faulty: Path, tmp_path: Path
) -> None:
    code, changes = run_apart(plant, copied(clean, tmp_path / "whole"))
    assert code == 0
    wanted = digests(faulty)
    for moment in [*moments(changes, 3)[:-1], *range(changes - 22, changes, 3)]:
        out = copied(clean, tmp_path / f"at_{moment}")
        code, _ = run_apart(plant, out, at=moment)
        assert code != 0
        known = read_faults(out / "truth")
        if known is not None and known.planted:
            now = digests(out)
            assert {name: now[name] for name in wanted} == wanted  # what is left is to clear up
        named = {row[0] for row in csv.reader((out / "raw" / "subjects.csv").read_text("latin-1").splitlines()[1:])}
        if named != {"0001", "0002"}:  # then everybody's files are in their place
            assert known is not None
            for person in known.people:
                assert find_files(out / "raw", person.subject_id).captures
                assert (out / "raw" / "calibrations" / person.calibration_id).is_dir()
        plant(out)
        assert {name: one for name, one in digests(out).items() if not name.startswith("partial/")} == wanted


def test_people_whom_nobody_recorded_are_left_alone(clean: Path, tmp_path: Path) -> None:
    out = copied(clean, tmp_path / "out")
    (out / "raw" / "0007").mkdir()
    with pytest.raises(SettingsError, match="found 0007 too"):
        plant(out)
    assert read_faults(out / "truth") is None


def test_a_damaged_record_is_named(clean: Path, faults: FaultsTruth, tmp_path: Path) -> None:
    out = copied(clean, tmp_path / "out")
    write_faults(out / "truth", faults)
    path = out / "truth" / FAULTS_FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInputError, match=r"faults\.json: content: expected the record of planted faults"):
        plant(out)


def test_what_a_session_has_no_room_for_is_said(tmp_path: Path) -> None:
    faults = plant(paint_session(tmp_path, gestures=1))
    assert list(faults.left_out) == ["no_simple_gesture"]
    assert sorted([*(item.fault for item in faults.faults), *faults.left_out]) == sorted(NAMES)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(seed=st.integers(0, 2**31 - 1))
def test_whatever_the_seed_the_plan_is_whole_and_possible(clean: Path, seed: int) -> None:
    raw = clean / "raw"
    plan = plan_faults(raw, ["0001", "0002"], seed)
    assert plan == plan_faults(raw, ["0001", "0002"], seed)
    assert sorted(item.fault.name for person in plan.people for item in person.faults) == sorted(NAMES)
    ids = [person.person.subject_id for person in plan.people]
    assert ids == [f"{number:04d}" for number in range(3, 3 + len(ids))]
    for planned in plan.people:
        person = planned.person
        theirs = {(item.gesture, item.raw_frame) for item in find_files(raw, person.copy_of).captures}
        have = {(item.gesture, item.raw_frame) for item in person.captures}
        assert have <= theirs
        assert len(have) == len(person.captures)
        assert person.calibration_id.startswith(read_session(raw, person.copy_of).calibration_id)
        by_capture: dict[tuple[str, int], list[str]] = {}
        for item in planned.faults:
            place = (item.capture.gesture, item.capture.raw_frame)
            assert place in have
            if item.fault.has_camera:
                by_capture.setdefault(place, []).append(item.camera)
        for cameras in by_capture.values():
            assert len(set(cameras)) == len(cameras) <= 2  # at least five of seven colour images stay
