"""What nothing refers to is found and removed; everything else stays."""

import fcntl
import os
from pathlib import Path

import pytest

from palm_data.store.leftovers import release_leftovers, workspace_leftovers
from palm_data.store.manifest import versions
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, tiny_workspace


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    made = tiny_workspace(tmp_path, ["0001"])
    publish_release("0.1.0", made.workspace, made.settings)
    return made


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_after_a_good_run_there_is_nothing_to_remove(tiny: Tiny) -> None:
    assert release_leftovers(tiny.settings.releases) == []
    assert workspace_leftovers(tiny.workspace) == []


def test_the_dead_are_cleared_away_and_the_living_are_not(tiny: Tiny) -> None:
    releases = tiny.settings.releases
    before = files(releases)
    dead = write(releases / ".partial" / "0.2.0.dead" / "tree" / "README.md", 70)
    write(releases / ".partial" / "0.2.0.dead.lock", 0)
    living = write(releases / ".partial" / "0.2.0.live" / "tree" / "README.md", 50)
    abandoned = write(releases / "0.2.0" / "tables" / "a.parquet", 300)
    os.link(releases / "0.1.0" / "LICENSE", releases / "0.2.0" / "LICENSE")  # costs nothing, so frees nothing
    write(releases / "notes" / "mine.txt", 5)
    lock = os.open(releases / ".partial" / "0.2.0.live.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    named = release_leftovers(releases)
    assert [(Path(item.path), item.kind, item.bytes) for item in named] == [
        (dead.parents[1], "publisher", 70), (releases / "0.2.0", "abandoned version", 300),
    ]  # fmt: skip
    assert abandoned.exists()
    assert release_leftovers(releases, delete=True) == named
    os.close(lock)
    assert files(releases) == {*before, living, releases / "notes" / "mine.txt"}
    assert versions(releases) == ["0.1.0"]
    assert verify_release(releases / "0.1.0").passed


def test_outputs_that_no_record_names_go_and_current_ones_stay(tiny: Tiny) -> None:
    root = tiny.workspace.root
    before = files(root)
    old = write(root / "stages" / "scan_maps" / "0001" / ("0" * 64) / "maps.bin", 40)
    orphan = write(root / "stages" / "scan_maps" / "0009" / ("1" * 64) / "maps.bin", 30)
    work = write(root / "partial" / "quality" / "0001" / "abc" / "half.bin", 20)
    busy = write(root / "partial" / "hand_pose" / "0001" / "abc" / "half.bin", 10)
    lock = os.open(root / "locks" / "hand_pose" / "0001.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    found = workspace_leftovers(tiny.workspace, delete=True)
    os.close(lock)
    assert {(Path(item.path), item.kind, item.bytes) for item in found} == {
        (old.parent, "stage output", 40), (orphan.parent, "stage output", 30),
        (work.parents[1], "work in progress", 20),
    }  # fmt: skip
    assert files(root) == {*before, busy}


def test_where_a_record_is_damaged_nothing_of_its_stage_is_removed(tiny: Tiny) -> None:
    record = tiny.workspace.root / "stages" / "quality" / "0001" / "record.json"
    record.write_bytes(record.read_bytes()[:20])
    before = files(tiny.workspace.root)
    assert workspace_leftovers(tiny.workspace, delete=True) == []
    assert files(tiny.workspace.root) == before
