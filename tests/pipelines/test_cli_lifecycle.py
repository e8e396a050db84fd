"""The commands about what becomes of versions: diff, verify, withdraw, gc."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace, write_subjects
from pipelines.cli.main import app
from schemas.errors import SettingsError, StoreError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A workspace whose places and settings the command line finds by itself, and 0.1.0 and 0.2.0 published."""
    made = tiny_workspace(tmp_path)
    for name in ("raw", "workspace", "releases"):
        monkeypatch.setenv(f"PALM_{name.upper()}", str(getattr(made.settings, name)))
    monkeypatch.setenv("PALM_SHARD__TILE_PX", str(made.settings.shard.tile_px))
    monkeypatch.setenv("PALM_SHARD__TIERS", json.dumps(made.settings.shard.tiers))
    assert palm("release", "--captures-only", "0.1.0").exit_code == 0
    assert palm("release", "publish", "0.2.0").exit_code == 0
    return made


def palm(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=answer)


def test_diff_says_what_changed_to_people_and_to_programs(tiny: Tiny) -> None:
    result = palm("release", "diff", "0.1.0", str(tiny.settings.releases / "0.2.0"))
    assert result.exit_code == 0
    assert "0.1.0 → 0.2.0: MINOR" in result.stdout
    assert "adds tables hands, keypoints_2d, keypoints_3d, quality" in result.stdout
    told = json.loads(palm("release", "diff", "0.1.0", "0.2.0", "--json").stdout)
    assert told["tables_added"] == ["hands", "keypoints_2d", "keypoints_3d", "quality"]
    same = palm("release", "diff", "0.1.0", "0.1.0")
    assert "nothing changed" in same.stdout


def test_a_number_that_promises_too_little_is_refused(tiny: Tiny) -> None:
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003"])
    add_subject(tiny.workspace, tiny.settings, "0003")
    result = palm("release", "0.2.1")
    assert isinstance(result.exception, StoreError)
    assert "adds subject 0003: that is MINOR" in str(result.exception)
    assert palm("release", "0.3.0").exit_code == 0


def test_verify_all_and_json_tell_of_every_version(tiny: Tiny) -> None:
    path = tiny.settings.releases / "0.1.0" / "LICENSE"
    path.unlink()
    (path.parent / "more.txt").write_text("more")
    result = palm("verify", str(tiny.settings.releases), "--all", "--shallow", "--json")
    assert result.exit_code == 1
    told = {one["version"]: one for one in json.loads(result.stdout)}
    assert {item["path"] for item in told["0.1.0"]["problems"]} == {"LICENSE", "more.txt"}
    assert (told["0.1.0"]["passed"], told["0.2.0"]["passed"]) == (False, True)
    assert palm("verify", "--deep", "0.2.0").exit_code == 0


def test_withdraw_asks_before_it_erases(tiny: Tiny) -> None:
    result = palm("withdraw", "0002", "--erase", answer="n\n")
    assert result.exit_code == 0, result.output
    assert "Published without them: 0.3.0" in result.stdout
    assert "Marked, as they show them: 0.1.0, 0.2.0" in result.stdout
    assert (tiny.settings.releases / "0.1.0").exists()
    checked = palm("verify", "0.1.0")
    assert checked.exit_code == 0
    assert "0002 withdrew: do not use their data, and delete it. Version 0.3.0 is without them." in checked.stdout
    assert "0002 withdrew" in palm("info", "0.1.0").stdout
    assert palm("withdraw", "0002", "--erase", answer="y\n").exit_code == 0
    assert not (tiny.settings.releases / "0.1.0").exists()
    assert palm("withdraw", "0002", "--reinstate", "2020-01-01").exit_code == 1


def test_a_number_of_nobody_is_said_to_be_so(tiny: Tiny) -> None:
    assert isinstance(palm("withdraw", "7").exception, SettingsError)
    result = palm("withdraw", "0404")
    assert result.exit_code == 0
    assert "Nothing of 0404 was found" in result.stdout


def test_gc_names_first_and_deletes_when_told(tiny: Tiny) -> None:
    left = tiny.settings.releases / "0.9.0" / "README.md"
    left.parent.mkdir()
    left.write_text("never finished")
    assert "abandoned version" in palm("gc").stdout
    assert left.exists()
    told = json.loads(palm("gc", "--delete", "--json").stdout)
    assert (told["deleted"], len(told["items"]), left.exists()) == (True, 1, False)
    assert "Nothing to remove." in palm("gc").stdout
