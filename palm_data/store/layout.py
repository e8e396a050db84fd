"""How an array's values lie in its files, as its zarr.json says. Known without zarr, and for the arrays we write only.

An array is cut into shards, one file each; a shard into tiles. A shard's file holds its tiles in any order, each
compressed by Blosc with a CRC-32C behind it, and ends with the index: for each tile, row-major, offset and length
in the file (two little-endian uint64), and a CRC-32C of that.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from schemas.errors import IntegrityError, StoreError

METADATA_FILE = "zarr.json"
CHECKSUM_BYTES = 4
_ENTRY_BYTES = 16
_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64", "float32", "float64")
_MAX_TILE_BYTES = 1 << 26
_MAX_TILES = 1 << 20
_MAX_AXES = 8
_CHECKSUM = {"name": "crc32c"}
_LITTLE = {"endian": "little"}


@dataclass(frozen=True)
class ArrayLayout:
    """How an array is cut."""

    shape: tuple[int, ...]
    dtype: np.dtype
    shard: tuple[int, ...]
    """Of a shard, in values; the array's last ones reach past its end."""
    tile: tuple[int, ...]
    """Of a tile; a shard holds whole ones."""
    attributes: Mapping[str, Any]

    @cached_property
    def tiles(self) -> tuple[int, ...]:
        """Tiles of a shard along each axis."""
        return tuple(whole // part for whole, part in zip(self.shard, self.tile, strict=True))

    @cached_property
    def tile_steps(self) -> tuple[int, ...]:
        """How far the next tile along each axis stands in the index."""
        return tuple(math.prod(self.tiles[axis + 1 :]) for axis in range(len(self.tiles)))

    @cached_property
    def tile_bytes(self) -> int:
        """Of a decoded tile."""
        return math.prod(self.tile) * self.dtype.itemsize

    @cached_property
    def index_bytes(self) -> int:
        """At the end of a shard's file, with the checksum."""
        return math.prod(self.tiles) * _ENTRY_BYTES + CHECKSUM_BYTES


def shard_file(name: str, first: int, ndim: int) -> str:
    """The file of a shard that is cut along the first axis only, relative to the group, forward slashes."""
    return f"{name}/c/{first}" + "/0" * (ndim - 1)


def parse_layout(content: bytes, source: str) -> ArrayLayout:
    """Read an array's zarr.json.

    Args:
        source: what it is, for messages.

    Raises:
        IntegrityError: if it is no such document, or its numbers contradict each other or are beyond all bounds.
        StoreError: if it describes an array that Zarr knows and this project does not write.
    """
    try:
        found = json.loads(content)
        (sharding,) = found["codecs"]
        inner, index = sharding["configuration"]["codecs"], sharding["configuration"]["index_codecs"]
        described = {
            "zarr_format": found["zarr_format"],
            "node_type": found["node_type"],
            "data_type": found["data_type"],
            "chunk_grid": found["chunk_grid"]["name"],
            "chunk_key_encoding": found["chunk_key_encoding"],
            "fill_value": found["fill_value"],
            "storage_transformers": list(found.get("storage_transformers", [])),
            "codecs": sharding["name"],
            "index_location": sharding["configuration"].get("index_location", "end"),
            "codecs of tiles": [one["name"] for one in inner],
            "codecs of the index": [one["name"] for one in index],
            "byte order of tiles": inner[0].get("configuration", _LITTLE),
            "byte order of the index": index[0].get("configuration", {}),
        }
        shape = _numbers(found["shape"], least=0)
        shard = _numbers(found["chunk_grid"]["configuration"]["chunk_shape"], least=1)
        tile = _numbers(sharding["configuration"]["chunk_shape"], least=1)
        attributes = dict(found.get("attributes", {}))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise IntegrityError(
            f"{source}: expected the description of a sharded array, found {type(error).__name__}: {error}."
        ) from None
    _check_described(described, source)
    layout = ArrayLayout(shape, np.dtype(found["data_type"]).newbyteorder("<"), shard, tile, attributes)
    _check_numbers(layout, source)
    return layout


def _numbers(values: Any, *, least: int) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(one) is not int or one < least for one in values):
        raise ValueError(f"expected whole numbers of at least {least}, found {values!r:.80}")
    return tuple(values)


def _check_described(described: Mapping[str, Any], source: str) -> None:
    data_type = described["data_type"]
    written: Mapping[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "data_type": data_type if data_type in _TYPES else f"one of {', '.join(_TYPES)}",
        "chunk_grid": "regular",
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "storage_transformers": [],
        "codecs": "sharding_indexed",
        "index_location": "end",
        "codecs of tiles": ["bytes", "blosc", "crc32c"],
        "codecs of the index": ["bytes", "crc32c"],
        "byte order of tiles": _LITTLE,
        "byte order of the index": _LITTLE,
    }
    for field, expected in written.items():
        if described[field] != expected:
            raise StoreError(
                f"{source}: {field}: expected {expected!r}, found {described[field]!r:.200}. This project writes no such "
                "array; any Zarr v3 reader may open it."
            )


def _check_numbers(layout: ArrayLayout, source: str) -> None:
    shape, shard, tile = layout.shape, layout.shard, layout.tile
    fit = len(shape) == len(shard) == len(tile) and 1 <= len(shape) <= _MAX_AXES
    if not fit or any(whole % part for whole, part in zip(shard, tile, strict=True)):
        raise IntegrityError(
            f"{source}: chunk_shape: expected shards of whole tiles for an array of {shape}, found shards of {shard} and "
            f"tiles of {tile}."
        )
    if layout.tile_bytes > _MAX_TILE_BYTES or math.prod(layout.tiles) > _MAX_TILES:
        raise IntegrityError(
            f"{source}: chunk_shape: expected tiles of at most {_MAX_TILE_BYTES} bytes, {_MAX_TILES} of them in a shard, "
            f"found {math.prod(layout.tiles)} of {layout.tile_bytes} bytes."
        )
