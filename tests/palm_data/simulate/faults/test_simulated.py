"""A simulated session with and without faults: the faults come out as recorded, everything else comes out the same."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

import palm_data
from palm_data.capture.index import load_index
from palm_data.evaluate.capture import evaluate_capture
from palm_data.evaluate.faults import evaluate_faults
from palm_data.simulate.faults.catalogue import CATALOGUE
from palm_data.simulate.faults.record import FaultsTruth, Outcome, PlantedFault, read_faults
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.session import simulate_session
from palm_data.store.arrays import open_array, open_group
from palm_data.store.manifest import read_manifest
from palm_data.store.release import publish_release
from palm_data.store.shard import SHARD, build_subject_shard
from palm_data.store.tables import read_rows
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from schemas.release import ImageRow
from tests.palm_data.simulate.faults.sessions import digests, run_stages, settings_of

OPTIONS = SimulateOptions(subjects=2, gestures=3, scale=0.125, seed=7, rgb_spp=6, mono_spp=1, mono=False)
STAGES = ("capture_index", "scan_maps", "subject_shard")
ARRAYS = ("rgb", "mask", "depth", "normal")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("faults")]


@dataclass(frozen=True)
class Run:
    """A session, and what the stages up to the shards made of it."""

    out: Path
    workspace: Workspace
    refused: dict[str, str]

    def rows(self, subject_id: str, gesture: str, raw_frame: int) -> dict[str, ndarray]:
        """A capture's arrays, as its shard holds them."""
        captures = load_index(self.workspace, subject_id).captures
        (row,) = (n for n, item in enumerate(captures) if (item.gesture, item.raw_frame) == (gesture, raw_frame))
        group = open_group(self.workspace.output("subject_shard", subject_id) / SHARD)
        return {name: np.asarray(open_array(group, f"{name}/full")[row]) for name in ARRAYS}


def taken_through(out: Path) -> Run:
    workspace, refused = run_stages(out)
    for subject_id in workspace.keys("scan_maps"):
        build_subject_shard(subject_id, workspace, settings_of(out))
    return Run(out, workspace, refused)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("clean")
    simulate_session(out, OPTIONS, jobs=1)
    return taken_through(out)


