"""The viewer in a headless browser that draws without a graphics card.

Run by hand on the demo: `python -m tests.palm_data.view.browser demo/releases --out docs/images/viewer.png`.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

import palm_data
from palm_data.view.server import serve
from tests.pipelines.screenshots import chromium

_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
_PATIENCE_MS = 120_000
expect.set_options(timeout=_PATIENCE_MS)
_SETTLE_MS = 8_000
_PANEL = 320
"""Width of the panel, px."""


@dataclass
class Visit:
    """A page, what it complained about, and where it looked for anything."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Go there, and wait until a capture (or that there is none) is told."""
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(_PATIENCE_MS)
        # A slow page would be drawn at fewer pixels than another that shows the same.
        self.page.goto(f"{address.rstrip('/')}/?fixedDpr=1", wait_until="domcontentloaded")
        self.page.get_by_text("Subject 0").first.wait_for()

    def choose(self, picker: str, option: str) -> None:
        """Pick an option of a dropdown."""
        box = self.page.get_by_text(picker, exact=True).locator("xpath=following::input[1]")
        box.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def tick(self, label: str) -> None:
        """Turn a checkbox the other way."""
        self.page.get_by_text(label, exact=True).locator("xpath=following::input[1]").click()

    def picture(self) -> np.ndarray:
        """What is seen left of the panel now."""
        size = self.page.viewport_size or {"width": 0, "height": 0}
        clip = {"x": 0.0, "y": 0.0, "width": float(size["width"] - _PANEL - 30), "height": float(size["height"])}
        shot = self.page.screenshot(clip=clip, timeout=_PATIENCE_MS)  # type: ignore[arg-type]
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def picture_when(self, wanted: Callable[[np.ndarray], bool]) -> np.ndarray:
        """What is seen once it is as wanted: pictures are drawn slowly here, long after the panel has changed."""
        limit = time.monotonic() + _PATIENCE_MS / 1000
        while not wanted(picture := self.picture()):
            assert time.monotonic() < limit, "expected another picture"
            self.page.wait_for_timeout(300)
        return picture


@contextmanager
def browser(*, width: int = 720, height: int = 420) -> Iterator[BrowserContext]:
    """A browser with a fresh profile."""
    with ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory())
        playwright = stack.enter_context(sync_playwright())
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium(), args=list(_ARGUMENTS), viewport={"width": width, "height": height}
        )
        stack.callback(context.close)
        yield context


def hush(page: Page) -> None:
    """Close the page's remark that there is no graphics card."""
    button = page.locator(".mantine-Notification-closeButton")
    for _ in range(button.count()):
        button.first.click()


def main() -> None:
    """Write the picture that the documentation shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("releases", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/viewer.png"))
    parser.add_argument("--subject", default="0001")
    parser.add_argument("--gesture", default="flat")
    arguments = parser.parse_args()
    release = palm_data.open_release(arguments.releases)
    with (
        serve(release, port=0, subject_id=arguments.subject, gesture=arguments.gesture) as address,
        browser(width=1280, height=760) as context,
    ):
        visit = Visit(context.new_page())
        visit.open(address)
        visit.page.wait_for_timeout(_SETTLE_MS)
        hush(visit.page)
        visit.page.wait_for_timeout(_SETTLE_MS)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        visit.page.screenshot(path=arguments.out, timeout=_PATIENCE_MS)


if __name__ == "__main__":
    main()
