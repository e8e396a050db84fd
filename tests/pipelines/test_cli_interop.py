"""`palm export` and `palm import`, as a person uses them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli.main import app
from schemas.errors import BadInputError, StoreError
from tests.palm_data.interop.conftest import made
from tests.palm_data.store.tiny import Tiny

__all__ = ["made"]


def palm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def version(made: Tiny, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALM_RELEASES", str(made.settings.releases))
    return made.settings.releases / "0.2.0"


def test_help_names_every_format() -> None:
    text = palm("export", "--help").output
    for word in ("official", "coco", "webdataset", "--where", "--out"):
        assert word in text
    assert "gt_checksums.json" in palm("import", "--help").output


def test_an_official_export_is_checked_and_comes_back(version: Path, tmp_path: Path) -> None:
    done = palm("export", "0.2.0", "--format", "official", "--out", tmp_path / "OURS", "--check")
    assert done.exit_code == 0, done.output
    assert "4 captures of 3 subjects." in done.output
    assert "0002 frame 2: no hand could be fitted" in done.output
    assert "dataset.dataroot=./load/PALM/NAME/folders/" in done.output
    assert "Checked: nothing in it" in done.output
    places = ("--workspace", tmp_path / "workspace", "--releases", tmp_path / "releases")
    back = palm("import", tmp_path / "OURS", "--format", "official", *places)
    assert back.exit_code == 0, back.output
    assert "4 captures of 3 subjects, 28 images, 4 hands." in back.output
    assert palm("verify", tmp_path / "releases/1.0.0").exit_code == 0


def test_captures_can_be_chosen(version: Path, tmp_path: Path) -> None:
    done = palm(
        "export",
        version,
        "--format",
        "coco",
        "--out",
        tmp_path / "coco",
        "--where",
        "frame == 1",
        "--subjects",
        "0001,0003",
    )
    assert done.exit_code == 0, done.output
    assert "13 images, 13 annotated hands." in done.output
    done = palm(
        "export", version, "--format", "webdataset", "--out", tmp_path / "wds", "--subjects", "0003", "--maps", "mask"
    )
    assert done.exit_code == 0, done.output
    assert "14 views in 1 shards" in done.output


def test_what_is_not_there_is_said(version: Path, tmp_path: Path) -> None:
    assert isinstance(palm("export", "0.9.0", "--format", "coco", "--out", tmp_path / "a").exception, StoreError)
    assert isinstance(palm("import", tmp_path / "none", "--format", "official").exception, BadInputError)
    assert palm("export", "0.2.0", "--format", "nonsense", "--out", tmp_path / "a").exit_code == 2
