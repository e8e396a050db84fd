"""The page as people see it: in Chromium, on a desk and on a phone, light and dark, with and without JavaScript."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser

from palm_data.store.release import publish_release
from palm_data.testing.tiny import tiny_workspace
from schemas.settings import without_labels
from tests.palm_data.report.papers.browser import PHONE, Visit, chromium, visit

_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("h1, h2, h3, p, a, b, dt, dd, th, td, figcaption, summary, button, svg text, li, span, code")) {
    if (!one.textContent.trim() || !one.getClientRects().length) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(parse(one instanceof SVGElement ? style.fill : style.color)), light(behind(one))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.tagName + " " + one.textContent.slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = tiny_workspace(tmp_path_factory.mktemp("page"), ("0001", "0002", "0003"))
    publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings))
    publish_release("0.2.0", tiny.workspace, tiny.settings)
    return tiny.settings.releases / "0.2.0" / "report" / "index.html"


def nothing_asked_nothing_wrong(opened: Visit, path: Path) -> None:
    assert opened.requests == [path.as_uri()]
    assert opened.complaints == []


def test_the_page_asks_for_nothing_and_complains_of_nothing(browser: Browser, report: Path) -> None:
    with visit(browser, report) as opened:
        opened.page.wait_for_function("document.getElementById('view3d').width > 300")
        assert opened.page.title() == "PALM 0.2.0"
        broken = "[...document.images].filter((one) => !one.complete || !one.naturalWidth).length"
        assert opened.page.evaluate(broken) == 0
        assert opened.page.evaluate("document.images.length") > 10
        nothing_asked_nothing_wrong(opened, report)


def test_the_hand_is_drawn_and_turns(browser: Browser, report: Path) -> None:
    with visit(browser, report) as opened:
        canvas = opened.page.locator("#view3d")
        canvas.wait_for(state="visible")
        opened.page.get_by_role("button", name="Fitted hand").click()
        opened.page.wait_for_timeout(200)
        first = _pixels(canvas.screenshot())
        assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50  # a shaded surface, not an empty box
        canvas.focus()
        for _ in range(6):
            opened.page.keyboard.press("ArrowRight")
        opened.page.wait_for_timeout(200)
        assert (_pixels(canvas.screenshot()) != first).any(axis=-1).mean() > 0.02
        nothing_asked_nothing_wrong(opened, report)


def test_without_javascript_all_but_the_turning_hand_is_there(browser: Browser, report: Path) -> None:
    with visit(browser, report, javascript=False) as opened:
        page = opened.page
        assert page.locator("#viewer3d").is_hidden()
        assert page.get_by_text("Where scripts and WebGL may run").is_visible()
        assert page.locator("main section").count() == 9
        assert page.locator("svg[role=img]").first.is_visible()
        page.locator("summary").first.click()
        assert page.locator("details table").first.is_visible()
        nothing_asked_nothing_wrong(opened, report)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways_and_every_text_can_be_read(
    browser: Browser, report: Path, scheme: str
) -> None:
    with visit(browser, report, size=PHONE, scheme=scheme) as opened:  # type: ignore[arg-type]
        page = opened.page
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        lowest, text = page.evaluate(_CONTRAST)
        assert lowest >= 4.5, text
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(value) for value in paper.strip("rgb()").split(",")) / 3
        assert brightness > 200 if scheme == "light" else brightness < 60


def test_everything_has_a_name_for_those_who_do_not_see_it(browser: Browser, report: Path) -> None:
    with visit(browser, report) as opened:
        page = opened.page
        for role in ("img", "button", "link", "region"):
            found = page.get_by_role(role).all()
            assert found, role
            unnamed = [one for one in found if not one.evaluate(
                "one => one.getAttribute('alt') || one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.textContent"
            )]  # fmt: skip
            assert unnamed == [], role
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_version_of_captures_has_a_page_too(browser: Browser, report: Path) -> None:
    captures = report.parents[2] / "0.1.0" / "report" / "index.html"
    with visit(browser, captures) as opened:
        opened.page.locator("#view3d").wait_for(state="visible")
        assert opened.page.get_by_role("button", name="Fitted hand").count() == 0
        assert opened.page.get_by_text("This version holds captures only").is_visible()
        nothing_asked_nothing_wrong(opened, captures)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))
