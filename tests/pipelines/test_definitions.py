"""The project loads, quickly and lightly, and is the graph that was agreed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import yaml
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from pipelines.cli.doctor import setting_rows
from pipelines.definitions import build_definitions
from pipelines.partitions import SUBJECTS_PER_RUN
from schemas.settings import Settings

GRAPH = {
    "raw_session": set(),
    "capture_index": {"raw_session"},
    "calibration": {"capture_index"},
    "detector": {"capture_index", "calibration"},
    "scan_maps": {"capture_index", "calibration"},
    "keypoints_2d": {"capture_index", "calibration", "detector"},
    "subject_shard": {"capture_index", "calibration", "scan_maps"},
    "keypoints_3d": {"capture_index", "calibration", "keypoints_2d"},
    "hand_shape": {"capture_index", "calibration", "keypoints_2d", "keypoints_3d"},
    "hand_pose": {"capture_index", "calibration", "keypoints_2d", "keypoints_3d", "hand_shape"},
    "hand_maps": {"capture_index", "calibration", "scan_maps", "hand_pose"},
    "quality": {"capture_index", "calibration", "scan_maps", "keypoints_2d", "keypoints_3d", "hand_pose"},
    "subject_labels": {
        "capture_index", "calibration", "scan_maps", "keypoints_2d", "keypoints_3d", "hand_pose", "hand_maps", "quality",
    },
    "release": {"subject_shard", "subject_labels"},
    "prior": {"release"},
    "avatar": {"release", "prior"},
    "relit_views": {"avatar"},
}  # fmt: skip
OF_ONE_PHOTOGRAPH = ("avatar", "relit_views")
NOT_OF_ONE_SUBJECT = ("calibration", "detector", "release", "prior", *OF_ONE_PHOTOGRAPH)
HEAVY_IMPORTS = ("torch", "zarr", "open3d", "cv2", "numba", "mitsuba", "pandas", "scipy", "matplotlib")


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(build_definitions())


def test_the_graph_is_the_one_agreed() -> None:
    graph = build_definitions().resolve_asset_graph()
    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.toposorted_asset_keys
    }
    assert found == GRAPH
    assert list(found) == list(GRAPH)


def test_everything_about_a_subject_is_partitioned_by_subject_and_batched() -> None:
    graph = build_definitions().resolve_asset_graph()
    for name in GRAPH:
        node = graph.get(dg.AssetKey(name))
        if name in NOT_OF_ONE_SUBJECT:
            assert node.is_partitioned == (name in OF_ONE_PHOTOGRAPH)
            continue
        assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
        assert node.partitions_def.name == "subjects"
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(SUBJECTS_PER_RUN)


def test_every_asset_says_what_it_is_and_whose() -> None:
    graph = build_definitions().resolve_asset_graph()
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        assert node.description
        assert node.owners
        assert node.code_version
        assert node.group_name in (
            "capture", "calibration", "maps", "labels", "registration", "quality", "release", "prior", "avatar",
        )  # fmt: skip
        assert any(tag.startswith("dagster/kind/") for tag in node.tags)
        assert (node.pools == {"heavy"}) == (key.to_user_string() != "raw_session")


def test_every_asset_is_checked() -> None:
    graph = build_definitions().resolve_asset_graph()
    found = sorted(f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys)
    once = [f"{name}:none_set_aside" for name in GRAPH if name not in NOT_OF_ONE_SUBJECT]
    assert found == sorted(
        [
            *once,
            "calibration:cameras_agree",
            "detector:detector_agrees",
            "hand_pose:hands_fit",
            "keypoints_3d:joints_found",
            "prior:every_step_taken",
            "quality:captures_usable",
            "release:nobody_left_out",
            "subject_labels:fit_for_release",
            "subject_labels:nothing_unusual",
        ]
    )


def test_the_import_is_light_and_quick() -> None:
    program = (
        "import sys, time; start = time.process_time(); import pipelines.definitions;"
        f"print(time.process_time() - start, [name for name in {HEAVY_IMPORTS!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 6  # about 1.5 s of processor time where nothing else runs


def test_the_verbs_do_not_import_dagster_before_they_run() -> None:
    program = "import sys, pipelines.cli.main; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_instance_keeps_to_itself(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from pipelines.instance import terminal_instance\n"
        f"with terminal_instance(Path({str(tmp_path / 'workspace')!r})) as instance:\n"
        "    print(instance.telemetry_enabled, instance.nux_enabled, instance.run_monitoring_enabled)"
    )
    (tmp_path / "home").mkdir()
    variables = {**os.environ, "HOME": str(tmp_path / "home")}
    variables.pop("DAGSTER_HOME", None)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout.split() == ["False", "False", "True"], time.perf_counter() - started
    assert list((tmp_path / "home").iterdir()) == []
    assert (tmp_path / "workspace/dagster/dagster.yaml").exists()


def test_the_repository_shows_the_configuration_that_is_installed() -> None:
    root = Path(__file__).parents[2]
    shown = yaml.safe_load((root / "dagster.yaml").read_text())
    assert shown == yaml.safe_load((root / "pipelines/dagster.yaml").read_text())
    assert shown["telemetry"] == {"enabled": False}


def test_the_documented_postgres_variant_is_a_valid_configuration() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    result = validate_config(dagster_instance_config_schema(), yaml.safe_load(block))
    assert result.success, result.errors


def test_every_setting_is_listed_with_its_meaning() -> None:
    rows = list(setting_rows(Settings()))
    assert {"PALM_RAW", "PALM_INGEST__MAX_IMAGE_PIXELS", "PALM_COMPUTE__WORKERS"} <= {row[0] for row in rows}
    assert all(meaning for _, _, meaning in rows)
