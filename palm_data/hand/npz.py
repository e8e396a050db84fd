"""Read `.npz` archives from strangers: arrays of numbers only, sizes checked before anything is allocated."""

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from schemas.errors import BadInputError

_MAX_HEADER = 4096
_PLAIN_KINDS = "biufU"


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
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadInputError(path, field="archive", expected="an undamaged .npz (zip) file", found=error) from error


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; the archive's own directory bounds how much is unpacked."""
    with archive.open(info) as stream:
        content = stream.read(info.file_size + 1)
    try:
        buffer = io.BytesIO(content)
        version = npy.read_magic(buffer)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(buffer, max_header_size=_MAX_HEADER)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise BadInputError(path, field=name, expected="an array in .npy format", found=error) from error
    if dtype.hasobject or dtype.kind not in _PLAIN_KINDS:
        raise BadInputError(
            path, field=name, expected="an array of numbers or text", found=f"dtype {dtype}",
            hint="Arrays of Python objects can run code when read, so they are never opened.",
        )  # fmt: skip
    count = math.prod(shape)
    held = len(content) - buffer.tell()
    if count * dtype.itemsize != held:
        raise BadInputError(path, field=name, expected=f"{count * dtype.itemsize} bytes of values", found=held)
    values = np.frombuffer(content, dtype, count=count, offset=buffer.tell())
    return values.reshape(shape, order="F" if fortran else "C").copy()
