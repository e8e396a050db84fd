"""Dagster's web page in a headless browser: what it shows of a materialized workspace, as pictures.

Run by hand on the demo: `python -m tests.pipelines.screenshots --workspace demo/workspace --out docs/images`.
"""

import argparse
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

from pipelines.cli.ui import HOST, start, stop, wait_until_up
from schemas.settings import Settings, load_settings

ASSETS = (
    "raw_session", "capture_index", "calibration", "scan_maps", "subject_shard",
    "detector", "keypoints_2d", "keypoints_3d", "hand_shape", "hand_pose", "hand_maps", "quality", "subject_labels", "release",
)  # fmt: skip
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_PATIENCE_MS = 60_000
_SETTLE_MS = 2_000
_SIZE = {"width": 1600, "height": 900}


@dataclass
class Browser:
    """A page on the running web server, and what it complained about."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Go to a page of the server."""
        self.page.goto(f"{self.url}{path}", wait_until="domcontentloaded")


def chromium() -> str | None:
    """The browser of this machine, under any of its names."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def dagster_page(settings: Settings) -> Iterator[Browser]:
    """`palm ui` on a free port, and a browser on it with a fresh profile."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    process = start(settings, port)
    try:
        wait_until_up(process, port)
        with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                profile, executable_path=chromium(), args=list(_ARGUMENTS), viewport=_SIZE
            )
            page = context.pages[0] if context.pages else context.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            expect.set_options(timeout=_PATIENCE_MS)
            browser = Browser(page, f"http://{HOST}:{port}")
            page.on("console", lambda message: _note(browser, message))
            page.on("pageerror", lambda error: browser.complaints.append(str(error)))
            yield browser
            context.close()
    finally:
        stop(process)


def _note(browser: Browser, message: ConsoleMessage) -> None:
    if message.type == "error":
        browser.complaints.append(message.text)


def show_graph(browser: Browser) -> None:
    """The asset graph, its groups opened, every asset on it and nothing in front of it."""
    browser.open("/asset-groups")
    page = browser.page
    expect(page.get_by_text("Materialize all").first).to_be_visible()
    expect(page.get_by_text("capture", exact=True).first).to_be_visible()
    page.keyboard.press("Alt+e")
    for name in ASSETS:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def enlarge_graph(browser: Browser) -> None:
    """Draw the graph anew in a window so wide that nodes show their details."""
    page = browser.page
    page.get_by_text("Hide navigation").click()
    page.set_viewport_size({"width": 2300, "height": 1500})
    page.reload(wait_until="domcontentloaded")
    expect(page.get_by_text("subject_shard", exact=True).first).to_be_visible()


def show_picture(browser: Browser, asset: str, partition: str) -> dict[str, float]:
    """A partition's page with its picture open; returns the picture's size in its own pixels."""
    browser.open(f"/assets/{asset}?view=partitions&partition={partition}")
    page = browser.page
    row = page.locator("tr", has=page.get_by_text("picture", exact=True)).first
    row.get_by_text("[Show Markdown]").click()
    picture = page.locator('img[src^="data:image/"]').first
    expect(picture).to_be_visible()
    return dict(picture.evaluate("image => ({width: image.naturalWidth, height: image.naturalHeight})"))


def main() -> None:
    """Write the pictures that the documentation shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--asset", default="hand_pose")
    parser.add_argument("--subject", default="0003")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with dagster_page(load_settings(workspace=arguments.workspace)) as browser:
        show_graph(browser)
        enlarge_graph(browser)
        browser.page.wait_for_timeout(_SETTLE_MS)
        browser.page.screenshot(path=arguments.out / "asset_graph.png")
        browser.page.set_viewport_size({"width": 1500, "height": 680})  # the paths of this machine lie below
        show_picture(browser, arguments.asset, arguments.subject)
        browser.page.wait_for_timeout(_SETTLE_MS)
        browser.page.screenshot(path=arguments.out / "asset_picture.png")


if __name__ == "__main__":
    main()
