"""The web page of a materialized workspace, in a headless browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm_data.testing.raw_session import write_raw_session
from pipelines.batch import BatchRequest, run_batch
from pipelines.instance import terminal_instance
from pipelines.resources import Compute
from schemas.settings import Settings
from tests.pipelines.screenshots import Browser, chromium, dagster_page, show_graph, show_picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ui"),
    pytest.mark.skipif(chromium() is None and "CI" not in os.environ, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("ui")
    write_raw_session(folder / "raw", subjects=1, gestures=1)
    settings = Settings(raw=folder / "raw", workspace=folder / "workspace", releases=folder / "releases")
    with terminal_instance(settings.workspace) as instance:
        captures = BatchRequest(select='+key:"subject_shard" or key:"release"', release="0.1.0", captures_only=True)
        result = run_batch(instance, settings, captures, compute=Compute(where="here"))
    assert result.whole
    with dagster_page(settings) as page:
        yield page


def test_the_page_shows_the_graph_and_a_picture_and_nothing_pops_up(browser: Browser, tmp_path: Path) -> None:
    show_graph(browser)
    browser.page.screenshot(path=tmp_path / "graph.png")
    size = show_picture(browser, "scan_maps", "0001")
    assert size["width"] > 100
    assert size["height"] > 50
    browser.page.screenshot(path=tmp_path / "picture.png")
    assert browser.complaints == []