@pytest.fixture(scope="module")
def faulty(clean: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same session, faults added once it was finished; nothing is rendered anew but the empty studio."""
    out = tmp_path_factory.mktemp("faulty")
    for name in ("raw", "truth"):
        shutil.copytree(clean.out / name, out / name, copy_function=os.link)
    simulate_session(out, OPTIONS.model_copy(update={"faults": True}), jobs=1)
    return taken_through(out)


@pytest.fixture(scope="module")
def faults(faulty: Run) -> FaultsTruth:
    found = read_faults(faulty.out / "truth")
    assert found is not None
    return found


def test_every_fault_is_handled_or_set_aside_with_file_expected_and_found(faulty: Run, faults: FaultsTruth) -> None:
    assert sorted(item.fault for item in faults.faults) == sorted(fault.name for fault in CATALOGUE)
    verdicts = evaluate_faults(faulty.out / "truth", faulty.workspace, settings_of(faulty.out))
    assert [f"{item.planted.fault}: {item.found}" for item in verdicts if not item.passed] == []
    for item in verdicts:
        if item.planted.reason is not None:
            assert item.planted.reason.source.rsplit("/", 1)[-1] in item.found
            assert "expected" in item.found
            assert "found" in item.found


def test_only_people_with_a_damaged_session_are_refused(faulty: Run, faults: FaultsTruth) -> None:
    out = {item.subject_id for item in faults.faults if item.outcome is Outcome.SUBJECT_SET_ASIDE}
    assert set(faulty.refused) == out
    shards = {"0001", "0002", *(item.subject_id for item in faults.people)} - out
    assert set(faulty.workspace.keys("subject_shard")) == shards


def test_people_without_faults_come_out_byte_for_byte_as_without_any(clean: Run, faulty: Run) -> None:
    before, after = digests(clean.out / "raw"), digests(faulty.out / "raw")
    assert [name for name in before if after[name] != before[name]] == ["subjects.csv"]
    for subject_id in ("0001", "0002"):
        for stage in STAGES:
            expected = clean.workspace.require(stage, subject_id).outputs
            assert faulty.workspace.require(stage, subject_id).outputs == expected
    without = evaluate_capture(clean.out / "truth", clean.out / "raw")
    assert evaluate_capture(faulty.out / "truth", faulty.out / "raw") == without


def test_untouched_captures_of_people_with_faults_are_those_they_were_copied_from(
    faulty: Run, faults: FaultsTruth
) -> None:
    compared = 0
    for person in faults.people:
        for item in faults.untouched(person):
            copy = faulty.rows(person.subject_id, item.gesture, item.raw_frame)
            original = faulty.rows(person.copy_of, item.gesture, item.raw_frame)
            for name in ARRAYS:
                assert np.array_equal(copy[name], original[name]), (person.subject_id, item, name)
            compared += 1
    assert compared >= 3


def test_an_image_s_fault_costs_that_image_and_no_other(faulty: Run, faults: FaultsTruth) -> None:
    people = {person.subject_id: person for person in faults.people}
    of_images = [item for item in faults.faults if item.camera and item.gesture]
    assert len(of_images) == 6
    for fault in of_images:
        person = people[fault.subject_id]
        together = {item.camera for item in of_images if _place(item) == _place(fault)}
        assert fault.gesture is not None
        assert fault.raw_frame is not None
        copy = faulty.rows(person.subject_id, fault.gesture, fault.raw_frame)
        original = faulty.rows(person.copy_of, fault.gesture, fault.raw_frame)
        cameras = [row.camera_id for row in _image_rows(faulty, person.subject_id)][:7]
        for view, camera_id in enumerate(cameras):
            same = np.array_equal(copy["rgb"][view], original["rgb"][view])
            assert same is (f"{camera_id.removeprefix('MCU_')}_C" not in together)
        for name in ("mask", "depth", "normal"):
            assert np.array_equal(copy[name], original[name])


def test_a_scan_in_another_unit_and_a_pod_on_its_side_give_the_same_data(faulty: Run, faults: FaultsTruth) -> None:
    people = {person.subject_id: person for person in faults.people}
    by_fault = {item.fault: item for item in faults.faults}
    unit = by_fault["scan_in_other_unit"]
    (turned,) = people[by_fault["pod_on_its_side"].subject_id].captures
    places = [
        (unit.subject_id, unit.gesture or "", unit.raw_frame or 0),
        (by_fault["pod_on_its_side"].subject_id, turned.gesture, turned.raw_frame),
    ]
    for subject_id, gesture, raw_frame in places:
        copy = faulty.rows(subject_id, gesture, raw_frame)
        original = faulty.rows(people[subject_id].copy_of, gesture, raw_frame)
        assert (copy["mask"] != original["mask"]).mean() < 1e-4
        assert np.abs(copy["rgb"].astype(int) - original["rgb"]).mean() < 0.01
        both = (copy["depth"] > 0) & (original["depth"] > 0)
        assert np.median(np.abs(copy["depth"].astype(int) - original["depth"])[both]) <= 1


def test_a_release_holds_everybody_else_and_says_who_is_out_and_why(faulty: Run, faults: FaultsTruth) -> None:
    settings = settings_of(faulty.out)
    publish_release("0.1.0", faulty.workspace, settings)
    folder = settings.releases / "0.1.0"
    assert verify_release(folder).passed
    release = palm_data.open_release(settings.releases)
    assert set(release.subject_ids) == set(faulty.workspace.keys("subject_shard"))
    told = (folder / "report" / "left_out.json").read_text(encoding="utf-8")
    assert read_manifest(folder).counts["subjects_left_out"] == len(faulty.refused)
    quarantine = (Outcome.FILE_SET_ASIDE, Outcome.CAPTURE_SET_ASIDE, Outcome.SUBJECT_SET_ASIDE)
    for item in faults.faults:
        if item.outcome in quarantine:
            assert item.reason is not None
            assert item.reason.source in told, item
    for sample in release:
        assert sample.mask.any(axis=(1, 2)).any()


def test_nothing_partial_is_left_and_nothing_is_made_twice(faulty: Run) -> None:
    assert {path.name for path in faulty.out.iterdir()} <= {"raw", "truth", "workspace", "releases"}
    assert not [path for path in (faulty.out / "workspace" / "partial").rglob("*") if path.is_file()]
    before = digests(faulty.out / "raw") | digests(faulty.out / "truth")
    simulate_session(
        faulty.out, OPTIONS.model_copy(update={"faults": True}), jobs=1, announce=lambda _: pytest.fail("all is there")
    )
    assert digests(faulty.out / "raw") | digests(faulty.out / "truth") == before


def test_interrupted_while_planting_the_session_does_not_look_finished(
    clean: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "truth"):
        shutil.copytree(clean.out / name, tmp_path / name, copy_function=os.link)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("palm_data.simulate.session.plant_faults", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate_session(tmp_path, OPTIONS.model_copy(update={"faults": True}), jobs=1)
    assert not (tmp_path / "truth" / "truth.json").exists()
    assert digests(tmp_path / "raw") == digests(clean.out / "raw")


def _place(fault: PlantedFault) -> tuple[str, str | None, int | None]:
    return fault.subject_id, fault.gesture, fault.raw_frame


def _image_rows(run: Run, subject_id: str) -> Sequence[ImageRow]:
    return read_rows(run.workspace.output("subject_shard", subject_id) / "tables" / "images.parquet", ImageRow)
