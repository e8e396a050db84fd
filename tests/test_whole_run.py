"""The main job, as its user runs it: two people, two gestures, from simulated raw files to a verified, loadable release."""

import json
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
from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import project, undistorted
from palm_data.capture.index import load_index
from palm_data.hand.model import load_hand_model
from palm_data.registration.hand_pose import make_hand_pose
from palm_data.registration.hand_shape import make_hand_shape
from palm_data.registration.posed import PosedHandFunction
from palm_data.registration.surface import MovingSurface
from palm_data.registration.wrist import WristRim
from palm_data.store.tables import read_rows, write_rows
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_2D, KEYPOINTS_2D_FILE
from palm_data.triangulation.stage import triangulate_subject
from schemas.annotation import Keypoint2DRow
from schemas.hand import HandRow
from schemas.settings import Settings, load_settings

PALM = [str(Path(sys.executable).parent / "palm")]
SIZE = ("--subjects", "2", "--gestures", "2", "--scale", "0.125", "--rgb-spp", "16", "--mono-spp", "4")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.xdist_group("whole_run")]


def palm(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([*PALM, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


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
        palm(
            "materialize",
            "--raw",
            "raw",
            "--workspace",
            "workspace",
            "--releases",
            "releases",
            "--release",
            "0.1.0",
            cwd=home,
        )
        palm("verify", "releases/0.1.0", cwd=home)
        palm("info", "releases/0.1.0", cwd=home)
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


def test_the_release_opens_in_three_lines_and_holds_what_was_captured(home: Path) -> None:
    release = palm_data.open_release(home / "releases", version="0.1.0")
    assert release.subject_ids == ("0001", "0002")
    assert len(release) == 4
    for sample in release:
        assert sample.rgb.shape == (7, 256, 306, 3)
        assert sample.mask.any(axis=(1, 2)).all()
        assert np.array_equal(sample.mask, sample.depth > 0)
        assert np.allclose(np.linalg.norm(sample.normal[sample.mask], axis=1), 1.0, atol=1e-3)
        lit = sample.rgb[sample.mask].mean() - sample.rgb[~sample.mask].mean()
        assert lit > 40, "the hand stands out from the backdrop where the scan says it is"


def test_depth_and_scan_tell_of_the_same_surface(home: Path) -> None:
    sample = palm_data.open_release(home / "releases")[0]
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
    before = {path: path.stat().st_mtime_ns for path in (home / "releases").rglob("*") if path.is_file()}
    palm(
        "materialize",
        "--raw",
        "raw",
        "--workspace",
        "workspace",
        "--releases",
        "releases",
        "--release",
        "0.1.0",
        cwd=home,
    )
    after = {path: path.stat().st_mtime_ns for path in (home / "releases").rglob("*") if path.is_file()}
    assert after == before


def test_another_workspace_gives_the_same_release_byte_for_byte(home: Path, tmp_path: Path) -> None:
    palm(
        "materialize", "--raw", home / "raw", "--workspace", tmp_path / "w", "--releases", tmp_path / "r", "--release", "0.1.0", cwd=tmp_path
    )  # fmt: skip
    roots = [palm_data.open_release(path).manifest.merkle_root for path in (home / "releases", tmp_path / "r")]
    assert roots[0] == roots[1]


def test_a_damaged_copy_is_named(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "0.1.0"
    shutil.copytree(home / "releases" / "0.1.0", copy)
    victim = next(path for path in sorted(copy.rglob("rgb/full/c/*/*")) if path.is_file() or path.is_dir())
    victim = victim if victim.is_file() else next(path for path in sorted(victim.rglob("*")) if path.is_file())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(content)
    report = verify_release(copy)
    assert victim.relative_to(copy).as_posix() in str(report)


def detections_of(home: Path, workspace: Workspace, settings: Settings, subject_id: str) -> None:
    """What a good detector would have seen: the true joints, three pixels at full size off. Truth is for tests."""
    index = load_index(workspace, subject_id)
    rng = np.random.default_rng(0)
    rows = []
    for capture in index.captures:
        with np.load(home / "truth" / subject_id / capture.gesture / "surface.npz", allow_pickle=False) as truth:
            joints = truth["joints"]
        for camera in load_cameras(workspace, index.session.calibration_id):
            pixels, _ = project(undistorted(camera), joints)
            for joint, (x, y) in enumerate(pixels + rng.normal(0, 3.0 * camera.width / 2448, pixels.shape)):
                rows.append(
                    Keypoint2DRow(
                        subject_id=subject_id, frame=capture.frame, camera_id=camera.camera_id, joint=joint, x_px=x, y_px=y, confidence=0.9
                    )
                )  # fmt: skip
    workspace.run_stage(
        KEYPOINTS_2D, subject_id, code_version="test", settings={}, inputs={},
        work=lambda folder: write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, rows),
    )  # fmt: skip


def test_hands_fit_the_captured_people(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "workspace", tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    settings = load_settings(raw=home / "raw", workspace=tmp_path / "workspace", releases=home / "releases")
    detections_of(home, workspace, settings, "0001")
    triangulate_subject("0001", workspace, settings)
    make_hand_shape("0001", workspace, settings)
    report = make_hand_pose("0001", workspace, settings)
    assert report.figures["joint_error_mm_mean"] <= 5.3
    assert report.figures["model_to_scan_mm_mean"] <= 2.0
    assert report.figures["silhouette_iou_mean"] >= 0.93
    model = load_hand_model()
    pose, rim = PosedHandFunction(model), WristRim(model)
    captures = {capture.frame: capture for capture in load_index(workspace, "0001").captures}
    for row in read_rows(workspace.output("hand_pose", "0001") / "hands.parquet", HandRow):
        frame = np.concatenate([row.global_orient, row.hand_pose, row.transl])
        vertices = pose(frame, np.array(row.betas)).vertices
        with np.load(
            home / "truth" / "0001" / captures[row.frame].gesture / "surface.npz", allow_pickle=False
        ) as truth:
            surface = MovingSurface(truth["faces"]).at(truth["vertices"])
        kept = vertices[~rim.near(vertices, 0.008)]
        assert np.linalg.norm(surface(kept).points - kept, axis=1).mean() <= 2.5e-3
    assert not make_hand_pose("0001", workspace, settings).ran
