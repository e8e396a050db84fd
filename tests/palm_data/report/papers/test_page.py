"""The page as text: what is in it, what is not, how large it may be, and that it is always the same."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pytest

from palm_data.report.papers import tiles
from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.facts import BANDS, ROW_MODELS, ReleaseFacts
from palm_data.report.papers.markup import Markup, tag
from palm_data.report.papers.page import page
from palm_data.store.plan import ReleasePlan
from palm_data.store.release import publish_release
from palm_data.testing.tiny import Tiny, tiny_workspace, write_subjects
from schemas.arrow import arrow_schema
from schemas.settings import QualitySettings, ReleaseSettings, Settings, without_labels
from tests.palm_data.report.papers.test_meshes import sphere

MAX_PAGE_BYTES = 4_000_000


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_workspace(tmp_path)


def published_page(tiny: Tiny, version: str = "0.1.0", settings: Settings | None = None) -> str:
    settings = settings or tiny.settings
    publish_release(version, tiny.workspace, settings)
    return (settings.releases / version / "report" / "index.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """What a page refers to and how it is built."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.images: list[Mapping[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.references += [value for key, value in attributes if key in ("src", "href") and value]
        self.ids += [value for key, value in attributes if key == "id" and value]
        self.images += [known] if name == "img" else []


def test_nothing_on_it_comes_from_elsewhere(tiny: Tiny) -> None:
    text = published_page(tiny)
    reader = Reader(text)
    files = {"../README.md", "../DATASHEET.md", "../LICENSE", "../CHANGELOG.md", "../croissant.json", "left_out.json"}
    assert {one for one in reader.references if not one.startswith(("#", "data:"))} == files
    assert not re.search(r"url\(|@import|https?://", text)
    assert len(reader.ids) == len(set(reader.ids))
    targets = {one.removeprefix("#") for one in reader.references if one.startswith("#")}
    assert targets <= set(reader.ids)
    assert all(image["alt"] for image in reader.images)


def test_it_shows_people_errors_cameras_and_the_worst(tiny: Tiny) -> None:
    text = published_page(tiny)
    for name in (
        "Sex",
        "Age, years",
        "Height, cm",
        "Skin tone",
        "Triangulation",
        "Hand to scan",
        "Scan to hand",
        "Hand in the images, IoU",
    ):
        assert f"<h3>{name}</h3>" in text
    assert "InterHand2.6M" in text
    assert "MCU_02" in text
    assert "0002 · " in text
    assert "joints: expected at least 3, found 2" in text  # why the capture without a hand is the worst


def test_a_version_of_captures_has_one_without_figures_of_labels(tiny: Tiny) -> None:
    text = published_page(tiny, settings=without_labels(tiny.settings))
    assert "This version holds captures only" in text
    assert "Triangulation" not in text
    assert "quality_ok" not in text


def test_who_withdrew_is_not_on_it_at_all(tiny: Tiny) -> None:
    assert "0002" in published_page(tiny)
    write_subjects(tiny.settings.raw, ["0001", "0002"], withdrawn=["0002"])
    assert not re.search(r"(?<![\w+/])0002(?![\w+/])", published_page(tiny, "0.2.0"))


def test_text_of_people_cannot_become_markup(tiny: Tiny) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    release = tiny.settings.release.model_copy(update={"contact": attack, "title": attack})
    text = published_page(tiny, settings=tiny.settings.model_copy(update={"release": release}))
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert tag("p", attack, title=f'"{attack}').count("<") == 2
    assert tag("p", Markup("<b>kept</b>")) == "<p><b>kept</b></p>"


