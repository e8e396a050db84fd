"""Card, datasheet, changelog: what they say is counted from the version, and what nobody said is said to be so."""

import re
from pathlib import Path

import pytest

from palm_data.report.papers.changelog import compare
from palm_data.report.papers.facts import NOT_STATED
from palm_data.store.manifest import read_manifest
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace, write_subjects
from schemas.release import FileRow
from schemas.settings import Settings, without_labels

PAPERS = ("README.md", "DATASHEET.md", "CHANGELOG.md", "croissant.json", "LICENSE")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_workspace(tmp_path)


def published(tiny: Tiny, version: str = "0.1.0", settings: Settings | None = None) -> Path:
    settings = settings or tiny.settings
    publish_release(version, tiny.workspace, settings)
    return settings.releases / version


def with_texts(tiny: Tiny, **texts: object) -> Settings:
    release = type(tiny.settings.release).model_validate({**tiny.settings.release.model_dump(), **texts})
    return tiny.settings.model_copy(update={"release": release})


def row(path: str, content: str, subject_id: str | None = None, modality: str = "rgb") -> FileRow:
    return FileRow(path=path, bytes=len(content), sha256=content[0] * 64, subject_id=subject_id, modality=modality)


def test_every_paper_is_part_of_the_version_and_under_its_identity(tiny: Tiny) -> None:
    folder = published(tiny)
    assert all((folder / name).is_file() for name in PAPERS)
    before = verify_release(folder).merkle_root
    other = published(tiny, "0.2.0", with_texts(tiny, contact="palm@example.org"))
    assert verify_release(other).passed
    assert verify_release(other).merkle_root != before


def test_papers_are_the_same_bytes_wherever_and_whenever_they_are_made(tmp_path: Path) -> None:
    first, second = (published(tiny_workspace(tmp_path / place)) for place in ("here", "elsewhere"))
    for name in (*PAPERS, "report/left_out.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert read_manifest(first).merkle_root == read_manifest(second).merkle_root


def test_what_the_publisher_has_not_said_is_not_made_up(tiny: Tiny) -> None:
    sheet = (published(tiny) / "DATASHEET.md").read_text()
    for section in ("Motivation", "Collection", "Ethical review", "Consent", "Distribution", "Maintenance"):
        (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", sheet, re.DOTALL | re.MULTILINE)
        assert NOT_STATED in body, section
    assert "Whether real people were captured: not stated." in sheet


def test_what_the_publisher_says_stands_where_it_belongs(tiny: Tiny) -> None:
    texts = {
        "title": "HANDS", "authors": ["A. Person", "B. Person"], "contact": "hands@example.org", "consent": "In writing.",
        "collection": "In spring, in one room.", "known_bias": "Few gardeners.", "origin": "real", "citation": "@misc{hands}",
        "license_name": "CC-BY-NC-4.0", "languages": ["en", "de"], "out_of_scope": "Finding people.",
    }  # fmt: skip
    folder = published(tiny, settings=with_texts(tiny, **texts))
    sheet, card = (folder / "DATASHEET.md").read_text(), (folder / "README.md").read_text()
    for text in (
        "In writing.",
        "In spring, in one room.",
        "Few gardeners.",
        "Real people were captured.",
        "Finding people.",
    ):
        assert text in sheet
    for text in (
        "# HANDS release 0.1.0",
        "A. Person, B. Person",
        "    @misc{hands}",
        'license_name: "CC-BY-NC-4.0"',
        '["en", "de"]',
    ):
        assert text in card


def test_a_rig_that_calls_itself_simulated_is_believed(tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, rig_serial="3DMD-SIM-0007")
    assert "no real person is shown" in (published(tiny) / "DATASHEET.md").read_text()


def test_people_are_counted_by_band_and_split(tiny: Tiny) -> None:
    card = (published(tiny) / "README.md").read_text()
    assert "| Sex: female | 1 | 0 | 0 | 1 | 50 % |" in card
    assert "| Age, years: 61-70 | 0 | 0 | 0 | 0 | 0 % |" in card


def test_a_version_of_captures_does_not_speak_of_labels(tiny: Tiny) -> None:
    folder = published(tiny, settings=without_labels(tiny.settings))
    assert (
        "Labels (keypoints, fitted hands, quality) are not part of this version."
        in (folder / "DATASHEET.md").read_text()
    )
    assert "hands.parquet" not in (folder / "croissant.json").read_text()


def test_the_changelog_says_who_came_who_went_and_what_is_new(tiny: Tiny) -> None:
    first = published(tiny, settings=without_labels(tiny.settings))
    assert (first / "CHANGELOG.md").read_text().endswith("The first version: it has no parent.\n")
    add_subject(tiny.workspace, tiny.settings, "0003")
    write_subjects(tiny.settings.raw, ["0001", "0002", "0003"], withdrawn=["0002"])
    text = (published(tiny, "0.2.0") / "CHANGELOG.md").read_text()
    assert "Since 0.1.0, its parent:" in text
    assert "- Added 1 subject: 0003." in text
    assert "- Withdrawn by themselves: 1 subject." in text
    assert "0002" not in text
    assert "- New tables: hands, keypoints_2d, keypoints_3d, quality." in text
    assert "- Files of `hand_mask`, subjects of both versions: 4 added." in text


def test_files_are_compared_by_path_and_content() -> None:
    before = [
        row("shards/0001.zarr/rgb/full/c/0/0", "a", "0001"), row("shards/0001.zarr/rgb/full/c/1/0", "b", "0001"),
        row("shards/0002.zarr/rgb/full/c/0/0", "c", "0002"), row("tables/hands.parquet", "dd", modality="table"),
        row("README.md", "e", modality="document"),
    ]  # fmt: skip
    now = [
        row("shards/0001.zarr/rgb/full/c/0/0", "f", "0001"), row("shards/0003.zarr/rgb/full/c/0/0", "c", "0003"),
        row("tables/quality.parquet", "00", modality="table"), row("README.md", "1", modality="document"),
    ]  # fmt: skip
    changes = compare(before, now)
    assert (changes.subjects_added, changes.subjects_removed) == (("0003",), ("0002",))
    assert changes.captures == {"0001": (2, 1)}
    assert changes.changed == {"rgb": (0, 1, 1), "table": (1, 1, 0)}
    assert (changes.tables_added, changes.tables_removed) == (("quality",), ("hands",))
    assert (changes.bytes_shared, changes.bytes_new) == (1, 3)
