"""What zarr.json says of an array: ours are understood, others are refused with what they are."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palm_data.store.arrays import create_group, create_image_array, create_row_array
from palm_data.store.layout import parse_layout
from schemas.errors import IntegrityError, StoreError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("written")
    create_image_array(
        create_group(folder), "depth", (4, 7, 10, 13), np.uint16, tile_px=8, attributes={"unit_mm": 0.05}
    )
    return dict(json.loads((folder / "depth/zarr.json").read_bytes()))


def changed(written: dict[str, Any], *path: str | int, to: object) -> bytes:
    document = copy.deepcopy(written)
    at: Any = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return json.dumps(document).encode()


def test_what_is_written_is_understood(written: dict[str, Any]) -> None:
    layout = parse_layout(json.dumps(written).encode(), "depth/zarr.json")
    assert (layout.shape, layout.dtype, layout.attributes) == ((4, 7, 10, 13), np.uint16, {"unit_mm": 0.05})
    assert (layout.shard, layout.tile, layout.tiles) == ((1, 7, 16, 16), (1, 1, 8, 8), (1, 7, 2, 2))
    assert (layout.tile_bytes, layout.index_bytes, layout.tile_steps) == (128, 28 * 16 + 4, (28, 4, 2, 1))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_rows_of_every_type_are_understood(tmp_path: Path, dtype: str) -> None:
    create_row_array(create_group(tmp_path), "rows", np.zeros((5, 3), dtype=dtype))
    assert parse_layout((tmp_path / "rows/zarr.json").read_bytes(), "rows").dtype == np.dtype(dtype)


_SHARDING = ("codecs", 0, "configuration")


@pytest.mark.parametrize(
    ("path", "to", "field"),
    [
        (("zarr_format",), 2, "zarr_format: expected 3, found 2"),
        (("fill_value",), 7, "fill_value: expected 0, found 7"),
        (("data_type",), "complex64", "data_type: expected 'one of uint8, .*', found 'complex64'"),
        (("chunk_grid", "name"), "rectilinear", "chunk_grid: expected 'regular', found 'rectilinear'"),
        (("chunk_key_encoding", "configuration", "separator"), ".", "chunk_key_encoding: expected"),
        (("storage_transformers",), [{"name": "x"}], "storage_transformers"),
        ((*_SHARDING, "index_location"), "start", "index_location: expected 'end', found 'start'"),
        ((*_SHARDING, "codecs", 1, "name"), "zstd", "codecs of tiles: expected .*'blosc'.*'zstd'"),
        ((*_SHARDING, "codecs", 0, "configuration", "endian"), "big", "byte order of tiles"),
        ((*_SHARDING, "index_codecs"), [{"name": "bytes"}], "codecs of the index"),
    ],
)  # fmt: skip
def test_arrays_that_we_do_not_write_are_refused_by_name(
    written: dict[str, Any], path: tuple[str | int, ...], to: object, field: str
) -> None:
    with pytest.raises(StoreError, match=rf"^depth/zarr.json: {field}") as caught:
        parse_layout(changed(written, *path, to=to), "depth/zarr.json")
    assert not isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("shape",), [4, 7, -1, 13]),
        (("shape",), [4, 7, True, 13]),
        (("shape",), [4, 7, 10]),
        (("shape",), "4"),
        (("codecs",), []),
        (("chunk_grid", "configuration", "chunk_shape"), [1, 7, 16, 15]),
        ((*_SHARDING, "chunk_shape"), [1, 1, 0, 8]),
    ],
)
def test_descriptions_that_make_no_sense_are_damage(
    written: dict[str, Any], path: tuple[str | int, ...], to: object
) -> None:
    with pytest.raises(IntegrityError, match=r"^depth/zarr.json: "):
        parse_layout(changed(written, *path, to=to), "depth/zarr.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"codecs": [{}]}'])
def test_what_is_no_description_is_damage(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="expected the description of a sharded array"):
        parse_layout(content, "zarr.json")


def test_tiles_and_indices_beyond_bounds_are_refused_before_memory_is_taken(written: dict[str, Any]) -> None:
    document = copy.deepcopy(written)
    document["chunk_grid"]["configuration"]["chunk_shape"] = [1, 1, 1 << 20, 1 << 20]
    document["codecs"][0]["configuration"]["chunk_shape"] = [1, 1, 1 << 20, 1 << 20]
    with pytest.raises(IntegrityError, match="expected tiles of at most"):
        parse_layout(json.dumps(document).encode(), "zarr.json")
    document["codecs"][0]["configuration"]["chunk_shape"] = [1, 1, 1, 1]
    with pytest.raises(IntegrityError, match="expected tiles of at most"):
        parse_layout(json.dumps(document).encode(), "zarr.json")
