"""Ranged runs: one event per subject, one bad subject set aside, a defect fails the step but not the good ones."""

import errno
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.assets.by_subject import subject_asset
from pipelines.checks import none_set_aside, set_aside
from pipelines.compute import Outcome, failure_of
from pipelines.outcomes import RETIRED, SET_ASIDE, make_subjects, raise_broken
from pipelines.partitions import subjects
from pipelines.resources import Compute, Places
from schemas.errors import StoreError
from schemas.settings import Settings
from tests.pipelines import toy


@subject_asset(group="toys", owner="team:tests", kinds={"python"}, stage="tests.pipelines.toy")
def field(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """Numbers."""
    make_subjects(context, toy.grow, places, compute)


@subject_asset(group="toys", owner="team:tests", kinds={"python"}, stage="tests.pipelines.toy", deps=[field])
def total(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """Their sum."""
    make_subjects(context, toy.shrink, places, compute)


class Toys:
    """A tiny project on a folder of sessions."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path, **sessions: str) -> None:
        settings = Settings(raw=folder / "raw", workspace=folder / "workspace", releases=folder / "releases")
        toy.write_sessions(settings.raw, **sessions)
        self.workspace = Places.of(settings).workspace()
        self.instance = instance
        self.keys = [name.removeprefix("s") for name in sessions]
        self.instance.add_dynamic_partitions(str(subjects.name), self.keys)
        defs = dg.Definitions(
            assets=[field, total],
            asset_checks=[none_set_aside(field), none_set_aside(total)],
            resources={"places": Places.of(settings), "compute": Compute(where="here")},
        )
        self.job = defs.resolve_implicit_global_asset_job_def()

    def run(self) -> dg.ExecuteInProcessResult:
        return self.job.execute_in_process(
            instance=self.instance,
            tags={
                "dagster/asset_partition_range_start": self.keys[0],
                "dagster/asset_partition_range_end": self.keys[-1],
            },
            raise_on_error=False,
        )

    def events(self, asset: dg.AssetsDefinition) -> dict[str | None, dg.AssetMaterialization]:
        records = self.instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=asset.key), limit=100).records
        return {event.partition: event for record in records if (event := record.asset_materialization)}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_a_run_over_many_subjects_tells_of_each(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    toys = Toys(instance, tmp_path, s0001="a", s0002="b", s0003="c")
    result = toys.run()
    assert result.success
    events = toys.events(total)
    assert sorted(events) == ["0001", "0002", "0003"]
    sums = {key: event.metadata["sum"].value for key, event in events.items()}
    assert len(set(sums.values())) == 3
    assert events["0001"].metadata["digest"].value == toys.workspace.require("shrink", "0001").digest
    assert events["0001"].metadata["made_now"].value is True
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_a_subject_at_fault_is_set_aside_and_the_rest_goes_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    toys = Toys(instance, tmp_path, s0001="a", s0002="broken", s0003="c")
    result = toys.run()
    assert result.success
    events = toys.events(total)
    assert "captured_at" in str(toys.events(field)["0002"].metadata[SET_ASIDE].value)
    assert SET_ASIDE in events["0002"].metadata
    assert toys.workspace.keys("shrink") == ["0001", "0003"]
    assert list(set_aside(toys.instance, total.key, toys.keys)) == ["0002"]
    checks = {check.asset_key: check for check in result.get_asset_check_evaluations()}
    assert not checks[field.key].passed
    assert checks[field.key].metadata["failing"].value == 1


def test_a_subject_put_right_is_no_longer_set_aside(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    toys = Toys(instance, tmp_path, s0001="a", s0002="broken")
    toys.run()
    (tmp_path / "raw/0002/session.json").write_text("b")
    toys.run()
    assert set_aside(toys.instance, field.key, toys.keys) == {}
    assert toys.workspace.keys("shrink") == ["0001", "0002"]


def test_nothing_is_made_of_a_subject_that_is_gone(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    toys = Toys(instance, tmp_path, s0001="a", s0002="b")
    (tmp_path / "raw/0002").rename(tmp_path / "off the disk")
    result = toys.run()
    assert result.success
    assert "no folder" in str(toys.events(field)["0002"].metadata[RETIRED].value)
    assert toys.workspace.keys("grow") == ["0001"]
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_a_defect_fails_the_step_after_the_good_subjects_are_recorded(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    toys = Toys(instance, tmp_path, s0001="a", s0002="defect", s0003="c")
    result = toys.run()
    assert not result.success
    assert sorted(toys.events(field)) == ["0001", "0003"]
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    described = failure.step_failure_data.user_failure_data
    assert described is not None
    assert described.description == "0002: ZeroDivisionError: a defect of ours"
    assert "Traceback" in str(described.metadata["0002"].value)


def _wrapped(cause: OSError) -> StoreError:
    error = StoreError("the disk would not give it")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (TimeoutError("slow disk"), True),
        (_wrapped(OSError(errno.EIO, "I/O")), True),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (OSError(errno.ENOSPC, "full"), False),
        (ZeroDivisionError("a defect"), False),
    ],
)
def test_only_passing_troubles_are_retried(error: Exception, *, retried: bool) -> None:
    with pytest.raises(dg.Failure) as raised:
        raise_broken([Outcome(key="0001", seconds=0, failure=failure_of(error))])
    assert raised.value.allow_retries is retried
