"""Our reader of shards against zarr-python, and against every damage."""

import hashlib
import itertools
import os
import pickle
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from palm_data.loader.shards import Shard
from palm_data.loader.window import Window
from palm_data.store.arrays import create_group, create_image_array, create_row_array, write_frame
from palm_data.store.files import LocalFiles
from schemas.errors import IntegrityError, StoreError

RNG = np.random.default_rng(3)
VIEWS, HEIGHT, WIDTH, TILE = 2, 12, 20, 8
TILES = VIEWS * 2 * 3
INDEX = 16 * TILES + 4


@dataclass
class Counted(LocalFiles):
    """The files of a folder, with what was asked of them."""

    root: Path
    asked: list[tuple[str, list[tuple[int, int]]]] = field(default_factory=list)

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.asked.append((path, list(ranges)))
        return super().read_ranges(path, ranges)


def shard_of(folder: Path, files: LocalFiles | None = None) -> Shard:
    """The group as it is on disk now, as released."""
    listed = {
        path.relative_to(folder).as_posix(): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip
    return Shard(files or LocalFiles(folder.parent), folder.name, listed)


def image_group(folder: Path, pixels: np.ndarray, *, tile_px: int = TILE, name: str = "rgb/full") -> Path:
    group = create_group(folder)
    array = create_image_array(group, name, pixels.shape, pixels.dtype, tile_px=tile_px)
    for row, frame in enumerate(pixels):
        write_frame(array, row, frame)
    return folder


def some_pixels(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Noise beside tiles of one value."""
    pixels = rng.integers(0, 250, shape).astype(dtype)
    pixels[:, :, : shape[2] // 2] = rng.integers(0, 3)
    return pixels


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, int, list[Window]]:
    sides = [draw(st.integers(1, most)) for most in (2, 3, 40, 40)]
    shape = (*sides, *draw(st.sampled_from([(), (1,), (3,)])))
    dtype = np.dtype(draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])))
    windows = []
    for _ in range(4):
        x, y = draw(st.integers(0, sides[3] - 1)), draw(st.integers(0, sides[2] - 1))
        windows.append(Window(x, y, draw(st.integers(1, sides[3] - x)), draw(st.integers(1, sides[2] - y))))
    pixels = some_pixels(np.random.default_rng(draw(st.integers(0, 99))), shape, dtype)
    return pixels, draw(st.integers(1, 17)), windows


@settings(max_examples=25, deadline=None)
@given(images())
def test_every_window_is_what_zarr_reads(drawn: tuple[np.ndarray, int, list[Window]]) -> None:
    pixels, tile_px, windows = drawn
    with TemporaryDirectory() as place:
        folder = image_group(Path(place) / "g", pixels, tile_px=tile_px)
        stock, ours = zarr.open_array(folder / "rgb/full", mode="r"), shard_of(folder)
        for row, window in itertools.product(range(len(pixels)), windows):
            view = row % pixels.shape[1]
            for of_views, found in ((slice(None), None), (view, view)):
                part = ours.frame("rgb/full", row, found, window)
                expected = stock[(row, of_views, *window.slices)]
                assert part.dtype == pixels.dtype
                np.testing.assert_array_equal(part, expected)
            rows, columns = (grid.ravel() for grid in np.mgrid[window.slices])
            mixed = np.random.default_rng(row).permutation(len(rows))[:50]
            x, y = columns[mixed], rows[mixed]
            np.testing.assert_array_equal(ours.pixels("rgb/full", row, view, x, y), pixels[row, view][y, x])
        np.testing.assert_array_equal(ours.frame("rgb/full", 0), pixels[0])


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(0, 300),
    columns=st.sampled_from([(), (2,), (3,)]),
    dtype=st.sampled_from(["float32", "int32", "int64"]),
    span=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)
def test_rows_are_what_zarr_reads(count: int, columns: tuple[int, ...], dtype: str, span: tuple[int, int]) -> None:
    start, stop = sorted(min(one, count) for one in span)
    rows = np.random.default_rng(count).integers(-9, 9, (count, *columns)).astype(dtype)
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr("palm_data.store.arrays._MAX_ROW_CHUNK_BYTES", 200)  # several tiles, and several shards
        patch.setattr("palm_data.store.arrays._MAX_ROW_SHARD_CHUNKS", 3)
        create_row_array(create_group(Path(place) / "g"), "rows", rows)
        found = shard_of(Path(place) / "g").rows("rows", start, stop)
        assert found.dtype == rows.dtype
        np.testing.assert_array_equal(found, zarr.open_array(Path(place) / "g/rows", mode="r")[start:stop])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One array of one capture, of noise, so that each tile takes bytes."""
    return image_group(tmp_path / "0001.zarr", RNG.integers(0, 256, (1, VIEWS, HEIGHT, WIDTH), dtype=np.uint8))


def tile_file(folder: Path) -> Path:
    return folder / "rgb/full/c/0/0/0/0"


def test_a_flipped_bit_of_any_byte_of_a_shard_object_is_found_and_the_file_is_named(folder: Path) -> None:
    shard, path = shard_of(folder), tile_file(folder)
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"/0001.zarr/rgb/full/c/0/0/0/0: expected .*damaged or edited"):
            pickle.loads(pickle.dumps(shard)).frame("rgb/full", 0)  # one that has read nothing yet


def test_flipped_bits_of_metadata_are_found_and_the_file_is_named(folder: Path) -> None:
    shard = shard_of(folder)
    for name in ("zarr.json", "rgb/zarr.json", "rgb/full/zarr.json"):
        whole = (folder / name).read_bytes()
        for at in range(0, len(whole), 5):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << at % 8
            (folder / name).write_bytes(damaged)
            with pytest.raises(IntegrityError, match=f"0001.zarr/{name}: expected sha256"):
                pickle.loads(pickle.dumps(shard)).attributes("rgb/full")
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize("length", [0, 3, INDEX - 1, INDEX, -1])
def test_an_object_cut_short_or_grown_or_gone_is_named(folder: Path, length: int) -> None:
    shard, path = shard_of(folder), tile_file(folder)
    whole = path.read_bytes()
    for content in (whole[:length], whole[len(whole) - length :] if length > 0 else whole + b"\0", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"rgb/full/c/0/0/0/0: expected .*damaged or edited"):
            pickle.loads(pickle.dumps(shard)).frame("rgb/full", 0)


def test_an_object_cut_short_between_two_tiles_after_its_index_was_read_is_named(folder: Path) -> None:
    shard, path = shard_of(folder), tile_file(folder)
    shard.frame("rgb/full", 0)
    whole = path.read_bytes()
    for start, length in np.frombuffer(whole[-INDEX:-4], dtype="<u8").reshape(-1, 2).tolist():
        path.write_bytes(whole[: start + length // 2])
        with pytest.raises(IntegrityError, match=r"rgb/full/c/0/0/0/0: expected .*damaged or edited"):
            shard.frame("rgb/full", 0)
        path.write_bytes(whole[:start])
        with pytest.raises(IntegrityError, match=r"rgb/full/c/0/0/0/0: expected .*damaged or edited"):
            shard.frame("rgb/full", 0)


def test_what_is_no_file_is_damage_and_is_not_waited_for(folder: Path) -> None:
    shard, path = shard_of(folder), tile_file(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(IntegrityError, match="rgb/full/c/0/0/0/0"):
        shard.frame("rgb/full", 0)
    path.unlink()
    path.mkdir()
    with pytest.raises(IntegrityError, match="rgb/full/c/0/0/0/0"):
        shard.frame("rgb/full", 0)


def forged(folder: Path, tile: int, entry: tuple[int, int] | None = None, header: bytes | None = None) -> Shard:
    """A release that lies about a tile, with checksums that fit the lie."""
    path = tile_file(folder)
    content = bytearray(path.read_bytes())
    index = np.frombuffer(content[-INDEX:-4], dtype="<u8").reshape(-1, 2).copy()
    start, length = index[tile].tolist()
    if header is not None:
        content[start : start + 16] = header
        body = bytes(content[start : start + length - 4])
        content[start + length - 4 : start + length] = struct.pack("<I", google_crc32c.value(body))
    if entry is not None:
        index[tile] = entry
    content[-INDEX:-4] = index.tobytes()
    content[-4:] = struct.pack("<I", google_crc32c.value(index.tobytes()))
    path.write_bytes(content)
    return shard_of(folder)


MISSING = (2**64 - 1, 2**64 - 1)


@pytest.mark.parametrize("entry", [MISSING, (0, 10), (0, 2**63), (2**63, 2**63), (10**6, 100), (1, 100)])
def test_an_index_that_lies_about_where_a_tile_is_is_damage(folder: Path, entry: tuple[int, int]) -> None:
    with pytest.raises(IntegrityError, match=r"rgb/full/c/0/0/0/0: expected tile \d+ "):
        forged(folder, 3, entry=entry).frame("rgb/full", 0)


def test_tiles_that_are_missing_in_the_index_are_no_black_pixels(folder: Path) -> None:
    shard = forged(folder, TILES - 1, entry=MISSING)  # the last view's lower right corner
    assert zarr.open_array(folder / "rgb/full", mode="r")[0, 1, 8:, 16:].max() == 0
    assert shard.frame("rgb/full", 0, 0).shape == (HEIGHT, WIDTH)
    with pytest.raises(IntegrityError, match=rf"tile {TILES - 1} .*found none"):
        shard.frame("rgb/full", 0, 1)


@pytest.mark.parametrize(
    ("position", "value"),
    [(4, TILE * TILE + 1), (4, 2**31), (4, 0), (8, 2**31), (8, 0), (12, 2**31), (12, 17)],
    ids=["one more", "gigabytes", "none", "huge block", "no block", "more compressed", "less compressed"],
)
def test_a_tile_that_lies_about_its_sizes_is_damage(folder: Path, position: int, value: int) -> None:
    content = tile_file(folder).read_bytes()
    start = int(np.frombuffer(content[-INDEX:-4], dtype="<u8").reshape(-1, 2)[3, 0])
    header = bytearray(content[start : start + 16])
    header[position : position + 4] = struct.pack("<I", value)
    with pytest.raises(IntegrityError, match="expected tile 3: Blosc's format"):
        forged(folder, 3, header=bytes(header)).frame("rgb/full", 0)


def test_a_tile_with_a_fitting_checksum_around_nonsense_is_damage(folder: Path) -> None:
    content = tile_file(folder).read_bytes()
    start = int(np.frombuffer(content[-INDEX:-4], dtype="<u8").reshape(-1, 2)[3, 0])
    header = bytearray(content[start : start + 16])
    header[2] = (header[2] & 0x1F) | 7 << 5  # a codec that there is not
    header[2] &= ~2  # and not merely copied
    with pytest.raises(IntegrityError, match="expected tile 3 compressed by Blosc"):
        forged(folder, 3, header=bytes(header)).frame("rgb/full", 0)


def test_metadata_of_another_writer_is_refused_and_named(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "g", zarr_format=3)
    group.create_array("plain/full", shape=(1, 2, 4, 4), dtype="uint8", chunks=(1, 2, 4, 4))
    with pytest.raises(StoreError, match=r"g/plain/full/zarr.json: expected the description of a sharded array"):
        shard_of(tmp_path / "g").frame("plain/full", 0)


@pytest.mark.parametrize(("row", "view"), [(1, 0), (-1, 0), (0, 2), (0, -1)])
def test_captures_and_views_that_are_not_there_are_refused(folder: Path, row: int, view: int) -> None:
    with pytest.raises(IntegrityError, match="expected one of"):
        shard_of(folder).frame("rgb/full", row, view)
    with pytest.raises(IntegrityError, match="expected one of"):
        shard_of(folder).pixels("rgb/full", row, view, np.array([0]), np.array([0]))


@pytest.mark.parametrize("span", [(0, 4), (-1, 2), (2, 1), (10**12, 10**12 + 1)])
def test_rows_that_are_not_there_are_damage(tmp_path: Path, span: tuple[int, int]) -> None:
    create_row_array(create_group(tmp_path / "g"), "rows", np.zeros((3, 3), np.float32))
    with pytest.raises(IntegrityError, match="g/rows: expected rows"):
        shard_of(tmp_path / "g").rows("rows", *span)


def test_tiles_side_by_side_are_one_request_and_an_index_is_read_once(folder: Path) -> None:
    files = Counted(folder.parent)
    shard = shard_of(folder, files)
    whole = shard.frame("rgb/full", 0)
    tiles = [asked for asked in files.asked if asked[0].endswith("rgb/full/c/0/0/0/0")]
    size = tile_file(folder).stat().st_size
    assert [ranges for _, ranges in tiles] == [[(size - INDEX, INDEX + 1)], [(0, size - INDEX)]]
    files.asked.clear()
    np.testing.assert_array_equal(shard.frame("rgb/full", 0, 1, Window(0, 0, 3, 3)), whole[1, :3, :3])
    ((_, ((_, length),)),) = files.asked
    assert length < size / TILES * 1.5


def test_threads_share_a_shard(tmp_path: Path) -> None:
    pixels = some_pixels(RNG, (12, 2, 40, 40, 3), np.dtype("uint8"))
    shard = shard_of(image_group(tmp_path / "g", pixels))

    def read(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        for _ in range(60):
            row, view, x, y = rng.integers([12, 2, 30, 30]).tolist()
            part = shard.frame("rgb/full", row, view, Window(x, y, 10, 10))
            if not np.array_equal(part, pixels[row, view, y : y + 10, x : x + 10]):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_the_codec_in_use_is_that_of_the_format() -> None:
    packed = blosc.compress(bytes(4096), b"zstd", 5, blosc.BITSHUFFLE)
    assert (packed[0], struct.unpack("<III", packed[4:16])) == (2, (4096, 4096, len(packed)))
