"""Checks that read a stage's figures: one good key and one that is not."""

import json
from pathlib import Path

import dagster as dg
import pytest

from pipelines.checks import detector_agrees, every_step_taken
from pipelines.resources import Places


@pytest.mark.parametrize(
    ("check", "stage", "good", "bad", "said"),
    [
        (
            every_step_taken,
            "prior",
            {"steps_refused": 0, "views_left_out": 0},
            {"steps_refused": 3, "views_left_out": 1},
            "steps_refused: expected 0, found 3, views_left_out: expected 0, found 1",
        ),
        (
            detector_agrees,
            "detector",
            {"validation_within_5_percent": 0.9},
            {"validation_within_5_percent": 0.5},
            "validation_within_5_percent: expected at least 0.8, found 0.5",
        ),
    ],
)
def test_a_check_names_the_keys_whose_figures_are_bad_and_no_others(
    tmp_path: Path, check: dg.AssetChecksDefinition, stage: str, good: dict, bad: dict, said: str
) -> None:
    places = Places(workspace_root=str(tmp_path))
    for key, figures in (("good", good), ("bad", bad)):

        def work(folder: Path, figures: dict = figures) -> None:
            (folder / "figures.json").write_text(json.dumps(figures))

        places.workspace().run_stage(stage, key, code_version="1", settings={}, inputs={}, work=work)
    found = check(places)
    assert isinstance(found, dg.AssetCheckResult)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    (table,) = (one for one in found.metadata.values() if isinstance(one, dg.TableMetadataValue))
    assert [row.data for row in table.records] == [{"key": "bad", "reason": said}]
