"""The table of a version's files."""

from collections.abc import Iterable, Mapping

from palm_data.store.files import Files
from palm_data.store.manifest import FILES_FILE, read_manifest
from palm_data.store.tables import load_rows
from schemas.release import FileRow


def file_rows(files: Files) -> list[FileRow]:
    """The files of a version, as its own table of them says.

    Raises:
        IntegrityError: if that or the manifest is damaged.
        StoreError: if there is no version here, or a remote place refuses or does not answer.
    """
    return load_rows(files, FILES_FILE, FileRow, sha256=read_manifest(files).files_sha256)


def sizes_by(rows: Iterable[FileRow], field: str) -> Mapping[str, tuple[int, int]]:
    """Files and bytes of each value of a field of the rows, sorted; the rows without one are `all`."""
    totals: dict[str, tuple[int, int]] = {}
    for row in rows:
        name = getattr(row, field) or "all"
        files, size = totals.get(name, (0, 0))
        totals[name] = (files + 1, size + row.bytes)
    return dict(sorted(totals.items()))
