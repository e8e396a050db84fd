"""The main job, as its user runs it: three people, two gestures, from simulated raw files to verified, loadable releases."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from watchdog.events import FileClosedNoWriteEvent, FileOpenedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

import palm_data
from palm_data.store.verify import verify_release
from schemas.errors import StoreError

PALM = [str(Path(sys.executable).parent / "palm")]
SIZE = ("--subjects", "3", "--gestures", "2", "--scale", "0.125", "--rgb-spp", "16", "--mono-spp", "4")

CAPTURES, LABELS = "0.1.0", "0.2.0"
ENVIRONMENT = {**os.environ, "PALM_DETECTOR__TUNING_STEPS": "12"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.xdist_group("whole_run")]


def palm(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [*PALM, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def make(home: Path, out: Path, cwd: Path) -> None:
    """Both releases: first what was captured, then with labels."""
    places = ("--raw", home / "raw", "--workspace", out / "workspace", "--releases", out / "releases")
    captures = ("--select", '+key:"subject_shard" or key:"release"', "--captures-only")
    palm("materialize", *places, *captures, "--release", CAPTURES, cwd=cwd)
    palm("materialize", *places, "--release", LABELS, cwd=cwd)


class Opened(FileSystemEventHandler):
    """Remembers every file below a folder that any process opens, in Python or in C."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileOpenedEvent | FileClosedNoWriteEvent):
            self.paths.add(str(event.src_path))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session, taken through the whole pipeline while its truth is being watched."""
    home = tmp_path_factory.mktemp("whole")
    palm("simulate", home, *SIZE, cwd=home)
    opened, observer = Opened(), Observer()
    observer.schedule(opened, str(home / "truth"), recursive=True)
    observer.start()
    try:
        make(home, home, home)
        for version in (CAPTURES, LABELS):
            palm("verify", f"releases/{version}", cwd=home)
            palm("info", f"releases/{version}", cwd=home)
        (home / "opened.json").write_text(json.dumps(sorted(opened.paths)))
        # The watch itself must be able to fail.
        (home / "truth" / "truth.json").read_bytes()
        deadline = time.monotonic() + 30
        while not opened.paths and time.monotonic() < deadline:
            time.sleep(0.1)
        assert opened.paths, "the watch saw nothing although a file was opened"
    finally:
        observer.stop()
        observer.join()
    return home


def test_the_pipeline_never_opens_truth(home: Path) -> None:
    assert json.loads((home / "opened.json").read_text()) == []


@pytest.mark.parametrize("version", [CAPTURES, LABELS])
def test_the_release_opens_in_three_lines_and_holds_what_was_captured(home: Path, version: str) -> None:
    release = palm_data.open_release(home / "releases", version=version)
    assert release.subject_ids == ("0001", "0002", "0003")
    assert len(release) == 6
    for sample in release:
        assert sample.rgb.shape == (7, 256, 306, 3)
        assert sample.mask.any(axis=(1, 2)).all()
        assert np.array_equal(sample.mask, sample.depth > 0)
        assert np.allclose(np.linalg.norm(sample.normal[sample.mask], axis=1), 1.0, atol=1e-3)
        lit = sample.rgb[sample.mask].mean() - sample.rgb[~sample.mask].mean()
        assert lit > 40, "the hand stands out from the backdrop where the scan says it is"


def test_the_second_release_adds_labels_and_shares_every_other_file_with_the_first(home: Path) -> None:
    first, second = home / "releases" / CAPTURES, home / "releases" / LABELS
    assert palm_data.open_release(second).manifest.parent == CAPTURES
    shards = [path.relative_to(first) for path in first.rglob("shards/**/*") if path.is_file()]
    assert len(shards) > 50
    assert all((first / path).stat().st_ino == (second / path).stat().st_ino for path in shards)
    added = {path.relative_to(second).parts[2] for path in second.rglob("shards/**/*") if path.is_file()}
    assert added - {path.parts[2] for path in shards} == {"hand_mask", "training_mask"}
    with pytest.raises(StoreError, match=CAPTURES):
        _ = palm_data.open_release(first)[0].hand


def test_labels_are_where_the_hand_is(home: Path) -> None:
    for sample in palm_data.open_release(home / "releases", version=LABELS):
        assert sample.hand is not None
        assert sample.quality.quality_ok, sample.quality.reasons
        assert np.isfinite(sample.keypoints.points).all(axis=1).mean() >= 0.9
        overlap = (sample.hand_mask & sample.mask).sum() / sample.hand_mask.sum()
        assert overlap > 0.9
        assert (sample.training_mask & ~sample.mask).sum() < 0.05 * sample.training_mask.sum()


def test_the_labels_reach_the_papers_figures(home: Path) -> None:
    """Against the truth of the simulation; people that the tuned detector learned from are not scored."""
    found = json.loads(
        palm("evaluate", "annotation", "workspace", "--truth", "truth", "--raw", "raw", "--json", cwd=home)
    )
    assert found["subjects"] + found["subjects_refused"] == 3
    assert found["recall_10mm"] >= 0.95
    assert found["coverage"] >= 0.97
    assert found["joint_error_mm_mean"] <= 4.0
    assert found["fit_vs_keypoints_mm_mean"] <= 5.3
    assert found["model_to_scan_mm_mean"] <= 2.0
    assert found["border_share_mean"] <= 0.15
    assert found["model_to_truth_mm_mean"] <= 2.5
    assert found["silhouette_iou_mean"] >= 0.93


def test_depth_and_scan_tell_of_the_same_surface(home: Path) -> None:
    sample = palm_data.open_release(home / "releases", version=CAPTURES)[0]
    view = sample.view("MCU_03")
    camera = view.camera
    rows, columns = np.nonzero(view.mask)
    depth = view.depth[rows, columns]
    x = (columns + 0.5 - camera.cx) / camera.fx * depth
    y = (rows + 0.5 - camera.cy) / camera.fy * depth
    world = (np.stack([x, y, depth], axis=1) - camera.translation) @ np.asarray(camera.rotation)
    low, high = sample.scan.vertices.min(axis=0), sample.scan.vertices.max(axis=0)
    assert (world > low - 1e-3).all()
    assert (world < high + 1e-3).all()


def test_running_again_changes_nothing(home: Path) -> None:
    def files(folder: str) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (home / folder).rglob("*") if path.is_file()}

    releases, stages = files("releases"), files("workspace/stages")
    make(home, home, home)
    assert files("releases") == releases
    assert files("workspace/stages") == stages


def test_another_workspace_gives_the_same_releases_byte_for_byte(home: Path, tmp_path: Path) -> None:
    make(home, tmp_path, tmp_path)
    for version in (CAPTURES, LABELS):
        roots = [palm_data.open_release(path / "releases", version).manifest.merkle_root for path in (home, tmp_path)]
        assert roots[0] == roots[1]


def test_a_damaged_copy_is_named(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / LABELS
    shutil.copytree(home / "releases" / LABELS, copy)
    victim = next(path for path in sorted(copy.rglob("hand_mask/full/c/*/*")) if path.is_file() or path.is_dir())
    victim = victim if victim.is_file() else next(path for path in sorted(victim.rglob("*")) if path.is_file())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(content)
    report = verify_release(copy)
    assert victim.relative_to(copy).as_posix() in str(report)


def test_a_small_release_to_start_with(home: Path, tmp_path: Path) -> None:
    """Three people, one of each split, at most 30 MB, whole, with labels: what docs/quickstart.md begins with."""
    palm("mini", "releases", "--out", tmp_path / "mini", cwd=home)
    folder = tmp_path / "mini" / LABELS
    palm("verify", folder, cwd=home)
    release = palm_data.open_release(tmp_path / "mini")
    assert {split: len(release.filtered(split=split).subject_ids) for split in ("train", "val", "test")} == {
        "train": 1, "val": 1, "test": 1,
    }  # fmt: skip
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert 1_000_000 < size <= 30_000_000
    assert all(sample.hand is not None and sample.quality.quality_ok for sample in release)
    assert (folder / "report" / "index.html").stat().st_size > 50_000
