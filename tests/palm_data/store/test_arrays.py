import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from palm_data.store.arrays import (
    create_group,
    create_image_array,
    create_row_array,
    frame_file,
    open_array,
    open_group,
    write_frame,
)
from schemas.errors import IntegrityError, StoreError

RNG = np.random.default_rng(5)


def image_group(folder: Path, pixels: np.ndarray, *, tile_px: int = 8) -> Path:
    group = create_group(folder)
    array = create_image_array(group, "rgb/full", pixels.shape, pixels.dtype, tile_px=tile_px)
    for frame, one in enumerate(pixels):
        write_frame(array, frame, one)
    return folder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(2, 3, 10, 13), (1, 2, 16, 8, 3), (3, 1, 5, 5, 3)])
def test_frames_come_back_through_plain_zarr(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 200, shape).astype(dtype)
    image_group(tmp_path / "g", pixels)
    assert (zarr.open_array(tmp_path / "g" / "rgb/full", mode="r")[...] == pixels).all()


def test_a_frame_is_one_file_and_the_same_pixels_are_the_same_bytes(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 200, (2, 3, 10, 13, 3), dtype=np.uint8)
    first, second = image_group(tmp_path / "a", pixels), image_group(tmp_path / "b", pixels)
    files = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert files == [
        "rgb/full/c/0/0/0/0/0", "rgb/full/c/1/0/0/0/0", "rgb/full/zarr.json", "rgb/zarr.json", "zarr.json"
    ]  # fmt: skip
    assert frame_file("rgb/full", 1, 5) == "rgb/full/c/1/0/0/0/0"
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_the_codecs_are_stock_and_each_tile_and_index_has_its_checksum(tmp_path: Path) -> None:
    image_group(tmp_path / "g", np.ones((1, 2, 10, 13, 3), dtype=np.uint8))
    array = open_array(open_group(tmp_path / "g"), "rgb/full")
    (codec,) = array.metadata.to_dict()["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert [one["name"] for one in codec["configuration"]["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert [one["name"] for one in codec["configuration"]["index_codecs"]] == ["bytes", "crc32c"]
    assert array.shards == (1, 2, 16, 16, 3)
    assert array.chunks == (1, 1, 8, 8, 3)


def test_a_black_frame_has_its_file_too(tmp_path: Path) -> None:
    image_group(tmp_path / "g", np.zeros((1, 2, 10, 13), dtype=np.uint8))
    assert (tmp_path / "g/rgb/full/c/0/0/0/0").is_file()


def test_every_flipped_bit_of_a_shard_is_found_when_the_frame_is_read(tmp_path: Path) -> None:
    image_group(tmp_path / "g", RNG.integers(0, 200, (1, 2, 10, 13), dtype=np.uint8))
    path = tmp_path / "g" / frame_file("rgb/full", 0, 4)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="checksum do not match"):
            open_array(open_group(tmp_path / "g"), "rgb/full")[0]


@pytest.mark.parametrize(
    ("frame", "pixels"),
    [
        (0, np.zeros((2, 10, 12), np.uint8)),
        (0, np.zeros((2, 10, 13), np.int16)),
        (0, np.zeros((), np.uint8)),
        (1, np.zeros((2, 10, 13), np.uint8)),
        (-1, np.zeros((2, 10, 13), np.uint8)),
    ],
)
def test_nothing_is_cast_or_broadcast_into_a_frame(tmp_path: Path, frame: int, pixels: np.ndarray) -> None:
    array = create_image_array(create_group(tmp_path / "g"), "mask/full", (1, 2, 10, 13), np.uint8, tile_px=8)
    with pytest.raises(StoreError, match=r"mask/full: expected frame 0…0 of \(2, 10, 13\) uint8"):
        write_frame(array, frame, pixels)


@pytest.mark.parametrize(
    ("name", "dtype", "how"),
    [
        ("rgb/full", np.uint8, ("zstd", "bitshuffle", 5)),
        ("mono/half", np.uint8, ("zstd", "bitshuffle", 5)),
        ("scan/texture", np.uint8, ("zstd", "bitshuffle", 5)),
        ("hand_mask/full", np.uint8, ("zstd", "noshuffle", 5)),
        ("depth/half", np.uint16, ("lz4hc", "shuffle", 9)),
        ("normal/full", np.int16, ("lz4hc", "shuffle", 9)),
    ],
)
def test_each_kind_of_image_is_compressed_as_the_formats_page_says(
    tmp_path: Path, name: str, dtype: type, how: tuple[str, str, int]
) -> None:
    create_image_array(create_group(tmp_path / "g"), name, (1, 2, 10, 13), dtype, tile_px=8)
    (sharding,) = json.loads((tmp_path / "g" / name / "zarr.json").read_bytes())["codecs"]
    blosc = sharding["configuration"]["codecs"][1]["configuration"]
    assert (blosc["cname"], blosc["shuffle"], blosc["clevel"]) == how


@pytest.mark.parametrize("shape", [(1, 2, 3), (0, 2, 10, 10), (1, 2, 3, 4, 5, 6)])
def test_a_shape_that_is_not_of_images_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(StoreError, match="expected positive"):
        create_image_array(create_group(tmp_path / "g"), "rgb/full", shape, np.uint8, tile_px=8)


@pytest.mark.parametrize("rows", [0, 1, 1000, 200_000])
def test_rows_come_back_whatever_their_number(tmp_path: Path, rows: int) -> None:
    table = RNG.normal(size=(rows, 3)).astype(np.float32)
    create_row_array(create_group(tmp_path / "g"), "scan/vertices", table)
    array = open_array(open_group(tmp_path / "g"), "scan/vertices")
    assert array.shape == (rows, 3)
    assert (array[...] == table).all()


def test_what_is_no_group_or_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"none/zarr\.json: expected a Zarr v3 group"):
        open_group(tmp_path / "none")
    create_group(tmp_path / "g")
    with pytest.raises(IntegrityError, match="rgb/full: expected an array, found nothing"):
        open_array(open_group(tmp_path / "g"), "rgb/full")
