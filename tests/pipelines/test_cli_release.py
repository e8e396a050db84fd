import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace
from pipelines.cli.main import app
from schemas.errors import ConflictError, StoreError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A workspace whose places and settings the command line finds by itself."""
    made = tiny_workspace(tmp_path)
    for name in ("raw", "workspace", "releases"):
        monkeypatch.setenv(f"PALM_{name.upper()}", str(getattr(made.settings, name)))
    monkeypatch.setenv("PALM_SHARD__TILE_PX", str(made.settings.shard.tile_px))
    monkeypatch.setenv("PALM_SHARD__TIERS", json.dumps(made.settings.shard.tiers))
    return made


def palm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_release_publishes_and_says_how_to_open_it(tiny: Tiny) -> None:
    add_subject(tiny.workspace, tiny.settings, "0003")
    result = palm("release", "0.1.0")
    assert result.exit_code == 0
    assert f'palm_data.open_release("{tiny.settings.releases}", version="0.1.0")' in result.stdout
    assert "2 (1 left out)" in result.stdout
    assert "0003: subjects.csv: expected a row of the subject, found none" in result.stdout


def test_release_again_is_fine_and_other_contents_are_not(tiny: Tiny) -> None:
    assert palm("release", "0.1.0").exit_code == 0
    assert palm("release", "0.1.0").exit_code == 0
    add_subject(tiny.workspace, tiny.settings, "0002", seed=4)
    result = palm("release", "0.1.0")
    assert isinstance(result.exception, ConflictError)


def test_verify_ends_well_with_a_whole_version_by_number_path_or_default(tiny: Tiny) -> None:
    palm("release", "0.1.0")
    for target in ([], ["0.1.0"], [str(tiny.settings.releases / "0.1.0")], ["0.1.0", "--shallow"]):
        result = palm("verify", *target)
        assert result.exit_code == 0, result.output
        assert "0.1.0: whole" in result.stdout


def test_verify_ends_with_1_and_names_what_is_damaged(tiny: Tiny) -> None:
    palm("release", "0.1.0")
    path = tiny.settings.releases / "0.1.0" / "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    result = palm("verify", "0.1.0")
    assert result.exit_code == 1
    assert "shards/0001.zarr/rgb/full/c/0/0/0/0/0: expected sha256 " in result.stdout
    assert "1 problem in" in result.stdout
    assert palm("verify", "0.1.0", "--shallow").exit_code == 0


def test_info_says_what_a_version_holds(tiny: Tiny) -> None:
    palm("release", "0.1.0")
    palm("release", "0.2.0")
    result = palm("info")
    assert result.exit_code == 0
    for words in ("0.2.0, published", "0.1.0", "train 2, val 0, test 0", "merkle root", "open_release"):
        assert words in result.stdout


def test_a_version_that_is_not_there_is_told_with_those_that_are(tiny: Tiny) -> None:
    palm("release", "0.1.0")
    for verb in ("verify", "info"):
        result = palm(verb, "0.9.0")
        assert isinstance(result.exception, StoreError)
        assert "expected version 0.9.0, found 0.1.0" in str(result.exception)
