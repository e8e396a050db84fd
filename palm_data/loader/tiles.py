"""An array's tiles, read from shard files with every checksum held, and nothing read that is not needed.

Only what the format is made of: ranges of bytes, CRC-32C, Blosc. Tiles that lie side by side in a file are one
request. What a file claims is checked against its released size and the array's layout before memory is taken for it.
"""

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np

from palm_data.store.files import Files, Keeping
from palm_data.store.layout import CHECKSUM_BYTES, ArrayLayout
from schemas.errors import IntegrityError

DAMAGED = "The file was damaged or edited after release. Fetch it again."

_Span = tuple[int, int]
_BLOSC_HEADER = struct.Struct("<BBBBIII")
"""Format, format of the codec, flags, item size; bytes, bytes of a block, bytes compressed."""
_BLOSC_FORMAT = 2
_LEAST_BYTES = _BLOSC_HEADER.size + CHECKSUM_BYTES
_MISSING = (1 << 64) - 1
_KEPT_INDICES = 8
"""Shards of which an array's reader remembers the index: what one capture's patches and rays come back to."""
_PLAIN_BYTES, _KEPT_PLAIN = 128, 16
"""A tile compressed to so few bytes is likely of one value; so many such tiles are remembered."""


class Tile(NamedTuple):
    """A tile in its file."""

    number: int
    """Position in the index."""
    start: int
    """Byte of the file."""
    length: int
    """Bytes, with the checksum."""
    corner: tuple[int, ...]
    """First value along each axis of the shard."""


