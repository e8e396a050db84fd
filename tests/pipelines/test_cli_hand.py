"""`palm hand`, run as a person runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from palm_data.hand.model import load_hand_model


def palm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from pipelines.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_info_describes_the_shipped_model() -> None:
    result = palm("hand", "info")
    assert result.returncode == 0, result.stderr
    assert load_hand_model().sha256 in result.stdout
    assert "1649 vertices" in result.stdout


def test_info_on_a_file_that_is_no_model_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "no.npz"
    path.write_bytes(b"no")
    result = palm("hand", "info", path)
    assert result.returncode == 1
    assert f"{path}: archive: expected an undamaged .npz" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_build_writes_a_hand_model_and_tells_how_it_came_out(tmp_path: Path) -> None:
    result = palm("hand", "build", tmp_path / "hand.npz")
    assert result.returncode == 0, result.stderr
    assert "shape variance explained" in result.stdout
    assert len(load_hand_model(tmp_path / "hand.npz").v_template) == 1649
