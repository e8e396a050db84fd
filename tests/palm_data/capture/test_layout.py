import os
from pathlib import Path

import pytest

from palm_data.capture.layout import find_files, listing_digest, raw_subjects
from schemas.errors import BadInputError


def session(folder: Path, *names: str) -> Path:
    """A raw root with one subject and the given empty files below it."""
    for name in ("session.json", *names):
        path = folder / "0001" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_subjects_are_folders_of_four_digits(tmp_path: Path) -> None:
    for name in ("0002", "0001", "calibrations", "12345", "000a"):
        (tmp_path / name).mkdir()
    (tmp_path / "0003").touch()
    assert raw_subjects(tmp_path) == ["0001", "0002"]
    with pytest.raises(BadInputError, match="raw root"):
        raw_subjects(tmp_path / "nowhere")


def test_files_sort_into_captures(tmp_path: Path) -> None:
    raw = session(
        tmp_path,
        *(f"fist/fist.000012.01_{camera}.png" for camera in "ABC"), "fist/fist.000012.obj", "fist/fist.000012.mtl",
        "fist/fist.000003.02_C.TIF", "fist/fist.000003.PLY", "fist/skin.png", "half_open2/half_open2.000012.01_C.JPG",
    )  # fmt: skip
    files = find_files(raw, "0001")
    assert [(item.gesture, item.raw_frame) for item in files.captures] == [
        ("fist", 3),
        ("fist", 12),
        ("half_open2", 12),
    ]
    assert list(files.captures[1].images) == ["MCU_01", "MCU_01_A", "MCU_01_B"]
    assert [path.name for path in files.captures[1].scans] == ["fist.000012.obj"]
    assert [path.name for path in files.companions["fist"]] == ["fist.000012.mtl", "skin.png"]
    assert not files.misplaced


def test_duplicates_are_kept_together_for_whoever_judges_them(tmp_path: Path) -> None:
    raw = session(
        tmp_path,
        "fist/fist.000001.01_C.png",
        "fist/fist.000001.01_C.bmp",
        "fist/fist.000001.obj",
        "fist/fist.000001.ply",
    )
    (capture,) = find_files(raw, "0001").captures
    assert [len(paths) for paths in capture.images.values()] == [2]
    assert len(capture.scans) == 2


def test_misplaced_files_are_named(tmp_path: Path) -> None:
    raw = session(tmp_path, "notes.txt", "Bad Name/x.png", "fist/wave.000001.01_C.png", ".DS_Store", "fist/Thumbs.db")
    found = find_files(raw, "0001")
    assert [(item.gesture, item.error.found) for item in found.misplaced] == [
        ("Bad Name", "Bad Name"), ("fist", "wave.000001.01_C.png"), ("", "notes.txt"),
    ]  # fmt: skip
    assert not found.captures


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "wave").mkdir(parents=True)
    (outside / "secret.png").touch()
    raw = session(tmp_path / "raw", "fist/fist.000001.02_C.png")
    (raw / "0001" / "fist" / "fist.000001.01_C.png").symlink_to(outside / "secret.png")
    (raw / "0001" / "fist" / "fist.000001.03_C.png").symlink_to(raw / "0001" / "fist" / "fist.000001.02_C.png")
    (raw / "0001" / "wave").symlink_to(outside / "wave")
    (raw / "0001" / "fist" / "fist.000001.04_C.png").symlink_to(tmp_path / "loop")
    (tmp_path / "loop").symlink_to(raw / "0001" / "fist" / "fist.000001.04_C.png")
    found = find_files(raw, "0001")
    assert list(found.captures[0].images) == ["MCU_02", "MCU_03"]
    assert sorted(item.error.found for item in found.misplaced) == [
        "fist.000001.01_C.png",
        "fist.000001.04_C.png",
        "wave",
    ]
    (raw / "0002").symlink_to(outside)
    with pytest.raises(BadInputError, match="inside the raw root"):
        find_files(raw, "0002")


def test_the_listing_changes_with_names_sizes_and_times_only(tmp_path: Path) -> None:
    folder = session(tmp_path, "fist/a.png") / "0001"
    before = listing_digest(folder)
    assert listing_digest(folder) == before
    os.utime(folder / "fist" / "a.png", ns=(1, 1))
    touched = listing_digest(folder)
    (folder / "fist" / "a.png").write_bytes(b"x")
    os.utime(folder / "fist" / "a.png", ns=(1, 1))
    grown = listing_digest(folder)
    (folder / "fist" / "a.png").rename(folder / "fist" / "b.png")
    renamed = listing_digest(folder)
    assert len({before, touched, grown, renamed}) == 4
    (folder / "fist" / "lost.png").symlink_to(folder / "nowhere")
    assert listing_digest(folder) != renamed
