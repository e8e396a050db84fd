"""Reads the arrays out of a pickled dict without letting the pickle run anything.

The unpickler resolves no name to real code: every class or function a hand-model pickle may mention (numpy, scipy's
CSC matrix, chumpy's `Ch` and `Select`) is replaced by a record of ours that only keeps what it was given. Any
other name ends the reading. The arrays are built afterwards, from checked sizes.
"""

import io
import math
import pickle
import re
from pathlib import Path

import numpy as np

from palm_data.hand.sealed_unpickler import SealedUnpickler
from schemas.errors import BadInputError

_MAX_BYTES = 256 << 20
_CODE = re.compile(r"[<>=|]?(?:f[248]|[iu][1248]|b1)")
_MAX_DIMENSIONS = 8
_MAX_SIZE = 1 << 31
_MAX_BITS = 64
_NAME_SHOWN = 80
_ERROR_SHOWN = 300
_A_SHAPE = f"a shape of at most {_MAX_DIMENSIONS} whole numbers below {_MAX_SIZE}"


class _Array:
    """What a pickle says of a numpy array: shape, type and bytes."""

    state: tuple[object, ...] = ()

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, tuple) else ()


class _Type:
    """What a pickle says of a numpy dtype: its code and byte order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code
        self.order: object = "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = state[1]


class _Scalar:
    """A numpy scalar: its type and bytes; a hand model has none that matters."""

    def __init__(self, dtype: object = None, content: object = None) -> None:
        self.state = (1, (), dtype, False, content)


class _Attributes:
    """An object known by its attributes alone."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def attribute(self, name: str) -> object:
        return self.state.get(name) if isinstance(self.state, dict) else None


class _Sparse(_Attributes):
    """A `scipy.sparse.csc_matrix`."""


class _Chumpy(_Attributes):
    """A `chumpy.Ch`: its value is `x`."""


class _Select(_Attributes):
    """A `chumpy` selection: entries `idxs` of the flattened `a`, reshaped to `preferred_shape`."""


def _new_array(*_: object) -> _Array:
    return _Array()


def _array_from_buffer(content: object, dtype: object, shape: object, order: object = "C") -> _Array:
    """Stands for numpy's protocol 5 constructor."""
    array = _Array()
    array.state = (1, shape, dtype, order == "F", bytes(content) if isinstance(content, bytes | bytearray) else None)
    return array


def _new_object(cls: object, *_: object) -> object:
    if cls in (_Sparse, _Chumpy, _Select):
        return cls()
    raise pickle.UnpicklingError(f"an object of {getattr(cls, '__name__', type(cls).__name__)}")


def _new_set(*_: object) -> None:
    """Stands for a set, of which a hand model has none that matters."""


