from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import SettingsError
from schemas.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No palm.toml and no variable of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.shard.tile_px == 256
    assert settings.shard.background == "keep"
    assert settings.maps.depth_unit_mm == 0.05


def test_arguments_win_over_variables_and_variables_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("palm.toml").write_text('raw = "file"\nworkspace = "file"\nreleases = "file"\n[shard]\ntile_px = 64\n')
    monkeypatch.setenv("PALM_WORKSPACE", "variable")
    monkeypatch.setenv("PALM_RAW", "variable")
    settings = load_settings(raw=Path("argument"), workspace=None)
    assert [str(path) for path in (settings.raw, settings.workspace, settings.releases)] == [
        "argument", "variable", "file"
    ]  # fmt: skip
    assert settings.shard.tile_px == 64


def test_nested_variables_use_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALM_SHARD__BACKGROUND", "zero")
    monkeypatch.setenv("PALM_RELEASE__TERMS", "terms.txt")
    settings = load_settings()
    assert settings.shard.background == "zero"
    assert settings.release.terms == Path("terms.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1\n", "colour: .*found 1"),
        ("[shard]\ntile_px = 0\n", r"shard\.tile_px: .*found 0"),
        ('[shard]\nbackground = "blue"\n', r"shard\.background: .*found 'blue'"),
        ("[shard]\ntile = 5\n", r"shard\.tile: .*found 5"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(text: str, words: str) -> None:
    Path("palm.toml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().raw = Path("other")  # type: ignore[misc]
