"""A tenth of the proof of integrity, and that each part of it would notice a broken promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from palm_data.testing.campaign.kind import BrokenPromise, Cases, tried
from palm_data.testing.campaign.runner import KINDS, run_campaign
from palm_data.testing.campaign.scene import NEW, OLD, check_converges, check_whole, make_scene, publish_new
from palm_data.testing.damage import flip_bit
from palm_data.testing.reading import why_unreadable
from schemas.errors import SettingsError


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_of_each_kind_of_fault_breaks_no_promise(kind: str) -> None:
    report = run_campaign([kind], share=0.1)
    assert report.passed, report.kinds[kind].failures
    assert report.kinds[kind].tries >= max(50 if KINDS[kind].count == 0 else 1, round(KINDS[kind].count / 10))


def test_a_torn_version_is_noticed(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    settings = scene.copy("torn")
    publish_new(settings)
    assert check_whole(scene, settings.releases)
    path = settings.releases / NEW / "tables" / "captures.parquet"
    path.unlink()
    with pytest.raises(BrokenPromise, match=r"torn version 0\.2\.0: tables/captures\.parquet"):
        check_whole(scene, settings.releases)


def test_a_version_that_reads_as_something_else_is_noticed(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    settings = scene.copy("wrong")
    publish_new(settings)
    scene.contents[NEW] = scene.contents[OLD]
    with pytest.raises(BrokenPromise, match="can be read and is wrong"):
        check_whole(scene, settings.releases)


def test_work_left_behind_and_another_result_are_noticed(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    settings = scene.copy("left")
    (settings.releases / ".partial" / "0.9.9.x").mkdir()
    check_converges(scene, settings)
    (settings.releases / ".partial" / "junk").touch()
    with pytest.raises(BrokenPromise, match="left behind"):
        check_converges(scene, settings)


def test_a_flipped_bit_is_met_when_everything_is_read_and_mended_by_flipping_it_back(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    path = scene.settings.releases / OLD / "LICENSE"
    path.chmod(0o644)
    flip_bit(path, 9)
    error = why_unreadable(scene.settings.releases, OLD)
    assert error is not None
    assert "LICENSE" in str(error)
    flip_bit(path, 9)
    assert why_unreadable(scene.settings.releases, OLD) is None


def test_a_version_without_its_manifest_is_told_by_the_loader_too(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    (scene.settings.releases / OLD / "manifest.json").unlink()
    error = why_unreadable(scene.settings.releases / OLD)
    assert f"{OLD}/manifest.json: expected the manifest of a version, found none" in str(error)


def test_cases_are_numbered_and_one_alone_draws_what_it_drew_among_others() -> None:
    drawn = {case: Cases("x", 5, seed=3).rng(case).integers(1 << 40) for case in Cases("x", 5, seed=3)}
    assert len(set(drawn.values())) == 5
    assert list(Cases("x", 5, seed=3, only=4)) == [4]
    assert Cases("x", 5, seed=3, only=4).rng(4).integers(1 << 40) == drawn[4]
    assert Cases("x", 5, seed=4).rng(4).integers(1 << 40) != drawn[4]


def test_a_broken_promise_is_counted_with_its_case_and_fails_the_kind() -> None:
    def attempt(case: int) -> None:
        if case == 2:
            raise BrokenPromise("seen")

    report = tried(Cases("x", 4, seed=0), attempt, lambda *_: None, promise="p", how="h")
    assert (report.tries, report.kept, report.passed) == (4, 3, False)
    assert [(one.case, one.what) for one in report.failures] == [(2, "seen")]
    assert tried(Cases("x", 4, seed=0), attempt, lambda *_: None, promise="p", how="h", allowed=1).passed


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected some of kills"):
        run_campaign(["nonsense"])


def test_the_command_prints_one_json_and_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    done = subprocess.run(
        [sys.executable, "-m", "palm_data.testing.campaign", "--case", "cuts:3", "--seed", "5", "--out", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = json.loads(done.stdout)
    assert printed == json.loads(out.read_text())
    assert printed["kinds"]["cuts"]["tries"] == 1
    assert "cuts: kept in 1 of 1" in done.stderr