def _text_bytes(text: object, _encoding: object = "latin1") -> bytes:
    """Stands for `_codecs.encode`, by which protocol 2 stores bytes."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError(f"bytes from {type(text).__name__}")
    return text.encode("latin1")


_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED: dict[tuple[str, str], object] = {
    **{(module, "_reconstruct"): _new_array for module in _NUMPY_CORE},
    **{(module, "scalar"): _Scalar for module in _NUMPY_CORE},
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("scipy.sparse.csc", "csc_matrix"): _Sparse,
    ("scipy.sparse._csc", "csc_matrix"): _Sparse,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Select,
    ("copy_reg", "_reconstructor"): _new_object,
    ("copyreg", "_reconstructor"): _new_object,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): _new_set,
    ("builtins", "set"): _new_set,
    ("_codecs", "encode"): _text_bytes,
}


class _Reader(SealedUnpickler):
    """Resolves names to records of ours, and no others."""

    allowed = _ALLOWED


def read_pickled_arrays(path: Path) -> dict[str, np.ndarray | str]:
    """The arrays and texts of a pickled dict; entries that are neither are left out.

    Sparse matrices come back dense, chumpy objects as their values.

    Raises:
        BadInputError: if it is not such a pickle, mentions any other class or function, or its sizes do not fit.
    """
    if not path.is_file():
        raise BadInputError(path, field="file", expected="a pickled hand model (.pkl)", found="no such file")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise BadInputError(path, field="file size", expected=f"at most {_MAX_BYTES} bytes", found=size)
    try:
        content = _Reader(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a malformed pickle can raise anything; nothing of it has run
        raise BadInputError(
            path, field="pickle", expected="a dict of numpy, scipy CSC and chumpy arrays", found=f"{type(error).__name__}: {error}"[:_ERROR_SHOWN],
            hint="Nothing in the file was executed. Check that this is the hand model you downloaded.",
        ) from error  # fmt: skip
    if not isinstance(content, dict):
        raise BadInputError(path, field="pickle", expected="a dict", found=type(content).__name__)
    arrays: dict[str, np.ndarray | str] = {}
    try:
        for name, value in content.items():
            if isinstance(name, str) and (converted := _value(value, path, name[:_NAME_SHOWN])) is not None:
                arrays[name] = converted
    except RecursionError:
        raise BadInputError(path, field="pickle", expected="arrays", found="objects that hold themselves") from None
    return arrays


def read_pickled_tree(content: bytes, source: Path) -> object:
    """A pickle's nested dicts, lists and tuples (as lists) of texts, numbers and arrays; nothing in it is executed.

    Raises:
        BadInputError: if it is not such a pickle, or mentions any class or function but numpy's own for arrays.
    """
    try:
        return _plain(_Reader(io.BytesIO(content), encoding="latin1").load(), source, "pickle", {})
    except BadInputError:
        raise
    except Exception as error:  # a malformed pickle can raise anything; nothing of it has run
        raise BadInputError(
            source, field="pickle", expected="dicts, lists, numbers and numpy arrays", found=f"{type(error).__name__}: {error}"[:_ERROR_SHOWN],
            hint="Nothing in the file was executed.",
        ) from error  # fmt: skip


def _plain(value: object, source: Path, name: str, seen: dict[int, object]) -> object:
    """What a value stands for; one that is mentioned many times is built once."""
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        expected = f"a whole number of at most {_MAX_BITS} bits"
        raise BadInputError(source, field=name, expected=expected, found=f"one of {value.bit_length()}")
    if value is None or isinstance(value, str | int | float):
        return value
    if id(value) not in seen:
        seen[id(value)] = _plain_once(value, source, name, seen)
    return seen[id(value)]


def _plain_once(value: object, source: Path, name: str, seen: dict[int, object]) -> object:
    if isinstance(value, dict):
        return {key: _plain(entry, source, _below(name, key), seen) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, source, _below(name, at), seen) for at, entry in enumerate(value)]
    if isinstance(value, _Scalar):
        return _dense(value, source, name).item()
    if isinstance(value, _Array):
        match value.state:
            case (int(), (), _Type(code="O8" | "O"), _, [element]):
                return _plain(element, source, name, seen)
        return _dense(value, source, name)
    raise BadInputError(source, field=name, expected="a number, text, array, list or dict", found=type(value).__name__)


def _below(name: str, key: object) -> str:
    """Where an entry is; short, since one long key can stand at every level of a deep nest."""
    return f"{name}[{(key[:_NAME_SHOWN] if isinstance(key, str | bytes) else key)!r}]"[:_NAME_SHOWN]


def _value(value: object, path: Path, name: str) -> np.ndarray | str | None:
    """The plain array or text that an unpickled value stands for; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, _Array):
        return _dense(value, path, name)
    if isinstance(value, _Chumpy):
        return _value(value.attribute("x"), path, name)
    if isinstance(value, _Sparse):
        return _from_sparse(value, path, name)
    if isinstance(value, _Select):
        return _from_select(value, path, name)
    return None


