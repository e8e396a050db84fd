"""Partial copies of a version: what was chosen, remembered beside the version's files in `fetched.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import FILES_FILE
from palm_data.store.tables import load_rows
from palm_data.store.withdrawals import status_text
from schemas.errors import ConsentError, IntegrityError, StoreError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.release import FileRow
from schemas.withdrawal import VersionStatus

FETCHED_FILE = "fetched.json"
_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Selection(BaseModel):
    """Which files of a version are wanted. Files that are about no subject (tables, texts) always are."""

    model_config = _FROZEN

    subjects: Annotated[tuple[SubjectId, ...] | None, Field(description="None: all.")] = None
    modalities: Annotated[tuple[str, ...] | None, Field(description="As in files.parquet; None: all.")] = None
    tiers: Annotated[tuple[str, ...] | None, Field(description="Resolution tiers; None: all.")] = None

    @property
    def everything(self) -> bool:
        """Whether no file is left out."""
        return self.subjects is self.modalities is self.tiers is None

    def takes(self, row: FileRow) -> bool:
        """Whether a file is wanted."""
        if row.subject_id is None:
            return True
        if self.subjects is not None and row.subject_id not in self.subjects:
            return False
        if self.modalities is not None and row.modality not in (*self.modalities, "metadata"):
            return False
        return self.tiers is None or row.tier is None or row.tier in self.tiers

    def checked(self, rows: Sequence[FileRow], name: str) -> "Selection":
        """The selection, if the version has what it names.

        Raises:
            StoreError: if not; says what it has.
        """
        for field, has in (
            ("subjects", {row.subject_id for row in rows if row.subject_id is not None}),
            ("modalities", {row.modality for row in rows if row.subject_id is not None}),
            ("tiers", {row.tier for row in rows if row.tier is not None}),
        ):
            wanted = getattr(self, field)
            missing = sorted(set(wanted or ()) - has)
            if missing:
                raise StoreError(
                    f"{name}: {field}: expected some of {', '.join(sorted(has))}, found {', '.join(missing)}."
                )
        return self

    def consented(self, rows: Sequence[FileRow], status: VersionStatus) -> "Selection":
        """The selection without people who withdrew.

        Raises:
            ConsentError: if one of them is selected by name.
        """
        gone, everybody = status.withdrawn_ids, {row.subject_id for row in rows if row.subject_id is not None}
        named = sorted(gone & set(self.subjects or ()))
        if named:
            raise ConsentError(
                f"version {status.version}: {status_text(status)} Expected others, found {', '.join(named)}."
            )
        if not gone & everybody or self.subjects is not None:
            return self
        return self.model_copy(update={"subjects": tuple(sorted(everybody - gone))})


class Fetched(BaseModel):
    """What of a version was fetched, and from where."""

    model_config = _FROZEN

    version: VersionId
    merkle_root: Sha256
    source: Annotated[str, Field(description="Where the version was fetched from: a path or a URL.")]
    selections: Annotated[tuple[Selection, ...], Field(min_length=1, description="What was asked for, each time.")]

    def takes(self, row: FileRow) -> bool:
        """Whether a file was fetched."""
        return any(selection.takes(row) for selection in self.selections)


def read_fetched(files: Files) -> Fetched | None:
    """What was fetched; None if the copy is meant to be whole.

    Raises:
        IntegrityError: if the file is damaged.
        StoreError: if a remote place refuses or does not answer.
    """
    try:
        return Fetched.model_validate_json(files.read(FETCHED_FILE))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{files.name}/{FETCHED_FILE}: expected what was fetched, found {error}") from error


def fetched_bytes(fetched: Fetched) -> bytes:
    """The content of `fetched.json`."""
    return (json.dumps(fetched.model_dump(mode="json"), indent=1) + "\n").encode()


class PartialFiles(LocalFiles):
    """A partial copy: what was left out is told from what is damaged."""

    def __init__(self, root: Path, fetched: Fetched) -> None:
        """Take the folder, and what was fetched."""
        super().__init__(root)
        self._fetched = fetched

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            StoreError: if it was not fetched.
        """
        try:
            return super().read(path)
        except FileNotFoundError:
            self._explain(path)
            raise

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of a file.

        Raises:
            StoreError: if it was not fetched.
        """
        try:
            return super().read_ranges(path, ranges)
        except FileNotFoundError:
            self._explain(path)
            raise

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none.

        Raises:
            StoreError: if it was not fetched.
        """
        size = super().size(path)
        if size is None and path != FETCHED_FILE:
            self._explain(path)
        return size

    def _explain(self, path: str) -> None:
        if path == FILES_FILE or LocalFiles(self.root).size(FILES_FILE) is None:
            return
        rows = load_rows(LocalFiles(self.root), FILES_FILE, FileRow)
        row = next((row for row in rows if row.path == path), None)
        if row is not None and not self._fetched.takes(row):
            raise StoreError(
                f"{self.name}/{path}: expected a file, found that it was not fetched ({row.modality} of {row.subject_id}). "
                f"Fetch it with: palm fetch {self._fetched.version} --from {self._fetched.source.rpartition('/')[0]} "
                f"--to {self.root.parent} --subjects {row.subject_id} --modalities {row.modality}"
            )
