"""Dicts of numbers as numpy pickles them into `.npy` files, in words that numpy 1 and numpy 2 both know.

Numpy 2 names its inner module `numpy._core`, which numpy 1 cannot import; `numpy.core` works in both. So the pickle is
written here, opcode by opcode, and mentions three names only: `numpy.core.multiarray._reconstruct`, `numpy.ndarray` and
`numpy.dtype`. Same content, same bytes.
"""

import io
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from palm_data.capture.raw_files import read_bounded
from palm_data.hand.pickle_reader import read_pickled_tree
from schemas.errors import BadInputError, StoreError

Plain: TypeAlias = "str | int | float | np.ndarray | Mapping[str, Plain] | Sequence[Plain]"

_PROTOCOL = 3  # the highest that numpy 1.23's own files have
_MAX_BYTES = 256 << 20
_RECONSTRUCT = pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n"
_NDARRAY = pickle.GLOBAL + b"numpy\nndarray\n"
_DTYPE = pickle.GLOBAL + b"numpy\ndtype\n"
_NUMBERS = "fiu"


def object_npy(content: Mapping[str, Plain]) -> bytes:
    """A `.npy` file whose one element is a dict: `np.load(path, allow_pickle=True).item()` gives it back.

    Raises:
        StoreError: if it holds anything but text, numbers, arrays of numbers, lists and dicts of these.
    """
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    element = pickle.EMPTY_LIST + _value(content) + pickle.APPEND
    array = _array((), _dtype("O8", "|", flags=63), element)
    return stream.getvalue() + pickle.PROTO + bytes([_PROTOCOL]) + array + pickle.STOP


def read_object_npy(path: Path) -> object:
    """The element of such a file, as `parse_object_npy` gives it.

    Raises:
        BadInputError: if it is not such a file, or mentions any class or function but numpy's own for arrays.
        StoreError: if the disk would not give it.
    """
    return parse_object_npy(read_bounded(path, max_bytes=_MAX_BYTES), path)


def parse_object_npy(content: bytes, source: Path) -> object:
    """The element as plain dicts, lists, texts, numbers and arrays; nothing in it is executed.

    Raises:
        BadInputError: if it is not such a file, or mentions any class or function but numpy's own for arrays.
    """
    stream = io.BytesIO(content)
    try:
        major, minor = np.lib.format.read_magic(stream)
        if (int(major), int(minor)) != (1, 0):
            raise ValueError(f"format {major}.{minor}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, EOFError, SyntaxError) as error:
        raise BadInputError(source, field="header", expected="a .npy file", found=error) from error
    if shape != () or dtype != np.dtype(object):
        raise BadInputError(source, field="header", expected="one pickled object", found=f"{dtype} of shape {shape}")
    return read_pickled_tree(stream.read(), source)


def _value(value: Plain) -> bytes:
    if isinstance(value, np.ndarray):
        return _numbers(value)
    return _container(value) if isinstance(value, str | Mapping | Sequence) else _number(value)


def _container(value: "str | Mapping[str, Plain] | Sequence[Plain]") -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    if isinstance(value, Mapping):
        items = b"".join(_value(key) + _value(entry) for key, entry in value.items())
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_value, value)) + pickle.APPENDS


def _number(value: object) -> bytes:
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(value)
    raise StoreError(f"pickle: expected text, numbers, arrays, lists or dicts, found {type(value).__name__}.")


def _integer(value: int) -> bytes:
    if not -(2**31) <= value < 2**31:
        raise StoreError(f"pickle: expected whole numbers of 32 bits, found {value}.")
    return pickle.BININT + struct.pack("<i", value)


def _bytes(content: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(content)) + content


def _tuple(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def _numbers(array: np.ndarray) -> bytes:
    if array.dtype.kind not in _NUMBERS:
        raise StoreError(f"pickle: expected an array of numbers, found one of {array.dtype}.")
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return _array(little.shape, _dtype(f"{little.dtype.kind}{little.dtype.itemsize}", "<"), _bytes(little.tobytes()))


def _array(shape: tuple[int, ...], dtype: bytes, content: bytes) -> bytes:
    empty = _RECONSTRUCT + _tuple(_NDARRAY, _tuple(_integer(0)), _bytes(b"b")) + pickle.REDUCE
    sizes = _tuple(*map(_integer, shape))
    return empty + _tuple(_integer(1), sizes, dtype, pickle.NEWFALSE, content) + pickle.BUILD


def _dtype(code: str, order: str, flags: int = 0) -> bytes:
    none, minus = pickle.NONE, _integer(-1)
    state = _tuple(_integer(3), _value(order), none, none, none, minus, minus, _integer(flags))
    return _DTYPE + _tuple(_value(code), pickle.NEWFALSE, pickle.NEWTRUE) + pickle.REDUCE + state + pickle.BUILD
