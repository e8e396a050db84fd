"""Read `.npz` archives from strangers: arrays of numbers only, sizes checked before anything is allocated."""

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from schemas.errors import BadInputError

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
"""Major version of the .npy format → bytes that hold the header's length."""
_HEADER = re.compile(
    rb"\{'descr': '(?P<type>[^']{1,16})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:\d{1,12}, ?)*(?:\d{1,12})?)\),? ?\}\s*"
)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    TypeError,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
)
"""What zipfile and numpy raise on archives that are damaged, encrypted or nonsense."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS_OR_TEXT = re.compile(rb"[<>|=]?[biufU]\d{1,6}")


def read_npz(path: Path, names: Collection[str], *, max_bytes: int) -> dict[str, np.ndarray]:
    """The named arrays that the archive holds; others in it are not even decompressed.

    Nothing is ever unpickled: an array of Python objects is refused by its header.

    Args:
        names: what to read; a name that the archive lacks is absent from the result.
        max_bytes: refuse when the file, or the arrays together, are larger.

    Raises:
        BadInputError: if it is not such an archive, an array is damaged, or it is too large.
    """
    if not path.is_file():
        raise BadInputError(path, field="file", expected="an .npz file", found="no such file")
    if (size := path.stat().st_size) > max_bytes:
        raise BadInputError(path, field="file size", expected=f"at most {max_bytes} bytes", found=size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = {name: members[name] for name in sorted(names) if name in members}
            total = sum(info.file_size for info in wanted.values())
            if total > max_bytes:
                raise BadInputError(path, field="unpacked size", expected=f"at most {max_bytes} bytes", found=total)
            return {name: _read_member(path, archive, name, info) for name, info in wanted.items()}
    except _DAMAGE as error:
        raise BadInputError(path, field="archive", expected="an undamaged .npz (zip) file", found=error) from error


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; the archive's own directory bounds how much is unpacked."""
    if info.compress_type not in _COMPRESSIONS:
        raise BadInputError(path, field=name, expected="stored or deflated bytes", found=f"type {info.compress_type}")
    with archive.open(info) as stream:
        content = stream.read(info.file_size + 1)
    header, start = _split_header(content)
    match = _HEADER.fullmatch(header)
    if match is None:
        raise BadInputError(path, field=name, expected="an array in .npy format", found=repr(header[:80]))
    if not _NUMBERS_OR_TEXT.fullmatch(match["type"]):
        raise BadInputError(
            path, field=name, expected="an array of numbers or text", found=f"type {match['type'].decode('latin-1')}",
            hint="Arrays of Python objects can run code when read, so they are never opened.",
        )  # fmt: skip
    dtype = np.dtype(match["type"].decode())
    shape = tuple(int(size) for size in match["shape"].replace(b",", b" ").split())
    count = math.prod(shape)
    held = len(content) - start
    if count * dtype.itemsize != held or not dtype.itemsize:
        raise BadInputError(path, field=name, expected=f"{count * dtype.itemsize} bytes of values", found=held)
    values = np.frombuffer(content, dtype, count=count, offset=start)
    return values.reshape(shape, order="F" if match["fortran"] == b"True" else "C").copy()


def _split_header(content: bytes) -> tuple[bytes, int]:
    """The header's text, and where the values start; empty if there is no header."""
    width = _LENGTH_BYTES.get(content[6], 0) if content.startswith(_MAGIC) and len(content) > len(_MAGIC) else 0
    start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
    return (content[8 + width : start], start) if width and start <= len(content) else (b"", 0)
