"""Arrays of a subject's Zarr group: their codecs, and writing and reading one frame at a time.

Images are (frame, view, y, x[, channel]). One shard object holds one frame, so that frames are written, shared and
checked on their own; one inner chunk holds one square tile of one view, so that a patch reads a few tiles. Every
inner chunk and every shard index carries a CRC-32C. Stock codecs only: any Zarr v3 reader opens the result.

Two of zarr's habits are turned off. Chunks that hold only the fill value are written all the same, so that each
frame has its shard object and a lost one cannot pass for black pixels; and a frame is written whole, in one call,
because two writers of one shard lose each other's work without an error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec

from palm_data.store.layout import shard_file
from schemas.arrays import TIERED
from schemas.errors import IntegrityError, StoreError
from schemas.tier import Tier, tier_length

_IMAGE_AXES = ("capture", "view", "y", "x", "channel")
_PHOTOGRAPHS = ("rgb", "mono", "scan")
"""Groups of images with noise in their lowest bits; other images of one byte are masks."""
_MAX_ROW_CHUNK_BYTES = 1 << 20
_MAX_ROW_SHARD_CHUNKS = 64


@dataclass(frozen=True)
class _Layout:
    """How an array is cut: into shards, and each shard into inner chunks."""

    shape: tuple[int, ...]
    shard: tuple[int, ...]
    inner: tuple[int, ...]
    axes: tuple[str, ...]


def create_group(path: Path, attributes: Mapping[str, Any] | None = None) -> zarr.Group:
    """Create an empty Zarr v3 group on disk, replacing whatever is at the path."""
    return zarr.create_group(path, zarr_format=3, overwrite=True, attributes=dict(attributes or {}))


def open_group(path: Path) -> zarr.Group:
    """Open a group for reading.

    Raises:
        IntegrityError: if there is no Zarr v3 group at the path.
    """
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{path}/zarr.json: expected a Zarr v3 group, found {error}. Fetch or materialize it again."
        ) from error


def open_array(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a group, for reading.

    Raises:
        IntegrityError: if the group has no such array.
    """
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise IntegrityError(f"{group.store}/{name}: expected an array, found {'nothing' if array is None else array}.")
    return array


def create_image_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    tile_px: int,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array:
    """Create an image array (frame, view, height, width[, channel]) in its final encoding.

    Frame f of array `rgb/full` is the file `rgb/full/c/<f>/0/0/0[/0]`. Write it with `write_frame`.

    Args:
        tile_px: side of an inner chunk; the shard is the image size rounded up to whole tiles.

    Raises:
        StoreError: if the shape has not four or five positive axes, or the tile is not positive.
    """
    if len(shape) not in (4, 5) or min(shape) < 1 or tile_px < 1:
        raise StoreError(
            f"{name}: expected positive (frame, view, height, width[, channel]) and tile_px, "
            f"found {shape} and {tile_px}."
        )
    _, views, height, width, *channels = shape
    inner = (1, 1, tile_px, tile_px, *channels)
    shard = (1, views, _round_up(height, tile_px), _round_up(width, tile_px), *channels)
    layout = _Layout(shape, shard, inner, _IMAGE_AXES[: len(shape)])
    return _create(group, name, np.dtype(dtype), layout, attributes)


