"""Every fault of the catalogue, planted in a painted session, comes out as its record says."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palm_data.capture.index import load_index
from palm_data.capture.ingest import ingest_subject
from palm_data.evaluate.faults import FaultVerdict, evaluate_faults
from palm_data.simulate.faults.catalogue import CATALOGUE
from palm_data.simulate.faults.record import FaultsTruth, Outcome, write_faults
from palm_data.store.workspace import Workspace
from pipelines.cli.main import app
from schemas.errors import BadInputError
from tests.palm_data.simulate.faults.sessions import paint_session, plant, run_stages, settings_of

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Judged:
    """A session with every fault, and what became of each."""

    out: Path
    faults: FaultsTruth
    workspace: Workspace
    refused: dict[str, str]
    verdicts: dict[str, FaultVerdict]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    out = paint_session(tmp_path_factory.mktemp("judged"), image_size=(204, 170))
    faults = plant(out)
    workspace, refused = run_stages(out)
    verdicts = {item.planted.fault: item for item in evaluate_faults(out / "truth", workspace, settings_of(out))}
    return Judged(out, faults, workspace, refused, verdicts)


@pytest.mark.parametrize("name", [fault.name for fault in CATALOGUE])
def test_a_fault_comes_out_as_recorded(judged: Judged, name: str) -> None:
    verdict = judged.verdicts[name]
    assert verdict.passed, f"{verdict.planted}: {verdict.found}"
    if verdict.planted.reason is not None:
        assert Path(verdict.planted.reason.source).name in verdict.found + str(judged.refused)


def test_only_the_person_with_the_damaged_session_is_out(judged: Judged) -> None:
    out = {item.subject_id for item in judged.faults.faults if item.outcome is Outcome.SUBJECT_SET_ASIDE}
    assert set(judged.refused) == out
    assert len(judged.workspace.keys("scan_maps")) == 2 + len(judged.faults.people) - len(out)


def test_nothing_is_set_aside_but_for_a_fault(judged: Judged) -> None:
    """Each reason of a quarantine is about a file that a fault touched, or an image of a camera without a file."""
    for person in judged.faults.people:
        if person.subject_id in judged.refused:
            continue
        faults = judged.faults.of_subject(person.subject_id)
        lost = {fault.camera for fault in faults if fault.outcome is Outcome.CAMERA_MISSING}
        for item in load_index(judged.workspace, person.subject_id).quarantined:
            told = any(fault.reason and fault.reason.source == item.source for fault in faults)
            assert told or Path(item.source).name.split(".")[-2] in lost, item


def test_what_is_handled_is_counted(judged: Judged) -> None:
    by_fault = {item.fault: item for item in judged.faults.faults}

    def figures(fault: str) -> dict:
        record = judged.workspace.require("capture_index", by_fault[fault].subject_id)
        return judged.workspace.report(record, ran=False).figures

    assert figures("scan_not_manifold")["non_manifold_edges"] >= 20
    assert figures("scan_in_other_unit")["metres_per_unit"] == "0.001, 1"
    missing = by_fault["image_missing"]
    assert f"MCU_{(missing.camera or '')[:2]} ×" in str(figures("image_missing")["cameras_absent"])


def test_a_pod_on_its_side_gives_the_camera_it_was(judged: Judged) -> None:
    (planted,) = (item for item in judged.faults.faults if item.fault == "pod_on_its_side")
    (person,) = (item for item in judged.faults.people if item.subject_id == planted.subject_id)
    copy = load_index(judged.workspace, person.subject_id).captures[0]
    (own,) = (item for item in load_index(judged.workspace, person.copy_of).captures if item.gesture == copy.gesture)
    camera = f"MCU_{(planted.camera or '')[:2]}"
    turned, straight = copy.image(camera), own.image(camera)
    assert turned is not None
    assert straight is not None
    assert (turned.raw_width, turned.raw_height) == (straight.raw_height, straight.raw_width)


def test_a_verdict_can_be_bad(judged: Judged, tmp_path: Path) -> None:
    """With the faults repaired, no record comes true but those of what is handled."""
    for place in ("raw", "truth"):
        shutil.copytree(judged.out / place, tmp_path / place, copy_function=shutil.copyfile)
    by_fault = {item.fault: item for item in judged.faults.faults}
    chosen = [by_fault[name] for name in ("image_truncated", "scan_empty", "session_truncated")]
    people = {item.subject_id: item for item in judged.faults.people}
    for fault in chosen:
        copy_of = people[fault.subject_id].copy_of
        for name in fault.files:
            source = tmp_path / "raw" / copy_of / Path(name).relative_to(fault.subject_id)
            shutil.copyfile(source, tmp_path / "raw" / name)
    write_faults(tmp_path / "truth", judged.faults.model_copy(update={"faults": tuple(chosen)}))
    settings = settings_of(tmp_path)
    workspace = Workspace(settings.workspace)
    for fault in chosen:
        ingest_subject(fault.subject_id, workspace, settings)
    assert not any(item.passed for item in evaluate_faults(tmp_path / "truth", workspace, settings))


def test_the_command_tells_every_fault_and_ends_with_1_if_one_is_not_as_it_has_to_be(
    judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_RELEASE__LABELS", "false")

    def told(truth: Path) -> tuple[int, list[dict]]:
        found = CliRunner().invoke(
            app, ["evaluate", "faults", str(judged.workspace.root), "--truth", str(truth), "--raw", str(judged.out / "raw"), "--json"]
        )  # fmt: skip
        return found.exit_code, json.loads(found.stdout)

    code, verdicts = told(judged.out / "truth")
    assert code == 0
    assert len(verdicts) == len(CATALOGUE)
    (fault,) = (item for item in judged.faults.faults if item.fault == "image_missing")
    moved = fault.model_copy(update={"raw_frame": 999})
    write_faults(tmp_path, judged.faults.model_copy(update={"faults": (moved,)}))
    code, verdicts = told(tmp_path)
    assert code == 1
    assert [item["found"] for item in verdicts] == ["there is no such capture"]


def test_a_session_without_faults_has_nothing_to_judge(judged: Judged, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="simulated with faults"):
        evaluate_faults(tmp_path, judged.workspace, settings_of(judged.out))
    write_faults(tmp_path, judged.faults.model_copy(update={"planted": False}))
    with pytest.raises(BadInputError, match="interrupted"):
        evaluate_faults(tmp_path, judged.workspace, settings_of(judged.out))
