"""The bodies of PLY files: rows of scalars and lists, binary or ASCII, never more than the file has bytes for."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from palm_data.capture.scan_parts import malformed, parse_numbers

_STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}


@dataclass(frozen=True)
class Property:
    """A column of an element: a scalar, or a list with a count in front."""

    name: str
    item: str
    """numpy's code of the type, without byte order."""
    count: str | None
    """The count's type if it is a list."""


@dataclass(frozen=True)
class Element:
    """A table that the header announces."""

    name: str
    rows: int
    properties: list[Property]


@dataclass(frozen=True)
class Table:
    """An element's rows: scalars as columns, lists as counts and the items of all rows in one."""

    scalars: dict[str, Shaped[ndarray, "rows"]] = field(default_factory=dict)
    lists: dict[str, tuple[Int[ndarray, "rows"], Shaped[ndarray, "items"]]] = field(default_factory=dict)


class Body(Protocol):
    """Elements in the order of the header."""

    def read(self, element: Element) -> Table:
        """The element's rows."""

    def finish(self) -> None:
        """Complain about anything left over."""


class BinaryBody:
    """A binary body, read from a position on."""

    def __init__(self, content: bytes, position: int, byte_order: str, source: Path) -> None:
        self._content, self._position, self._order, self._source = content, position, byte_order, source

    def read(self, element: Element) -> Table:
        """The element's rows: as one block if all lists are as long as the first row's, else row by row.

        Raises:
            BadInputError: if the file is too short for them.
        """
        if not element.properties or element.rows == 0:
            return _no_rows(element)
        least = sum(np.dtype(item.count or item.item).itemsize for item in element.properties)
        self._need(element, element.rows * least)
        lengths = self._first_lengths(element)
        row = self._row_type(element, lengths)
        if row.itemsize * element.rows <= len(self._content) - self._position:
            rows = np.frombuffer(self._content, dtype=row, count=element.rows, offset=self._position)
            if all((rows[f"n{index}"] == length).all() for index, length in lengths.items()):
                self._position += row.itemsize * element.rows
                return _table(element, rows, lengths)
        return self._read_rows(element)

    def finish(self) -> None:
        """Nothing but blanks may be left.

        Raises:
            BadInputError: if there is more than the header announced.
        """
        rest = len(self._content) - self._position
        if rest > 2 or self._content[self._position :].strip():
            raise malformed(self._source, "length", "as many bytes as the header announces", f"{rest} more")

    def _need(self, element: Element, size: int) -> None:
        rest = len(self._content) - self._position
        if size > rest:
            found = f"{rest}: the file is cut short, or the count is wrong"
            raise malformed(
                self._source, f"element {element.name}", f"{element.rows} rows, {size} bytes or more", found
            )

    def _first_lengths(self, element: Element) -> dict[int, int]:
        lengths, position = {}, self._position
        for index, item in enumerate(element.properties):
            if item.count is not None:
                lengths[index] = self._length(element, item, position)
                position += np.dtype(item.count).itemsize + lengths[index] * np.dtype(item.item).itemsize
            else:
                position += np.dtype(item.item).itemsize
        return lengths

    def _length(self, element: Element, item: Property, position: int) -> int:
        size = np.dtype(item.count).itemsize
        self._need(element, position - self._position + size)
        (length,) = struct.unpack_from(self._order + _STRUCT[str(item.count)], self._content, position)
        if length < 0:
            raise malformed(self._source, f"{element.name}.{item.name}", "a list length of 0 or more", length)
        self._need(element, position - self._position + size + length * np.dtype(item.item).itemsize)
        return length

    def _row_type(self, element: Element, lengths: dict[int, int]) -> np.dtype:
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        for index, item in enumerate(element.properties):
            if index in lengths:
                fields.append((f"n{index}", f"{self._order}{item.count}"))
                fields.append((f"p{index}", f"{self._order}{item.item}", (lengths[index],)))
            else:
                fields.append((f"p{index}", f"{self._order}{item.item}"))
        return np.dtype(fields)

    def _read_rows(self, element: Element) -> Table:
        """Lists of differing length: walk the rows; scalars beside them are passed over."""
        starts: dict[int, list[tuple[int, int]]] = {i: [] for i, item in enumerate(element.properties) if item.count}
        for _ in range(element.rows):
            for index, item in enumerate(element.properties):
                if item.count is not None:
                    length = self._length(element, item, self._position)
                    self._position += np.dtype(item.count).itemsize
                    starts[index].append((self._position, length))
                    self._position += length * np.dtype(item.item).itemsize
                else:
                    self._need(element, np.dtype(item.item).itemsize)
                    self._position += np.dtype(item.item).itemsize
        table = Table()
        for index, spans in starts.items():
            item = element.properties[index]
            size, dtype = np.dtype(item.item).itemsize, np.dtype(f"{self._order}{item.item}")
            content = b"".join([self._content[start : start + length * size] for start, length in spans])
            counts = np.array([length for _, length in spans], dtype=np.int64)
            table.lists[item.name] = (counts, np.frombuffer(content, dtype=dtype))
        return table


