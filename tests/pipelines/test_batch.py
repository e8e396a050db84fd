"""The whole graph on a small raw session, as one batch from a terminal."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from palm_data.testing.raw_session import write_raw_session
from pipelines.batch import BatchRequest, BatchResult, run_batch
from pipelines.cli.main import app
from pipelines.compute import Progress
from pipelines.definitions import build_definitions
from pipelines.instance import TERMINAL_TAG, dagster_home, terminal_instance
from pipelines.outcomes import SET_ASIDE
from pipelines.partitions import subjects
from pipelines.resources import Compute
from schemas.errors import ConflictError, SettingsError
from schemas.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("batch")]
CAPTURES = BatchRequest(select='+key:"subject_shard" or key:"release"', release="0.1.0", captures_only=True)
"""The test surfaces are no hands, so labels are for the whole run on a simulated session."""
BY_SUBJECT = ("raw_session", "capture_index", "scan_maps", "subject_shard")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Four subjects: one with a session file that says nothing, one who withdrew."""
    folder = tmp_path_factory.mktemp("batch")
    session = write_raw_session(folder / "raw", subjects=4, gestures=1, withdrawn=["0004"])
    (folder / "raw" / session.subject_ids[1] / "session.json").write_text("not JSON")
    return Settings(raw=folder / "raw", workspace=folder / "workspace", releases=folder / "releases")


@pytest.fixture(scope="module")
def steps() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def first(settings: Settings, steps: list[Progress]) -> BatchResult:
    with terminal_instance(settings.workspace) as instance:
        return run_batch(instance, settings, CAPTURES, watch=steps.append, compute=Compute(where="here"))


@pytest.fixture
def instance(settings: Settings, first: BatchResult) -> Iterator[dg.DagsterInstance]:
    with terminal_instance(settings.workspace) as opened:
        yield opened


def _latest(instance: dg.DagsterInstance, asset: str, key: str | None) -> dg.AssetMaterialization:
    partitions = [key] if key else None
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partitions), limit=1
    ).records
    found = records[0].asset_materialization
    assert found is not None
    return found


def test_one_bad_subject_costs_one_subject(first: BatchResult, settings: Settings) -> None:
    by_name = {asset.asset: asset for asset in first.assets}
    assert list(by_name) == ["raw_session", "capture_index", "calibration", "scan_maps", "subject_shard", "release"]
    assert not first.whole
    assert "session.json" in by_name["capture_index"].set_aside["0002"]
    assert [name for name in BY_SUBJECT if "0002" in by_name[name].set_aside] == list(BY_SUBJECT[1:])
    assert all(not asset.errors for asset in first.assets)
    manifest = json.loads((settings.releases / "0.1.0/manifest.json").read_text())
    assert sorted(key for keys in manifest["splits"].values() for key in keys) == ["0001", "0003"]


def test_what_is_left_out_is_seen(first: BatchResult) -> None:
    checks = {asset.asset: asset.red_checks for asset in first.assets}
    assert "0002" in checks["capture_index"]["none_set_aside"]
    assert "0001" not in checks["capture_index"]["none_set_aside"]
    assert checks["release"]["nobody_left_out"].startswith("0002: 0002/session.json: content")
    assert "0001" not in checks["release"]["nobody_left_out"]


def test_nothing_is_made_of_a_person_who_withdrew(first: BatchResult, settings: Settings) -> None:
    assert list(first.retired) == ["0004"]
    assert not list(settings.workspace.glob("stages/*/0004"))
    assert all("0004" not in text for asset in first.assets for text in asset.red_checks.values())


def test_every_asset_and_subject_is_watched(first: BatchResult, steps: list[Progress]) -> None:
    for name in BY_SUBJECT:
        keys = [step.outcome.key for step in steps if step.label == name and step.outcome]
        assert sorted(keys) == ["0001", "0002", "0003"]


def test_the_page_shows_figures_picture_path_and_provenance(
    first: BatchResult, instance: dg.DagsterInstance, settings: Settings
) -> None:
    for name in BY_SUBJECT:
        metadata = _latest(instance, name, "0001").metadata
        assert str(metadata["picture"].value).startswith("![")
        assert "data:image/jpeg;base64," in str(metadata["picture"].value)
        assert str(metadata["output"].value).startswith(str(settings.workspace))
        assert isinstance(metadata["provenance"], dg.JsonMetadataValue)
    assert _latest(instance, "capture_index", "0002").metadata[SET_ASIDE].value
    release = _latest(instance, "release", None).metadata
    assert release["subjects"].value == 2
    assert "picture" in release
    assert "rig_a/picture" in _latest(instance, "calibration", None).metadata


def test_asset_and_stage_agree_on_the_version_of_their_code(first: BatchResult, instance: dg.DagsterInstance) -> None:
    from pipelines.definitions import defs

    graph = defs.resolve_asset_graph()
    for name in BY_SUBJECT:
        provenance = _latest(instance, name, "0001").metadata["provenance"].value
        assert isinstance(provenance, dict)
        assert provenance["code_version"] == graph.get(dg.AssetKey(name)).code_version, name


