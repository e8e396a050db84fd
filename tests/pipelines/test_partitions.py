"""Subjects as partitions: heaviest first, in ranges of neighbours, noticed by a sensor and never removed."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.partitions import heaviest_first, raw_bytes, register_subjects, runs_of, subjects, tombstones
from pipelines.resources import Places
from pipelines.sensors import new_subjects
from schemas.settings import Settings
from tests.pipelines import toy


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(raw=tmp_path / "raw", workspace=tmp_path / "workspace", releases=tmp_path / "releases")


def _look(instance: dg.DagsterInstance, settings: Settings, cursor: str | None) -> tuple[object, str | None]:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"places": Places.of(settings)})
    result = new_subjects(context)
    return result, context.cursor


def test_the_heaviest_subject_comes_first(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="small", s0002="much larger", s0003="small")
    assert heaviest_first(settings.raw, ["0003", "0001", "0002", "0009"]) == ["0002", "0001", "0003", "0009"]
    assert raw_bytes(settings.raw / "0001") == len("small")


def test_registering_twice_adds_once(instance: dg.DagsterInstance) -> None:
    assert register_subjects(instance, ["0002", "0001"]) == ["0002", "0001"]
    assert register_subjects(instance, ["0001", "0003"]) == ["0003"]
    assert instance.get_dynamic_partitions(str(subjects.name)) == ["0002", "0001", "0003"]


@pytest.mark.parametrize(
    ("chosen", "at_most", "expected"),
    [
        ("abcde", 25, [("a", "e")]),
        ("abde", 25, [("a", "b"), ("d", "e")]),
        ("abcde", 2, [("a", "b"), ("c", "d"), ("e", "e")]),
        ("c", 25, [("c", "c")]),
        ("", 25, []),
    ],
)
def test_runs_cover_neighbours_only(chosen: str, at_most: int, expected: list[tuple[str, str]]) -> None:
    found = runs_of(list("abcde"), set(chosen), at_most=at_most)
    assert [(keys.start, keys.end) for keys in found] == expected


def test_a_new_subject_gets_a_partition_and_a_run_once_its_folder_is_quiet(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="a longer one")
    first, cursor = _look(instance, settings, None)
    assert isinstance(first, dg.SkipReason)
    (settings.raw / "0001" / "more").write_text("still being copied")
    second, cursor = _look(instance, settings, cursor)
    assert isinstance(second, dg.SensorResult)
    assert second.dynamic_partitions_requests is not None
    assert [list(request.partition_keys) for request in second.dynamic_partitions_requests] == [["0002"]]
    instance.add_dynamic_partitions(str(subjects.name), ["0002"])
    third, cursor = _look(instance, settings, cursor)
    assert isinstance(third, dg.SensorResult)
    assert third.run_requests is not None
    (request,) = third.run_requests
    assert request.tags["dagster/asset_partition_range_start"] == "0001"


def test_a_subject_that_is_gone_keeps_its_partition(instance: dg.DagsterInstance, settings: Settings) -> None:
    settings.raw.mkdir()
    instance.add_dynamic_partitions(str(subjects.name), ["0001"])
    result, _ = _look(instance, settings, None)
    assert isinstance(result, dg.SkipReason)
    assert instance.get_dynamic_partitions(str(subjects.name)) == ["0001"]


def test_withdrawn_and_vanished_subjects_are_tombstones(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="b")
    (settings.raw / "subjects.csv").write_text(
        "subject_id,sex,age_band,height_band,skin_tone,consent,consent_date\n"
        "0001,female,21-30,145-170,light,granted,2025-01-01\n"
        "0002,male,21-30,171-180,dark,withdrawn,2025-02-03\n"
    )
    assert tombstones(settings, ["0001", "0002", "0003"]) == {
        "0002": "consent withdrawn on 2025-02-03",
        "0003": "no folder among the raw sessions any more",
    }


def test_nobody_is_a_tombstone_because_a_table_cannot_be_read(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a")
    assert tombstones(settings, ["0001"]) == {}