class AsciiBody:
    """An ASCII body: numbers between blanks, whatever the line breaks."""

    def __init__(self, content: bytes, source: Path) -> None:
        self._source = source
        tokens = len(content.split())
        numbers = parse_numbers(content, np.float64, tokens)
        if numbers is None:
            raise malformed(source, "body", "numbers", "text")
        self._numbers, self._position = numbers, 0

    def read(self, element: Element) -> Table:
        """The element's rows.

        Raises:
            BadInputError: if there are too few numbers for them.
        """
        if not element.properties or element.rows == 0:
            return _no_rows(element)
        self._need(element, element.rows * len(element.properties))
        lengths, width = self._first_lengths(element)
        end = self._position + width * element.rows
        if end <= len(self._numbers):
            rows = self._numbers[self._position : end].reshape(element.rows, width)
            table = _ascii_table(element, rows, lengths)
            if table is not None:
                self._position = end
                return table
        return self._read_rows(element)

    def finish(self) -> None:
        """No number may be left.

        Raises:
            BadInputError: if there are more than the header announced.
        """
        rest = len(self._numbers) - self._position
        if rest:
            raise malformed(self._source, "length", "as many numbers as the header announces", f"{rest} more")

    def _need(self, element: Element, count: int) -> None:
        rest = len(self._numbers) - self._position
        if count > rest:
            found = f"{rest}: the file is cut short, or the count is wrong"
            raise malformed(
                self._source, f"element {element.name}", f"{element.rows} rows, {count} numbers or more", found
            )

    def _length(self, element: Element, item: Property, position: int) -> int:
        self._need(element, position - self._position + 1)
        length = self._numbers[position]
        if not (length >= 0 and length == np.rint(length)):
            raise malformed(self._source, f"{element.name}.{item.name}", "a list length of 0 or more", length)
        if length > len(self._numbers):
            self._need(element, len(self._numbers) + 1)
        self._need(element, position - self._position + 1 + int(length))
        return int(length)

    def _first_lengths(self, element: Element) -> tuple[dict[int, int], int]:
        lengths, position = {}, self._position
        for index, item in enumerate(element.properties):
            if item.count is not None:
                lengths[index] = self._length(element, item, position)
            position += 1 + lengths.get(index, 0)
        return lengths, position - self._position

    def _read_rows(self, element: Element) -> Table:
        spans: dict[str, list[ndarray]] = {item.name: [] for item in element.properties if item.count}
        for _ in range(element.rows):
            for item in element.properties:
                length = 0
                if item.count is not None:
                    length = self._length(element, item, self._position)
                    first = self._position + 1
                    spans[item.name].append(self._numbers[first : first + length])
                else:
                    self._need(element, 1)
                self._position += 1 + length
        table = Table()
        for name, parts in spans.items():
            table.lists[name] = (np.array([len(part) for part in parts], dtype=np.int64), np.concatenate(parts))
        return table


def _no_rows(element: Element) -> Table:
    none = np.zeros(0, dtype=np.int64)
    table = Table()
    for item in element.properties:
        if item.count is None:
            table.scalars[item.name] = none.astype(np.float64)
        else:
            table.lists[item.name] = (none, none)
    return table


def _table(element: Element, rows: ndarray, lengths: dict[int, int]) -> Table:
    table = Table()
    for index, item in enumerate(element.properties):
        column = rows[f"p{index}"]
        if index in lengths:
            table.lists[item.name] = (np.full(element.rows, lengths[index], dtype=np.int64), column.reshape(-1))
        else:
            table.scalars[item.name] = column
    return table


def _ascii_table(element: Element, rows: ndarray, lengths: dict[int, int]) -> Table | None:
    """The rows as a table, or None if their lists are not all as long as the first row's."""
    table, column = Table(), 0
    for index, item in enumerate(element.properties):
        if index not in lengths:
            table.scalars[item.name] = rows[:, column]
            column += 1
            continue
        length = lengths[index]
        if (rows[:, column] != length).any():
            return None
        items = rows[:, column + 1 : column + 1 + length].reshape(-1)
        table.lists[item.name] = (np.full(element.rows, length, dtype=np.int64), items)
        column += 1 + length
    return table