def test_one_batch_is_one_run(first: BatchResult, instance: dg.DagsterInstance) -> None:
    runs = instance.get_runs(dg.RunsFilter(tags={TERMINAL_TAG: "true"}))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]
    assert set(instance.get_dynamic_partitions(str(subjects.name))) == {"0001", "0002", "0003", "0004"}


def test_a_second_batch_makes_nothing_and_the_same_release(
    first: BatchResult, instance: dg.DagsterInstance, settings: Settings
) -> None:
    manifest = (settings.releases / "0.1.0/manifest.json").read_bytes()
    second = run_batch(instance, settings, CAPTURES, compute=Compute(where="here"))
    made = [outcome for asset in second.assets for outcome in asset.outcomes if outcome.report and outcome.report.ran]
    assert made == []
    assert (settings.releases / "0.1.0/manifest.json").read_bytes() == manifest


def test_a_release_that_fails_says_why_and_leaves_the_old_one(
    first: BatchResult, instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_QUALITY__MIN_SILHOUETTE_IOU_MEAN", "1.0")
    result = run_batch(instance, settings, BatchRequest(select="release", release="0.2.0", captures_only=True))
    (release,) = result.assets
    assert not result.whole
    assert "StoreError" in release.errors[0]
    assert not (settings.releases / "0.2.0/manifest.json").exists()
    assert (settings.releases / "0.1.0/manifest.json").exists()


def test_a_selection_that_names_nothing_is_refused(
    first: BatchResult, instance: dg.DagsterInstance, settings: Settings
) -> None:
    with pytest.raises(SettingsError, match="--select"):
        run_batch(instance, settings, BatchRequest(select="no_such_asset"))
    with pytest.raises(SettingsError, match="0042"):
        run_batch(instance, settings, BatchRequest(subjects=("0042",)))
    with pytest.raises(SettingsError, match="--release"):
        run_batch(instance, settings, BatchRequest(release="next"))


def test_two_terminals_do_not_write_at_once(settings: Settings) -> None:
    home = dagster_home(settings.workspace)
    descriptor = os.open(home / "terminal.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConflictError, match="terminal"), terminal_instance(settings.workspace):
            pass
    finally:
        os.close(descriptor)


def test_a_run_that_a_killed_terminal_left_is_ended(settings: Settings, first: BatchResult) -> None:
    job = build_definitions().resolve_job_def("subjects_to_shards")
    with terminal_instance(settings.workspace) as instance:
        run = instance.create_run_for_job(job, tags={TERMINAL_TAG: "true"}, status=dg.DagsterRunStatus.STARTED)
    with terminal_instance(settings.workspace) as instance:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.CANCELED


def test_the_command_names_the_subject_and_fails(first: BatchResult, settings: Settings) -> None:
    places = [f"--{name}={getattr(settings, name)}" for name in ("raw", "workspace", "releases")]
    bad = CliRunner().invoke(app, ["materialize", *places, "--select", "capture_index"])
    assert bad.exit_code == 1
    assert "capture_index 0002" in bad.output
    good = CliRunner().invoke(app, ["materialize", *places, "--select", "capture_index", "--subjects", "0001,0003"])
    assert good.exit_code == 0, good.output
    assert "0.0 MB" in good.output or "captures" in good.output


def test_a_batch_interrupted_and_killed_ends_in_the_same_release(
    first: BatchResult, settings: Settings, tmp_path: Path
) -> None:
    """And in worker processes, where `first` was made in this one."""
    again = settings.model_copy(update={"workspace": tmp_path / "workspace", "releases": tmp_path / "releases"})
    assert _end_batch_after(again, "raw_session", signal.SIGINT) == 130
    assert _end_batch_after(again, "capture_index", signal.SIGKILL) == -signal.SIGKILL
    with terminal_instance(again.workspace) as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.CANCELED}
        run_batch(instance, again, CAPTURES, compute=Compute(where="processes", workers=2))
    roots = [
        json.loads((releases / "0.1.0/manifest.json").read_text())["merkle_root"]
        for releases in (settings.releases, again.releases)
    ]
    assert roots[0] == roots[1]


def _end_batch_after(settings: Settings, stage: str, sign: signal.Signals) -> int:
    """Start the command, send it a signal once a stage has an output, and return its exit code."""
    places = [f"--{name}={getattr(settings, name)}" for name in ("raw", "workspace", "releases")]
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"  # a shell may have it ignored
        "from pipelines.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "materialize", *places, "--select", CAPTURES.select]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    try:
        while not list((settings.workspace / "stages" / stage).glob("*/record.json")):
            assert time.monotonic() < limit, f"expected an output of {stage} within two minutes"
            time.sleep(0.05)
        process.send_signal(sign)
        return process.wait(60)
    finally:
        process.kill()
