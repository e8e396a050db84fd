import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.capture.images import as_camera_delivers, decode_image, read_image
from schemas.errors import BadInputError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (13, 17, 3)).astype(np.uint8)
GREY = RNG.integers(0, 256, (13, 17)).astype(np.uint8)
WHERE = Path("capture.png")
LOSSLESS = (".png", ".bmp", ".tif")


def encoded(suffix: str, image: np.ndarray) -> bytes:
    """The RGB or grey image in a file format."""
    stored = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(suffix, stored)[1].tobytes()


def decoded(content: bytes, *, max_pixels: int = 10_000) -> np.ndarray:
    return decode_image(content, WHERE, max_pixels=max_pixels)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["colour", "grey"])
def test_lossless_images_come_back_exactly(suffix: str, image: np.ndarray) -> None:
    found = decoded(encoded(suffix, image))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["colour", "grey"])
def test_jpeg_keeps_size_and_channels(image: np.ndarray) -> None:
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    found = decoded(encoded(".jpg", smooth))
    assert found.shape == image.shape
    assert np.abs(found.astype(int) - smooth).mean() < 8


def test_red_is_the_first_channel() -> None:
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 250
    for suffix in LOSSLESS:
        assert decoded(encoded(suffix, red))[0, 0].tolist() == [250, 0, 0]


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, orientation) + b"\0" * 4
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def test_exif_orientation_is_ignored_because_calibrations_speak_of_the_sensor() -> None:
    jpeg = encoded(".jpg", COLOUR)
    np.testing.assert_array_equal(decoded(with_exif_orientation(jpeg, 6)), decoded(jpeg))


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".jpg"])
def test_a_file_cut_anywhere_is_refused(suffix: str) -> None:
    content = encoded(suffix, COLOUR)
    for length in {*range(1, len(content), 7), len(content) - 1}:
        with pytest.raises(BadInputError):
            decoded(content[:length])


@pytest.mark.parametrize("position", [20, 60, 200, -20, -6])
def test_a_flipped_bit_in_a_png_is_found(position: int) -> None:
    content = bytearray(encoded(".png", COLOUR))
    content[position] ^= 4
    with pytest.raises(BadInputError):
        decoded(bytes(content))


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"\0") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png_chunks((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def test_a_small_file_cannot_ask_for_a_large_image() -> None:
    for width, height in ((60_000, 60_000), (2**31, 1), (101, 100)):
        with pytest.raises(BadInputError, match="at most 10000 pixels"):
            decoded(png(width, height))


def test_a_png_with_fewer_rows_than_it_says_is_refused() -> None:
    rows = b"".join(b"\0" + bytes(30) for _ in range(10))
    assert decoded(png(10, 10, rows=rows)).shape == (10, 10, 3)
    with pytest.raises(BadInputError, match="pixels"):
        decoded(png(10, 10, rows=rows[:-31]))


@pytest.mark.parametrize(("depth", "colour"), [(16, 2), (16, 0), (1, 0), (8, 3), (8, 6)])
def test_depths_and_palettes_that_would_need_a_guess_are_refused(depth: int, colour: int) -> None:
    with pytest.raises(BadInputError, match="IHDR: expected 8 bits"):
        decoded(png(10, 10, depth=depth, colour=colour))


def test_sixteen_bit_tiff_is_refused() -> None:
    content = cv2.imencode(".tif", np.zeros((4, 4), dtype=np.uint16))[1].tobytes()
    with pytest.raises(BadInputError, match="16"):
        decoded(content)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    cv2.imwritemulti(str(path), [GREY, GREY])
    with pytest.raises(BadInputError, match="one page"):
        read_image(path, max_pixels=10_000)


def test_a_colour_palette_bmp_is_colour_and_a_grey_one_grey() -> None:
    grey = encoded(".bmp", GREY)
    assert decoded(grey).ndim == 2
    palette = bytearray(grey)
    palette[54:58] = b"\xff\x00\x00\x00"  # entry 0 becomes blue
    assert decoded(bytes(palette)).shape == (13, 17, 3)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"not an image at all", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"\xff\xd8\xff"]
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadInputError):
        decoded(content)


def test_reading_checks_the_file_first(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    with pytest.raises(BadInputError, match="regular file"):
        read_image(path, max_pixels=10_000)
    path.write_bytes(b"")
    with pytest.raises(BadInputError, match="empty"):
        read_image(path, max_pixels=10_000)
    path.write_bytes(encoded(".png", COLOUR))
    np.testing.assert_array_equal(read_image(path, max_pixels=10_000), COLOUR)
    path.write_bytes(bytes(2_000_000))
    with pytest.raises(BadInputError, match="size"):
        read_image(path, max_pixels=100)


def test_cameras_deliver_their_channels() -> None:
    np.testing.assert_array_equal(as_camera_delivers(COLOUR, "MCU_01", WHERE), COLOUR)
    np.testing.assert_array_equal(as_camera_delivers(GREY, "MCU_01_A", WHERE), GREY)
    tripled = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(as_camera_delivers(tripled, "MCU_01_B", WHERE), GREY)
    with pytest.raises(BadInputError, match="RGB, from a colour camera"):
        as_camera_delivers(GREY, "MCU_01", WHERE)
    with pytest.raises(BadInputError, match="grey, from a mono camera"):
        as_camera_delivers(COLOUR, "MCU_01_A", WHERE)
