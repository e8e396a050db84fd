"""Reading what others delivered: bounded, regular files only, never outside the folder they belong to."""

from pathlib import Path, PurePosixPath

from schemas.errors import BadInputError, StoreError


def read_bounded(path: Path, *, max_bytes: int) -> bytes:
    """A regular file's bytes, refused before reading if there are too many.

    Raises:
        BadInputError: if there is no such regular file, it is empty, or it is too large.
        StoreError: if the disk would not give it; that may pass, so nothing is held against the file.
    """
    try:
        if not path.is_file():
            raise BadInputError(path, field="file", expected="a regular file", found="none")
        with path.open("rb") as stream:  # never asked for max_bytes: Python allocates what it is asked for
            size = path.stat().st_size
            content = stream.read(size + 1) if size <= max_bytes else None
    except OSError as error:
        raise StoreError(
            f"{path}: expected to read it, found {error.strerror}. Check the disk and run again."
        ) from error
    if content is None or len(content) > max_bytes:
        raise BadInputError(
            path,
            field="size",
            expected=f"at most {max_bytes} bytes",
            found=f"{path.stat().st_size} bytes",
            hint="If the file is right, raise the limit in the ingest settings.",
        )
    if not content:
        raise BadInputError(path, field="size", expected="at least one byte", found="an empty file")
    return content


def is_inside(path: Path, folder: Path) -> bool:
    """Whether the path, its symbolic links followed, lies in the folder (its links followed too)."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def require_inside(path: Path, folder: Path) -> None:
    """Refuse a path that leaves the folder through a symbolic link.

    Raises:
        BadInputError: if it does.
    """
    if not is_inside(path, folder):
        raise BadInputError(path, field="file", expected="a file inside the raw root", found="a link out of it")


def referenced_file(source: Path, name: str, *, field: str) -> Path:
    """The file that another file names, beside that file or below it; it may be missing.

    Raises:
        BadInputError: if the name is absolute, climbs out of the folder or leaves it through a link.
    """
    plain = PurePosixPath(name.replace("\\", "/"))
    path = source.parent / plain
    bad = not name or "\0" in name or plain.is_absolute() or ".." in plain.parts or ":" in name
    if bad or not is_inside(path, source.parent):
        raise BadInputError(
            source,
            field=field,
            expected="the name of a file beside this one",
            found=repr(name),
            hint="References out of the capture's folder are not followed.",
        )
    return path
