"""Files that appear whole or not at all."""

import errno
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import ParamSpec, TypeVar

from schemas.errors import StoreError

_READ_BYTES = 1 << 22
_REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE,
}  # fmt: skip
"""What a disk says when it is full, broken or not ours; other errors of the operating system are defects of ours."""
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def refused_by_disk(work: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Have a full or broken disk come out as a StoreError; for work that leaves the old state or the new one."""

    @functools.wraps(work)
    def told(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            return work(*args, **kwargs)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            raise StoreError(
                f"{error.filename or 'the disk'}: expected to write there, found: {error.strerror}. What was published "
                "before is unchanged. Make room, or see to the disk, and run again."
            ) from error

    return told


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def flush_directory(directory: Path) -> None:
    """Make renames inside a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(root: Path) -> None:
    """Make every file and folder below a directory durable."""
    for folder, _, names in os.walk(root):
        for name in names:
            descriptor = os.open(Path(folder) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        flush_directory(Path(folder))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` once the block ends without an error.

    Readers see the old file or the new one, after a crash too; the temporary file is removed on error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".partial", delete=False) as stream:
        partial = Path(stream.name)
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(path)
        flush_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with replacing(path) as partial:
        partial.write_bytes(content)
