"""Mapping over subjects: same bytes anywhere, and one bad subject costs one subject."""

import os
from pathlib import Path
from typing import Literal

import pytest

from palm_data.store.workspace import Workspace
from pipelines.compute import ONE_THREAD, Outcome, Progress, map_keys, single_threaded, watching
from schemas.settings import Settings
from tests.pipelines import toy

Where = Literal["here", "processes"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(raw=tmp_path / "raw", workspace=tmp_path / "workspace", releases=tmp_path / "releases")


def _grow(settings: Settings, keys: list[str], where: Where) -> list[Outcome]:
    workspace = Workspace(settings.workspace / where)
    return map_keys(toy.grow, keys, workspace, settings, where=where, workers=2, label="grow")


def test_both_modes_write_the_same_bytes(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="b", s0003="c")
    keys = ["0003", "0001", "0002"]
    digests = {
        where: [outcome.report.digest for outcome in _grow(settings, keys, where) if outcome.report]
        for where in ("here", "processes")
    }
    assert digests["here"] == digests["processes"]
    assert len(set(digests["here"])) == 3
    trees = [
        sorted((path.relative_to(root).as_posix(), path.read_bytes()) for path in root.rglob("*.bin"))
        for root in (settings.workspace / "here", settings.workspace / "processes")
    ]
    assert trees[0] == trees[1]


@pytest.mark.parametrize("where", ["here", "processes"])
def test_one_bad_subject_costs_one_subject(settings: Settings, where: Where) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="broken", s0003="defect", s0004="d")
    outcomes = _grow(settings, ["0001", "0002", "0003", "0004"], where)
    assert [outcome.key for outcome in outcomes] == ["0001", "0002", "0003", "0004"]
    assert [outcome.report is not None for outcome in outcomes] == [True, False, False, True]
    at_fault, defect = outcomes[1].failure, outcomes[2].failure
    assert at_fault is not None
    assert at_fault.expected
    assert "captured_at" in at_fault.message
    assert defect is not None
    assert not defect.expected
    assert "ZeroDivisionError" in defect.trace


def test_a_killed_worker_costs_the_subject_that_killed_it(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="killed", s0003="c")
    outcomes = _grow(settings, ["0001", "0002", "0003"], "processes")
    assert [outcome.report is not None for outcome in outcomes] == [True, False, True]
    failure = outcomes[1].failure
    assert failure is not None
    assert failure.kind == "WorkerDied"


@pytest.mark.parametrize("where", ["here", "processes"])
def test_kernels_are_told_to_use_one_thread(settings: Settings, where: Where) -> None:
    outcomes = map_keys(toy.thread_variables, ["0001"], Workspace(settings.workspace), settings, where=where, workers=1)
    assert outcomes[0].report is not None
    assert outcomes[0].report.figures == {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def test_thread_limits_end_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = cv2.getNumThreads()
    with single_threaded():
        assert {os.environ[name] for name in ONE_THREAD} == {"1"}
        assert cv2.getNumThreads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
    assert cv2.getNumThreads() == before


def test_a_second_run_makes_nothing(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a")
    first, second = (_grow(settings, ["0001"], "here")[0].report for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.ran, second.ran) == (True, False)
    assert first.digest == second.digest


def test_watchers_hear_of_every_subject(settings: Settings) -> None:
    toy.write_sessions(settings.raw, s0001="a", s0002="broken")
    heard: list[Progress] = []
    with watching(heard.append):
        _grow(settings, ["0001", "0002"], "here")
    assert [(item.label, item.total) for item in heard] == [("grow", 2)] * 3
    assert [item.outcome.key for item in heard if item.outcome] == ["0001", "0002"]


def test_no_subjects_is_no_work(settings: Settings) -> None:
    assert _grow(settings, [], "processes") == []