def create_tier_array(
    group: zarr.Group,
    name: str,
    tier: Tier,
    shape: tuple[int, int, int, int],
    *,
    tile_px: int,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array:
    """Create one of `schemas.arrays.TIERED` at a tier, with what it holds written beside it.

    Args:
        shape: captures, views, height and width of the full tier.
        attributes: more of them.

    Raises:
        StoreError: as `create_image_array` does.
    """
    about = TIERED[name]
    described = {**about.attributes(), **(attributes or {})}
    shape_here = tier_shape(name, tier, shape)
    return create_image_array(group, f"{name}/{tier}", shape_here, about.dtype, tile_px=tile_px, attributes=described)


def tier_shape(name: str, tier: Tier, shape: tuple[int, int, int, int]) -> tuple[int, ...]:
    """The shape of an array at a tier, given captures, views, height and width of the full one."""
    captures, views, height, width = shape
    return captures, views, tier_length(height, tier), tier_length(width, tier), *TIERED[name].channels


def create_row_array(
    group: zarr.Group, name: str, rows: np.ndarray, *, attributes: Mapping[str, Any] | None = None
) -> zarr.Array:
    """Write a whole table of rows (row[, column]) as a checksummed array, in shards of bounded size."""
    shape = (max(rows.shape[0], 1), *rows.shape[1:])
    row_bytes = rows.dtype.itemsize * math.prod(rows.shape[1:])
    chunk_rows = min(shape[0], max(1, _MAX_ROW_CHUNK_BYTES // row_bytes))
    chunks = min(_MAX_ROW_SHARD_CHUNKS, -(-shape[0] // chunk_rows))
    inner, shard = (chunk_rows, *shape[1:]), (chunk_rows * chunks, *shape[1:])
    layout = _Layout(rows.shape, shard, inner, ("row", "column")[: rows.ndim])
    array = _create(group, name, rows.dtype, layout, attributes)
    if rows.shape[0]:
        array[...] = rows
    return array


def write_frame(array: zarr.Array, frame: int, pixels: np.ndarray) -> None:
    """Write one frame (view, height, width[, channel]) of an image array: its whole shard, once.

    Raises:
        StoreError: if the pixels are not of the array's shape and type, so that nothing is cast or broadcast.
    """
    if pixels.shape != array.shape[1:] or pixels.dtype != array.dtype or not 0 <= frame < array.shape[0]:
        raise StoreError(
            f"{array.path}: expected frame 0…{array.shape[0] - 1} of {array.shape[1:]} {array.dtype}, "
            f"found frame {frame} of {pixels.shape} {pixels.dtype}."
        )
    array[frame] = pixels


def frame_file(name: str, frame: int, ndim: int) -> str:
    """The shard object of a frame, relative to the group, forward slashes."""
    return shard_file(name, frame, ndim)


def _create(
    group: zarr.Group,
    name: str,
    dtype: np.dtype,
    layout: _Layout,
    attributes: Mapping[str, Any] | None,
) -> zarr.Array:
    for parent in _parents(name):
        group.require_group(parent)
    compress: tuple[BytesBytesCodec, ...] = (
        _blosc(name, dtype, layout),
        Crc32cCodec(),
    )
    sharding = ShardingCodec(
        chunk_shape=layout.inner,
        codecs=(BytesCodec(), *compress),
        index_codecs=(BytesCodec(), Crc32cCodec()),
        index_location="end",
    )
    return group.create_array(
        name,
        shape=layout.shape,
        dtype=dtype,
        chunks=layout.shard,
        serializer=sharding,
        filters=None,
        compressors=None,
        fill_value=0,
        dimension_names=layout.axes,
        attributes=dict(attributes or {}),
        config={"write_empty_chunks": True},
    )


def _blosc(name: str, dtype: np.dtype, layout: _Layout) -> BloscCodec:
    """How tiles are compressed: what decodes fastest at about the least size, tried on rendered hands.

    Smooth maps of two bytes decode four times as fast as with zstd and bit shuffle, at 1.04 times the size; masks three times
    as fast, at a few bytes more.
    """
    image = layout.axes[: len(_IMAGE_AXES) - 1] == _IMAGE_AXES[:-1]
    if image and dtype.itemsize == 2:
        return BloscCodec(cname="lz4hc", clevel=9, shuffle="shuffle", typesize=2, blocksize=0)
    if image and dtype.itemsize == 1 and name.split("/", maxsplit=1)[0] not in _PHOTOGRAPHS:
        return BloscCodec(cname="zstd", clevel=5, shuffle="noshuffle", typesize=1, blocksize=0)
    return BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=dtype.itemsize, blocksize=0)


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