def _dense(value: _Array | _Scalar, path: Path, name: str) -> np.ndarray:
    match value.state:
        case (
            int(),
            tuple(shape),
            _Type(code=str(code), order=str(order)),
            bool() | 0 | 1 as fortran,
            (bytes() | str()) as raw,
        ):
            pass
        case _:
            raise BadInputError(path, field=name, expected="a numpy array of plain numbers", found="another state")
    if not _CODE.fullmatch(code):
        raise BadInputError(path, field=name, expected="a dtype of plain numbers", found=repr(code[:_NAME_SHOWN]))
    sizes = _sizes(shape)
    if sizes is None:
        raise BadInputError(path, field=name, expected=_A_SHAPE, found="another")
    dtype = np.dtype(("<" if order in "=|<" else ">") + code.lstrip("<>=|"))
    try:
        content = raw.encode("latin1") if isinstance(raw, str) else raw
    except UnicodeEncodeError:
        raise BadInputError(path, field=name, expected="bytes", found="text") from None
    if math.prod(sizes) * dtype.itemsize != len(content):
        raise BadInputError(path, field=name, expected=f"{math.prod(sizes) * dtype.itemsize} bytes", found=len(content))
    return np.frombuffer(content, dtype).reshape(sizes, order="F" if fortran else "C").copy()


def _inner(holder: _Attributes, attribute: str, path: Path, name: str) -> np.ndarray:
    value = _value(holder.attribute(attribute), path, f"{name}.{attribute}")
    if not isinstance(value, np.ndarray):
        raise BadInputError(path, field=f"{name}.{attribute}", expected="an array", found=type(value).__name__)
    return value


def _shape(holder: _Attributes, attribute: str, path: Path, name: str) -> tuple[int, ...]:
    sizes = _sizes(holder.attribute(attribute))
    if sizes is None or math.prod(sizes) * 8 > _MAX_BYTES:
        raise BadInputError(path, field=f"{name}.{attribute}", expected=_A_SHAPE, found="another")
    return sizes


def _sizes(shape: object) -> tuple[int, ...] | None:
    """The shape, if it is one of an array that could be meant; whatever else it is, is not even printed."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        return None
    sizes = tuple(size for size in shape if isinstance(size, int) and 0 <= size < _MAX_SIZE)
    return sizes if len(sizes) == len(shape) else None


def _from_sparse(value: _Sparse, path: Path, name: str) -> np.ndarray:
    """The dense matrix of compressed columns; by hand, since scipy follows damaged pointers out of the array."""
    shape = _shape(value, "_shape", path, name)
    entries, rows, pointers = (_inner(value, part, path, name).ravel() for part in ("data", "indices", "indptr"))
    valid = (
        len(shape) == 2
        and rows.dtype.kind in "iu"
        and pointers.dtype.kind in "iu"
        and len(pointers) == shape[1] + 1
        and len(entries) == len(rows) == pointers[-1]
        and pointers[0] == 0
        and bool((np.diff(pointers.astype(np.int64)) >= 0).all())
        and (not rows.size or (rows.min() >= 0 and rows.max() < shape[0]))
    )
    if not valid:
        raise BadInputError(
            path, field=name, expected="a valid CSC matrix", found=f"pointers or rows that do not fit shape {shape}"
        )
    matrix = np.zeros(shape, entries.dtype)
    counts = pointers[1:].astype(np.int64) - pointers[:-1].astype(np.int64)
    np.add.at(matrix, (rows, np.repeat(np.arange(shape[1]), counts)), entries)
    return matrix


def _from_select(value: _Select, path: Path, name: str) -> np.ndarray:
    base, rows = _inner(value, "a", path, name).ravel(), _inner(value, "idxs", path, name).ravel()
    shape = _shape(value, "preferred_shape", path, name)
    if (
        rows.dtype.kind not in "iu"
        or rows.size != math.prod(shape)
        or (rows.size and not (rows.min() >= 0 and rows.max() < base.size))
    ):
        raise BadInputError(
            path,
            field=f"{name}.idxs",
            expected=f"{math.prod(shape)} indices below {base.size}",
            found=f"{rows.size} of {rows.dtype}",
        )
    return base[rows].reshape(shape)
