"""What the first page shows is run on a small release, one snippet after the other."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest

from palm_data.loader.release import Release
from palm_data.mini.publish import publish_mini

PAGE = Path(__file__).parents[3] / "docs" / "quickstart.md"


def test_the_snippets_of_the_page_run(
    seen_release: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish_mini(seen_release, tmp_path / "mini")
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for snippet in snippets:
        exec(compile(snippet.replace("size=64", "size=5"), str(PAGE), "exec"), names)  # noqa: S102
    assert len(snippets) == 5
    assert (tmp_path / "sample.png").stat().st_size > 5000
    assert names["loss"].item() > 0  # type: ignore[attr-defined]
    assert names["report"].files > 50  # type: ignore[attr-defined]


def test_the_commands_of_the_page_are_those_that_exist() -> None:
    from pipelines.cli.main import app

    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"^palm (\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {"mini", "view", "verify"}
    assert named <= known
