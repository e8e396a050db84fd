"""`palm view` and `palm mini`, as their user runs them."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import palm_data
from palm_data.store.release import publish_release
from palm_data.testing.tiny import Tiny, tiny_workspace
from pipelines.cli.main import app
from schemas.errors import SettingsError, StoreError

PALM = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    made = tiny_workspace(tmp_path_factory.mktemp("releases"), ("0001", "0002", "0003"))
    publish_release("0.2.0", made.workspace, made.settings)
    return made


def palm(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_view_serves_the_page_until_it_is_interrupted(tiny: Tiny) -> None:
    command = [*PALM, "view", str(tiny.settings.releases), "--port", "0", "--subject", "0002"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address, line + process.stdout.read()
            with urllib.request.urlopen(address[0], timeout=60) as page:  # noqa: S310 (loopback)
                assert b"<html" in page.read().lower()
        finally:
            process.send_signal(signal.SIGINT)
        try:
            rest, _ = process.communicate(timeout=120)
        finally:
            process.kill()  # or the block waits for it for ever
    assert process.returncode == 0, rest
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_without_its_library_view_says_what_to_install(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    result = palm("view", tiny.settings.releases, "--port", "0")
    assert isinstance(result.exception, SettingsError)
    assert "pip install 'palm-factory[view]'" in str(result.exception)
    assert "Warning" not in result.stdout


def test_view_warns_of_an_address_that_others_can_reach(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)  # so that none is opened
    assert "there is no password" in palm("view", tiny.settings.releases, "--host", "0.0.0.0").stdout  # noqa: S104
    assert "Warning" not in palm("view", tiny.settings.releases, "--host", "127.0.0.9").stdout


def test_view_names_the_people_there_are(tiny: Tiny) -> None:
    result = palm("view", tiny.settings.releases, "--subject", "0009")
    assert isinstance(result.exception, StoreError)
    assert "expected one of 0001, 0002, 0003, found '0009'" in str(result.exception)


def test_mini_makes_a_small_release_and_says_how_to_open_it(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "mini"
    result = palm("mini", tiny.settings.releases, "--out", out, "--captures", "1")
    assert result.exit_code == 0, result.exception
    assert f"palm_data.open_release({str(out)!r})" in result.stdout
    assert len(palm_data.open_release(out)) == 3
