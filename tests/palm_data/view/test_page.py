"""The pages in a headless browser."""

import os
import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, expect

from palm_data.loader.release import Release
from palm_data.view.server import serve
from schemas.errors import ConflictError
from tests.palm_data.view.browser import Visit, browser
from tests.pipelines.screenshots import chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("view"),
    pytest.mark.skipif(chromium() is None and "CI" not in os.environ, reason="no chromium on this machine"),
]
HERE = re.compile(r"(https?|ws)://127\.0\.0\.1:\d+/|data:|blob:")


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


@pytest.fixture
def visit(context: BrowserContext) -> Iterator[Visit]:
    page = context.new_page()
    yield Visit(page)
    page.close()


def colours(picture: np.ndarray) -> int:
    return len(np.unique(picture.reshape(-1, 3) // 8, axis=0))


def changed(one: np.ndarray, other: np.ndarray) -> float:
    return float((np.abs(one.astype(int) - other).max(axis=-1) > 24).mean())


def test_pickers_and_switches_change_what_is_seen_and_nothing_is_asked_of_others(
    release: Release, visit: Visit
) -> None:
    with serve(release, port=0) as address:
        visit.open(address)
        first = visit.picture_when(lambda picture: colours(picture) > 100)
        text = visit.page.locator("body")
        expect(text).to_contain_text("Quality ok")
        expect(text).to_contain_text("mm to the other surface")
        visit.choose("Subject", "0003")
        expect(text).to_contain_text("Subject 0003")
        shown = visit.picture_when(lambda picture: changed(first, picture) > 0.01)
        visit.page.get_by_text("all cameras", exact=True).click()
        rig = visit.picture_when(lambda picture: changed(shown, picture) > 0.05)
        visit.tick("Cameras")
        bare = visit.picture_when(lambda picture: changed(rig, picture) > 0.002)
        visit.page.get_by_text("the hand", exact=True).click()
        both = visit.picture_when(lambda picture: changed(bare, picture) > 0.05)
        visit.tick("Side by side")
        together = visit.picture_when(lambda picture: changed(both, picture) > 0.01)
        visit.choose("Scan", "hidden")
        alone = visit.picture_when(lambda picture: changed(together, picture) > 0.005)
        visit.choose("Hand", "hidden")
        visit.picture_when(lambda picture: changed(alone, picture) > 0.005)
        visit.page.get_by_text("Filter and order").click()
        visit.choose("Order", "worst first")
        expect(text).to_contain_text("Subject 0002")
        expect(text).to_contain_text("No hand could be fitted")
    assert visit.complaints == []
    assert visit.requests
    assert [url for url in visit.requests if not HERE.match(url)] == []


def test_two_pages_show_each_its_own_capture_and_the_last_wish_wins(release: Release, context: BrowserContext) -> None:
    one, other = Visit(context.new_page()), Visit(context.new_page())
    with serve(release, port=0, subject_id="0003") as address:
        one.open(address)
        other.open(address)
        for _ in range(4):  # to the second capture of 0002, faster than they can be drawn
            one.page.get_by_text("Next", exact=True).click()
        shown = one.page.locator("body")
        expect(shown).to_contain_text("capture 4 of 6")
        expect(shown).to_contain_text("Subject 0002")
        expect(other.page.locator("body")).to_contain_text("Subject 0003")
        other.choose("Subject", "0002")
        box = one.page.get_by_text("Capture", exact=True).locator("xpath=following::input[1]")
        expect(box).to_have_value("2 · flat")
        other.choose("Capture", "2 · flat")
        expect(other.page.locator("body")).to_contain_text("capture 4 of 6")
        one.picture_when(lambda picture: colours(picture) > 100)
        other.picture_when(
            lambda picture: changed(one.picture(), picture) < 0.002
        )  # the way there leaves nothing behind
    one.page.close()
    other.page.close()


def test_captures_only_are_shown_without_labels(captures_only: Release, visit: Visit) -> None:
    with serve(captures_only, port=0) as address:
        visit.open(address)
        expect(visit.page.locator("body")).to_contain_text("This version holds captures only: no labels.")
        visit.picture_when(lambda picture: colours(picture) > 100)
    assert visit.complaints == []


def test_a_damaged_capture_costs_that_capture_only(damaged: Release, visit: Visit) -> None:
    with serve(damaged, port=0) as address:
        visit.open(address)
        text = visit.page.locator("body")
        expect(text).to_contain_text("damaged or edited after release")
        visit.page.get_by_text("Previous", exact=True).click()
        expect(text).to_contain_text("Quality")


def test_a_taken_port_is_named_and_everything_is_given_back(release: Release) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with serve(release, port=0) as address:
        port = int(address.rsplit(":", 1)[1])
        with (
            pytest.raises(ConflictError, match=rf"127.0.0.1:{port}: expected a free port.*in use.*--port"),
            serve(release, port=port),
        ):
            pass
    with serve(release, port=port) as again:
        assert again == address
    left = {thread.name for thread in threading.enumerate()} - before
    assert {name for name in left if name.startswith(("palm-view", "Thread", "ThreadPool"))} == set()
    with pytest.raises(ConflictError, match=r"192.0.2.1:0: expected a free port of this machine, found: Cannot assign"):
        serve(release, host="192.0.2.1", port=0).__enter__()
