"""What the page on training shows is run, one snippet after the other."""

import re
from pathlib import Path

import pytest
import torch

from palm_data.loader.fields import FIELDS
from palm_data.testing.tiny import Tiny

PAGE = Path(__file__).parents[3] / "docs" / "loader.md"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_snippets_of_the_page_run(seen: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(seen.settings.releases.parent)
    trained: list[torch.Tensor] = []
    names = {"train": lambda pixels, *_: trained.append(pixels)}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for snippet in snippets:
        exec(compile(snippet.replace("size=128", "size=5"), str(PAGE), "exec"), names)  # noqa: S102
    assert len(snippets) == 5
    assert {tuple(pixels.shape[1:]) for pixels in trained} == {(10, 13, 3), (5, 5, 3)}
    assert (names["small"].tier, names["large"].tier) == ("half", "full")  # type: ignore[attr-defined]
    assert names["surface"].shape == (1024, 3)  # type: ignore[attr-defined]
    assert names["loader"].state_dict()["epoch"] == 2  # type: ignore[attr-defined]


def test_the_page_names_every_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in FIELDS if f"`{name}`" not in text] == []
