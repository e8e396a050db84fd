"""Objects shared by content: a file that is there already is not stored again.

Workspace outputs and released files are never changed in place, so that one inode may serve the workspace and any
number of versions. Where a hard link is not possible the file is cloned (reflink) or, failing that, copied.
"""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Literal

from palm_data.store.atomic import file_sha256
from schemas.errors import IntegrityError
from schemas.ids import Sha256

DAMAGED_WORKSPACE = (
    "The workspace is damaged: delete the subject's folders below its stages and materialize the subject again."
)
"""What to do about a stage output that is not what its record says: running the stage again would find it finished."""

Shared = Literal["link", "clone", "copy"]

_FICLONE = 0x40049409  # linux/fs.h: share the extents of another file on btrfs, xfs, bcachefs
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


def place(source: Path, target: Path) -> Shared:
    """Have the source's content appear at the target, which must not exist, at the least cost; say which it was.

    Raises:
        OSError: if the source is not readable, the target exists, or the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        return "link"
    if _clone(source, target):
        return "clone"
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 22)
    return "copy"


def check_file(path: Path, *, size: int, sha256: Sha256, hint: str) -> None:
    """Hold a file to its size and digest.

    Raises:
        IntegrityError: if it is missing, is a link or folder, or has other content; says what was found.
    """
    found = describe_difference(path, size=size, sha256=sha256)
    if found is not None:
        raise IntegrityError(f"{path}: expected {found[0]}, found {found[1]}. {hint}")


def describe_difference(path: Path, *, size: int, sha256: Sha256 | None) -> tuple[str, str] | None:
    """What was expected and what was found, if the file is not the one described; None if it is.

    Args:
        sha256: None to look at the kind and size only, without reading the content.
    """
    try:
        if path.is_symlink() or not path.is_file():
            kind = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "nothing"
            return f"a file of {size} bytes", kind
        actual = path.stat().st_size
        if actual != size:
            return f"{size} bytes", f"{actual} bytes"
        digest = sha256 and file_sha256(path)
    except OSError as error:
        return f"a readable file of {size} bytes", error.strerror or str(error)
    return None if digest == sha256 else (f"sha256 {sha256}", digest or "nothing")


def _clone(source: Path, target: Path) -> bool:
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            cloned = False
        else:
            cloned = True
    if not cloned:
        target.unlink()
    return cloned