def test_pictures_beyond_the_bound_are_left_out_and_counted(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = published_page(tiny)
    monkeypatch.setattr(tiles, "MAX_PICTURE_BYTES", 6_000)
    text = published_page(tiny, "0.2.0")
    assert len(Reader(text).images) < len(Reader(whole).images)
    left_out = len(Reader(whole).images) - len(Reader(text).images)
    assert f"Left out for size: {left_out} pictures." in text
    assert "so that the page stays small" in text


def test_a_page_of_263_people_stays_below_4_megabytes() -> None:
    facts, arrays = many(people=263, gestures=50)
    text = page(facts, cast("Arrays", arrays), None)
    assert 1_000_000 < len(text.encode()) < MAX_PAGE_BYTES
    assert re.search(r"\b5\d of 263 people pictured, so that the page stays small\.", text)
    assert re.search(r"Left out for size: \d+ pictures?\.", text)
    assert text == page(facts, cast("Arrays", arrays), None)


class Noise:
    """Arrays of a release that was never made: the least compressible pictures there are, and scans of 60,000 vertices."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._rgb = rng.integers(0, 256, (256, 306, 3), dtype=np.uint8)
        mesh = sphere(250)
        self._scan, self._faces = mesh.vertices, mesh.faces

    def has(self, subject_id: str, name: str) -> bool:
        return name.startswith(("rgb", "mask", "normal"))

    def view(self, subject_id: str, name: str, row: int, view: int) -> np.ndarray:
        if name.startswith("mask"):
            return np.full(self._rgb.shape[:2], 255, dtype=np.uint8)
        return self._rgb.astype(np.int16) * 100 if name.startswith("normal") else self._rgb

    def rows(self, subject_id: str, name: str, offsets: str, row: int) -> np.ndarray:
        return self._scan if name == "scan/vertices" else self._faces


def many(people: int, gestures: int) -> tuple[ReleaseFacts, Noise]:
    """The captures of many people, without labels."""
    names = [f"{number:04d}" for number in range(1, people + 1)]
    captures = [(name, frame) for name in names for frame in range(1, gestures + 1)]
    cameras = [f"MCU_{number:02d}" for number in range(1, 8)]
    rows = {
        "subjects": [{"subject_id": one, "captures": gestures, **{column: bands[int(one) % len(bands)] for column, bands in BANDS.items()}}
                     for one in names],
        "gestures": [{"gesture": f"pose{number}", "description": "a pose", "simple": number == 1} for number in range(1, gestures + 1)],
        "captures": [{"subject_id": one, "frame": frame, "array_index": frame - 1, "gesture": f"pose{frame}", "raw_frame": frame,
                      "calibration_id": "rig", "scan_file": "a.obj", "scan_sha256": "0" * 64, "scan_vertices": 1, "scan_faces": 1,
                      "silhouette_iou_mean": 0.9} for one, frame in captures],
        "images": [{"subject_id": one, "frame": frame, "camera_id": camera, "view_index": view, "present": True, "raw_file": None,
                    "raw_sha256": None, "turn_deg": 0, "mask_px": 100, "silhouette_iou": 0.9}
                   for one, frame in captures for view, camera in enumerate(cameras)],
        "cameras": [{"subject_id": one, "camera_id": camera, "calibration_id": "rig", "width": 306, "height": 256,
                     "intrinsics": [1.0] * 9, "world_to_camera": np.eye(4).ravel().tolist(), "raw_intrinsics": [1.0] * 9,
                     "raw_distortion": [0.0] * 5, "turn_deg": 0} for one in names for camera in cameras],
        "splits": [{"subject_id": one, "split": "train", "since": "0.1.0"} for one in names],
    }  # fmt: skip
    tables = {name: pa.Table.from_pylist(one, schema=arrow_schema(ROW_MODELS[name])) for name, one in rows.items()}
    counts = {
        "subjects": people,
        "captures": len(captures),
        "images": 7 * len(captures),
        "subjects_left_out": 0,
        "captures_quarantined": 0,
    }
    plan = ReleasePlan(version="1.0.0", parent=None, parent_splits=(), included=(), left_out=(), withdrawn=())
    facts = ReleaseFacts(
        plan=plan, publisher=ReleaseSettings(), quality=QualitySettings(), tables=tables, files=(), counts=counts, parent=None, origin=None
    )  # fmt: skip
    return facts, Noise()
