from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.capture.tka import MAX_TKA_BYTES, format_tka, read_tka
from schemas.camera import TsaiCamera
from schemas.errors import BadInputError
from tests.palm_data.camera.cameras import tsai_cameras

EXAMPLE = Path(__file__).parent / "tka" / "synthetic_04_C.tka"


def test_the_example_reads_value_for_value() -> None:
    camera = read_tka(EXAMPLE)
    assert camera == TsaiCamera(
        raw_name="04_C",
        rotation=((1.0, 0.0, 0.0), (0.0, -0.96351791, -0.267643864), (0.0, 0.267643864, -0.96351791)),
        centre_mm=(0.0, -250.0, 900.0),
        focal_mm=25.0,
        radial_k=0.0005,
        radial_k2=-3e-06,
        scale=1.0,
        pixel_size_mm=(0.00345, 0.00345),
        principal_point_px=(1224.0, 1024.0),
        image_size_px=(2448, 2048),
        skew=0.0,
    )


def test_the_example_is_written_byte_for_byte() -> None:
    assert format_tka(read_tka(EXAMPLE)).encode("ascii") == EXAMPLE.read_bytes()


@given(tsai_cameras(), st.floats(-1e-3, 1e-3))
@settings(max_examples=60)
def test_writing_and_reading_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, camera: TsaiCamera, skew: float
) -> None:
    camera = camera.model_copy(update={"skew": skew})
    path = tmp_path_factory.mktemp("tka") / "04_C.tka"
    path.write_bytes(format_tka(camera).encode("ascii"))
    assert read_tka(path) == camera


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
def test_any_line_end_reads(tmp_path: Path, ending: str) -> None:
    text = EXAMPLE.read_bytes().decode().replace("\r\n", ending)
    (tmp_path / "04_C.tka").write_bytes(text.encode())
    assert read_tka(tmp_path / "04_C.tka") == read_tka(EXAMPLE)


def test_windows_exponents_read(tmp_path: Path) -> None:
    assert altered(tmp_path, "%K2 -3e-06", "%K2 -4.5e-006").radial_k2 == -4.5e-6


def altered(folder: Path, old: str, new: str, *, name: str = "04_C.tka") -> TsaiCamera:
    """The example with one change, read."""
    text = EXAMPLE.read_bytes().decode()
    assert old in text
    (folder / name).write_bytes(text.replace(old, new, 1).encode("latin-1"))
    return read_tka(folder / name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%M\r\n", "", r"line 1 \(%M\): expected %M"),
        ("%f 25", "%f", r"line 8 \(%f\): expected %f and 1 number, found '%f'"),
        ("%f 25", "%f twenty", r"line 8 \(%f\)"),
        ("%f 25", "%f 1e999", r"line 8 \(%f\): expected finite numbers"),
        ("%f 25", "%f nan", r"line 8 \(%f\)"),
        ("%f 25", "%f -25", r"line 8 \(%f\): expected a number above zero"),
        ("%f 25", "%f 25 26", r"line 8 \(%f\)"),
        ("%K 0.0005\r\n%K2 -3e-06", "%K2 -3e-06\r\n%K 0.0005", r"line 9 \(%K\)"),
        ("%S 1.0", "%S 0", r"line 11 \(%S\)"),
        ("%x 0.00345", "%x 0", r"line 12 \(%x\)"),
        ("%is 2448 2048", "%is 2448.5 2048", r"line 16 \(%is\): expected two whole numbers"),
        ("%is 2448 2048", "%is 2448", r"line 16 \(%is\)"),
        ("%is 2448 2048", "%is 0 2048", r"line 16 \(%is\)"),
        ("1 -0 -0 ", "1 -0 ", r"line 2 \(%M\): expected a row and 3 numbers"),
        ("1 -0 -0 ", "1.01 -0 -0 ", r"%M \(lines 2 to 4\): expected a rotation"),
        ("1 -0 -0 ", "1e308 -0 -0 ", r"%M \(lines 2 to 4\): expected a rotation"),
        ("1 -0 -0 ", "-1 -0 -0 ", r"%M \(lines 2 to 4\): expected a rotation .* determinant -1"),
        ("Camera type = 04_C", "Camera type = 05_C", r"line 18 \(Camera type\): expected 04_C, as the file is called"),
        ("Camera type = 04_C", "Camera type = 4C", r"line 18 \(Camera type\): expected NN_A, NN_B or NN_C"),
        ("P1(0.000000000)", "P1(0.0001)", r"line 26 \(Decentering distortion coeffs\): expected zeros"),
        ("P1(0.000000000)", "P1(zero)", r"line 26 \(Decentering"),
        ("Principal point =", "Principal =", r"line 23 \(Principal point\)"),
        ("%X 0", "%X \xe9", r"byte \d+: expected ASCII text, found 0xe9"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        altered(tmp_path, old, new)
    assert caught.value.source == str(tmp_path / "04_C.tka")


def test_a_file_of_another_name_may_hold_any_camera(tmp_path: Path) -> None:
    assert altered(tmp_path, "Camera type = 04_C", "Camera type = 05_C", name="copy.tka").raw_name == "05_C"


def test_missing_empty_and_oversized_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "04_C.tka"
    with pytest.raises(BadInputError, match="regular file"):
        read_tka(path)
    path.write_bytes(b"")
    with pytest.raises(BadInputError, match="empty"):
        read_tka(path)
    path.write_bytes(EXAMPLE.read_bytes() + b"\n" * MAX_TKA_BYTES)
    with pytest.raises(BadInputError, match="size"):
        read_tka(path)


def test_every_shortened_file_is_refused(tmp_path: Path) -> None:
    lines = EXAMPLE.read_bytes().splitlines(keepends=True)
    path = tmp_path / "04_C.tka"
    for count in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        with pytest.raises(BadInputError, match=rf"line {count + 1} \(.*the end of the file"):
            read_tka(path)
    path.write_bytes(b"".join(lines) + b"\r\nmore\r\n")
    with pytest.raises(BadInputError, match="nothing after"):
        read_tka(path)


def test_extreme_but_finite_numbers_survive(tmp_path: Path) -> None:
    camera = read_tka(EXAMPLE).model_copy(
        update={"radial_k2": -1.2345678901234567e-17, "centre_mm": (1e5, -0.1, 1 / 3)}
    )
    (tmp_path / "04_C.tka").write_bytes(format_tka(camera).encode())
    found = read_tka(tmp_path / "04_C.tka")
    assert found == camera
    assert np.isfinite(found.centre_mm).all()
