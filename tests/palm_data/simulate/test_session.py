import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.capture.images import read_image
from palm_data.capture.layout import raw_subjects
from palm_data.capture.scan import read_scan
from palm_data.capture.tables import read_gestures, read_session, read_subjects
from palm_data.capture.tka import read_tka
from palm_data.evaluate.capture import evaluate_capture
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.session import Estimate, simulate_session
from schemas.errors import SettingsError
from schemas.settings import IngestSettings

OPTIONS = SimulateOptions(subjects=1, gestures=1, scale=0.03, seed=7, rgb_spp=2, mono_spp=1)
ARGUMENTS = [
    "--subjects",
    "1",
    "--gestures",
    "1",
    "--scale",
    "0.03",
    "--rgb-spp",
    "2",
    "--mono-spp",
    "1",
    "--jobs",
    "1",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny session, made in one go by two workers."""
    out = tmp_path_factory.mktemp("session")
    told: list[tuple[str, int, int]] = []
    estimates: list[Estimate] = []
    simulate_session(out, OPTIONS, jobs=2, progress=lambda *step: told.append(step), announce=estimates.append)
    assert [done for _, done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][1] == told[-1][2]
    assert estimates[0].captures == 1
    assert estimates[0].cpu_minutes > 0
    return out


def digests(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_the_raw_layout_is_the_rig_s(session: Path) -> None:
    raw = session / "raw"
    assert raw_subjects(raw) == ["0001"]
    assert read_subjects(raw).row("0001").subject_id == "0001"
    assert read_gestures(raw).row("flat").simple
    calibration = raw / "calibrations" / read_session(raw, "0001").calibration_id
    assert len(list(calibration.glob("*.tka"))) == 21
    assert len(list((calibration / "chrome_ball").glob("??_C.*.png"))) >= 4 * 7
    names = {path.name for path in (raw / "0001" / "flat").iterdir()}
    assert len([name for name in names if name.count(".") == 3]) == 21
    assert {"flat.000107.obj", "flat.000107.mtl", "flat.000107.png"} <= names


def test_images_have_the_size_that_the_calibration_states(session: Path) -> None:
    raw = session / "raw"
    for path in (raw / "0001" / "flat").glob("flat.000107.??_?.png"):
        raw_name = path.name.split(".")[2]
        (tka,) = raw.glob(f"calibrations/*/{raw_name}.tka")
        image = read_image(path, max_pixels=1_000_000)
        assert image.shape[:2] == read_tka(tka).image_size_px[::-1]
        assert image.ndim == (3 if raw_name.endswith("C") else 2)


def test_the_hand_stands_out_where_its_true_mask_is(session: Path) -> None:
    for path in (session / "raw" / "0001" / "flat").glob("*_C.png"):
        image = read_image(path, max_pixels=1_000_000).astype(float).mean(axis=2)
        mask = read_image(session / "truth" / "0001" / "flat" / f"{path.name.split('.')[2]}.png", max_pixels=1_000_000)
        sure = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
        empty = cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
        assert image[sure].mean() - image[empty].mean() > 40.0


def test_the_scan_reads_back_with_its_texture(session: Path) -> None:
    scan = read_scan(session / "raw" / "0001" / "flat" / "flat.000107.obj", limits=IngestSettings())
    assert scan.texture is not None
    assert scan.texture.name == "flat.000107.png"
    assert 0.15 < np.ptp(scan.vertices, axis=0).max() < 0.45


def test_truth_tells_what_evaluation_asks(session: Path) -> None:
    figures = evaluate_capture(session / "truth", session / "raw")
    assert figures["captures"] == 1
    assert figures["images"] == 21
    assert 0.3 < figures["oracle_model_to_surface_mm_mean"] < 1.2
    assert 0.2 < figures["foreground_median_srgb"] < 0.8
    assert figures["scan_to_surface_mm_median"] < 0.3
    assert figures["calibration_offset_px_mean"] < 0.1
    recorded = json.loads((session / "truth" / "truth.json").read_bytes())
    assert figures["foreground_median_srgb"] == recorded["foreground_median_srgb"]
    assert (session / "truth" / "environment.exr").stat().st_size > 1000


def test_nothing_but_raw_and_truth_is_left(session: Path) -> None:
    assert {path.name for path in session.iterdir()} == {"raw", "truth"}


def test_running_again_makes_nothing_anew(session: Path) -> None:
    images = sorted((session / "raw").rglob("*.png"))
    before = [path.stat().st_mtime_ns for path in images]
    simulate_session(session, OPTIONS, jobs=1, announce=lambda _: pytest.fail("there is nothing to do"))
    assert [path.stat().st_mtime_ns for path in images] == before


def test_other_options_in_the_same_folder_are_refused(session: Path) -> None:
    with pytest.raises(SettingsError, match="seed 7 → 8"):
        simulate_session(session, OPTIONS.model_copy(update={"seed": 8}))


def test_more_gestures_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--gestures: expected at most"):
        simulate_session(tmp_path, OPTIONS.model_copy(update={"gestures": 60}))


def test_interrupted_killed_and_resumed_the_bytes_are_those_of_one_go(session: Path, tmp_path: Path) -> None:
    plates = tmp_path / "partial" / "plates"
    code, text = _run_until(tmp_path, lambda: len(list(plates.glob("*.npy"))) >= 3, signal.SIGINT)
    assert code == 130, text
    assert "Interrupted" in text
    kept = len(list(plates.glob("*.npy")))
    code, _ = _run_until(tmp_path, lambda: len(list(plates.glob("*.npy"))) > kept, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "truth" / "truth.json").exists()
    simulate_session(tmp_path, OPTIONS, jobs=1)
    assert digests(tmp_path) == digests(session)


def _run_until(out: Path, reached: Callable[[], bool], number: int) -> tuple[int, str]:
    """Run `palm simulate` until something is reached, then send a signal; returns exit code and output."""
    program = "from pipelines.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", str(out), *ARGUMENTS],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    deadline = time.monotonic() + 300
    try:
        while not reached():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        text, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, text
