"""Logs: quiet on a terminal, one JSON object a line for machines, from worker processes too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palm_data.testing.raw_session import write_raw_session

PALM = str(Path(sys.executable).parent / "palm")


def logged(*arguments: str, home: Path) -> list[str]:
    done = subprocess.run(
        [PALM, *arguments, "--raw", "raw", "--workspace", "workspace"],
        cwd=home, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if line.strip()]


def test_a_terminal_is_not_told_of_stages(tmp_path: Path) -> None:
    write_raw_session(tmp_path / "raw", subjects=1, gestures=1)
    assert not [line for line in logged("ingest", home=tmp_path) if "stage finished" in line]


@pytest.mark.slow
def test_a_stage_in_a_worker_tells_of_itself_as_json_when_asked(tmp_path: Path) -> None:
    write_raw_session(tmp_path / "raw", subjects=1, gestures=1)
    lines = logged("--json-logs", "materialize", "--select", "capture_index", home=tmp_path)
    events = [json.loads(line) for line in lines if line.startswith("{")]
    finished = [event for event in events if event["event"] == "stage finished"]
    assert [(event["stage"], event["key"], event["level"]) for event in finished] == [("capture_index", "0001", "info")]
    assert finished[0]["seconds"] > 0
    assert finished[0]["timestamp"]
