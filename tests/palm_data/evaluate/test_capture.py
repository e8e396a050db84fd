import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palm_data.capture.tka import format_tka
from palm_data.evaluate.capture import _calibration_offset_px, evaluate_capture
from palm_data.simulate.rig import CALIBRATION_ID, F_NUMBER, make_rig
from palm_data.simulate.truth import CamerasTruth, histogram_median, read_arrays, write_arrays
from pipelines.cli.main import app
from schemas.errors import BadInputError


def test_an_unfinished_session_is_named_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="Run palm simulate to its end"):
        evaluate_capture(tmp_path, tmp_path)


def test_the_command_passes_the_error_on(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "capture", str(tmp_path), "--raw", str(tmp_path), "--json"])
    assert isinstance(result.exception, BadInputError)


def test_a_perfect_calibration_is_no_pixel_off_and_a_moved_one_is(tmp_path: Path) -> None:
    cameras = make_rig(7, 0.125).cameras
    truth = CamerasTruth(calibration_id=CALIBRATION_ID, cameras=cameras, f_number=F_NUMBER)
    folder = tmp_path / "calibrations" / CALIBRATION_ID
    folder.mkdir(parents=True)

    def write(shift_px: float) -> float:
        for camera in cameras:
            x, y = camera.principal_point_px
            moved = camera.model_copy(update={"principal_point_px": (x + shift_px, y)})
            (folder / f"{camera.raw_name}.tka").write_bytes(format_tka(moved).encode("ascii"))
        return _calibration_offset_px(tmp_path, truth)

    assert write(0.0) < 1e-3
    assert abs(write(2.0) - 2.0) < 1e-3


def test_the_median_of_counted_values_is_their_median() -> None:
    values = np.random.default_rng(0).integers(0, 256, 9999)
    assert abs(histogram_median(np.bincount(values, minlength=256)) - np.median(values) / 255.0) < 1e-12
    assert histogram_median(np.zeros(256, np.int64)) == 0.0


def test_kept_arrays_are_equal_bytes_for_equal_arrays(tmp_path: Path) -> None:
    arrays = {"vertices": np.random.default_rng(0).standard_normal((50, 3)), "names": np.array(["flat", "fist"])}
    for name in ("one.npz", "two.npz"):
        write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = read_arrays(tmp_path / "one.npz")
    assert np.array_equal(read["vertices"], arrays["vertices"])
    assert json.dumps(read["names"].tolist()) == '["flat", "fist"]'
