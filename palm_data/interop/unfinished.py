"""A folder that grows under another name until it is whole, and can be gone on with after an interruption.

<parent>/.<name>.partial/     work in progress, with the request that it answers
<parent>/<name>/              the same, whole; put in place by one rename
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from palm_data.store.atomic import flush_directory, flush_tree, write_bytes
from schemas.errors import ConflictError

REQUEST_FILE = "palm_export.request.json"
"""What was asked for; in a folder that is whole as in one that is not yet."""

Request = Mapping[str, str | int | float | bool | list[str]]


def partial_folder(out: Path) -> Path:
    """Where a folder grows."""
    return out.parent / f".{out.name}.partial"


def is_whole(out: Path, request: Request) -> bool:
    """Whether the folder is there and answers this request; False if there is none, or an empty one.

    Raises:
        ConflictError: if something else is there; it is left alone.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    found = _request_in(out)
    if found is None:
        raise ConflictError(f"{out}: expected no such folder, or an empty one, found other things. Choose another one.")
    if found != dict(request):
        differing = ", ".join(key for key in sorted({*found, *request}) if found.get(key) != request.get(key))
        raise ConflictError(
            f"{out}: expected no such folder, found another export: it differs in {differing}. Choose another folder, "
            "or remove this one."
        )
    return True


@contextmanager
def growing(out: Path, request: Request) -> Iterator[Path]:
    """The folder to fill; it takes its final name when the block ends without an error.

    Work of an earlier run that answers the same request is kept, other work is removed. Files must be written whole or
    not at all, so that what is there need not be made again.

    Raises:
        ConflictError: if something that is no export of ours lies where the work in progress should, or another process
            finished the folder first.
    """
    out = out.absolute()
    partial = partial_folder(out)
    found = _request_in(partial)
    if partial.exists() and found is None and any(partial.iterdir()):
        raise ConflictError(f"{partial}: expected work in progress, found other things. Move them away.")
    if found is not None and found != dict(request):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    _remove_torn(partial)
    write_bytes(partial / REQUEST_FILE, (json.dumps(dict(request), indent=1, sort_keys=True) + "\n").encode())
    yield partial
    flush_tree(partial)
    try:
        partial.rename(out)  # an empty folder gives way, one with contents does not
    except OSError as error:
        raise ConflictError(
            f"{out}: expected no such folder, or an empty one, found {error.strerror}. Somebody else wrote it first."
        ) from error
    flush_directory(out.parent)


def _request_in(folder: Path) -> dict[str, object] | None:
    try:
        found = json.loads((folder / REQUEST_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _remove_torn(partial: Path) -> None:
    """What a killed run was writing aside."""
    for path in partial.rglob(".*.partial"):
        path.unlink()