class TileReader:
    """Reads parts of shards of one array. May be used by several threads."""

    def __init__(self, files: Files, layout: ArrayLayout) -> None:
        """Take where the files are, and the layout."""
        self._files, self.layout = files, layout
        self._indices: dict[str, np.ndarray] = {}
        self._plain: dict[bytes, np.ndarray] = {}

    def read(self, path: str, size: int, box: Sequence[_Span], out: np.ndarray) -> None:
        """Copy a box of a shard to an array of the box's shape.

        Args:
            size: released bytes of the file.
            box: first value and the one after the last, along each axis of the shard.

        Raises:
            IntegrityError: if the file is missing, or what is read of it is damaged; names it.
        """
        scratch = np.empty(self.layout.tile, dtype=self.layout.dtype)
        for tile, content in self._contents(path, size, self._touched(box)):
            ours, theirs = [], []
            for corner, side, (start, stop) in zip(tile.corner, self.layout.tile, box, strict=True):
                low, high = max(corner, start), min(corner + side, stop)
                theirs.append(slice(low - corner, high - corner))
                ours.append(slice(low - start, high - start))
            out[tuple(ours)] = self._decoded(path, tile, content, scratch)[tuple(theirs)]

    def gather(self, path: str, size: int, before: Sequence[int], y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The values at pixels (rows y, columns x), of which only the tiles they lie in are read.

        Args:
            before: position along each axis before those of y and x.

        Raises:
            IntegrityError: as `read` does.
        """
        layout, axis = self.layout, len(before)
        steps, sides = layout.tile_steps, layout.tile
        inside = tuple(at % side for at, side in zip(before, sides, strict=False))
        first = sum(at // side * step for at, side, step in zip(before, sides, steps, strict=False))
        (row, y), (column, x) = np.divmod(y, sides[axis]), np.divmod(x, sides[axis + 1])
        numbers = first + row * steps[axis] + column * steps[axis + 1]
        order = np.argsort(numbers, kind="stable")
        tiles, starts = np.unique(numbers[order], return_index=True)
        groups = dict(zip(tiles.tolist(), np.split(order, starts[1:]), strict=True))
        scratch = np.empty(sides, dtype=layout.dtype)
        out = np.empty((len(x), *sides[axis + 2 :]), dtype=layout.dtype)
        for tile, content in self._contents(path, size, tiles.tolist()):
            group = groups[tile.number]
            out[group] = self._decoded(path, tile, content, scratch)[(*inside, y[group], x[group])]
        return out

    def _touched(self, box: Sequence[_Span]) -> list[int]:
        """Numbers of the tiles that a box touches."""
        sides, steps = self.layout.tile, self.layout.tile_steps
        places = [
            [at * step for at in range(start // side, -(-stop // side))]
            for (start, stop), side, step in zip(box, sides, steps, strict=True)
        ]
        return [sum(place) for place in itertools.product(*places)]

    def _contents(self, path: str, size: int, numbers: Sequence[int]) -> Iterator[tuple[Tile, np.ndarray]]:
        """Tiles by number with their bytes, as they lie in the file, those side by side read in one go."""
        tiles = self._tiles(path, size, numbers) if numbers else []
        runs: list[list[int]] = []
        for tile in tiles:
            if runs and sum(runs[-1]) == tile.start:
                runs[-1][1] += tile.length
            else:
                runs.append([tile.start, tile.length])
        read = zip(runs, self._ranges(path, size, [(start, length) for start, length in runs]), strict=True)
        run, start, end = np.zeros(0, np.uint8), 0, 0
        for tile in tiles:
            if tile.start >= end:
                (start, length), content = next(read)
                if len(content) != length:
                    raise self._damage(path, f"{size} bytes", f"no more than {start + len(content)}")
                run, end = np.frombuffer(content, dtype=np.uint8), start + length
            yield tile, run[tile.start - start : tile.start - start + tile.length]

    def _tiles(self, path: str, size: int, numbers: Sequence[int]) -> list[Tile]:
        """Where the index says that tiles lie, in the order in which they lie there."""
        layout, end = self.layout, size - self.layout.index_bytes
        entries = self._index(path, size)[numbers].tolist()
        tiles, before = [], 0
        for (start, length), number in sorted(zip(entries, numbers, strict=True)):
            if start < before or length < _LEAST_BYTES or start + length > end:
                found = "none" if start == _MISSING else f"{length} bytes from byte {start}"
                raise self._damage(path, f"tile {number} between bytes {before} and {end}", found)
            before = start + length
            corner = tuple(
                number // step % count * side
                for step, count, side in zip(layout.tile_steps, layout.tiles, layout.tile, strict=True)
            )
            tiles.append(Tile(number, start, length, corner))
        return tiles

    def _index(self, path: str, size: int) -> np.ndarray:
        """(tiles, 2) uint64: start and length of each tile in the file."""
        kept = self._indices.get(path)
        if kept is not None:
            return kept
        length = self.layout.index_bytes
        if size < length:
            raise self._damage(
                path, f"at least {length} bytes, its index", f"{size} bytes in the version's files table"
            )
        # One byte more than there should be tells a file that has grown.
        (content,) = self._ranges(path, size, [(size - length, length + 1)])
        if len(content) != length:
            raise self._damage(path, f"{size} bytes", "more" if len(content) > length else "fewer")
        values = _checked(np.frombuffer(content, dtype=np.uint8))
        if values is None:
            raise self._damage(path, "an index as its checksum says", "another")
        for old in list(self._indices)[: 1 - _KEPT_INDICES]:
            self._indices.pop(old, None)
        index = self._indices[path] = values.view("<u8").reshape(-1, 2)
        return index

    def _decoded(self, path: str, tile: Tile, content: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """A tile's values: the scratch, or, of a tile of one value, what is kept of it."""
        from numcodecs import blosc  # it loads every codec there is: not before something is read

        payload = _checked(content)
        if payload is None:
            raise self._damage(path, f"tile {tile.number} as its checksum says", "another")
        small = payload.tobytes() if len(payload) <= _PLAIN_BYTES else b""
        if small in self._plain:
            return self._plain[small]
        form, _, _, _, decoded, block, compressed = _BLOSC_HEADER.unpack(payload[: _BLOSC_HEADER.size].tobytes())
        expected = (_BLOSC_FORMAT, self.layout.tile_bytes, len(payload))
        if (form, decoded, compressed) != expected or not 0 < block <= max(decoded, 1):
            raise self._damage(
                path,
                f"tile {tile.number}: Blosc's format, bytes and compressed bytes {expected}",
                f"{(form, decoded, compressed)}, in blocks of {block} bytes",
            )
        try:
            blosc.decompress(payload, scratch)
        except (RuntimeError, ValueError) as error:
            raise self._damage(path, f"tile {tile.number} compressed by Blosc", str(error)) from None
        if small and (scratch == scratch.flat[0]).all() and len(self._plain) < _KEPT_PLAIN:
            self._plain[small] = np.broadcast_to(scratch.flat[0], scratch.shape)
        return scratch

    def _ranges(self, path: str, size: int, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            return self._files.read_ranges(path, ranges)
        except OSError as error:
            raise self._damage(path, f"{size} bytes", error.strerror or "nothing") from error

    def _damage(self, path: str, expected: str, found: str) -> IntegrityError:
        if isinstance(self._files, Keeping):
            self._files.forget(path)
        return IntegrityError(f"{self._files.name}/{path}: expected {expected}, found {found}. {DAMAGED}")


def _checked(content: np.ndarray) -> np.ndarray | None:
    """What stands before a checksum, if the checksum is that of it."""
    body, stored = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    return body if google_crc32c.value(body) == int.from_bytes(stored.tobytes(), "little") else None
