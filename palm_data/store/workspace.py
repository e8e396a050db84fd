"""The workspace: stages write once, and a stage's output appears only when it is whole.

    <workspace>/stages/<stage>/<key>/record.json            what is current; replaced atomically
    <workspace>/stages/<stage>/<key>/<fingerprint>/…        the files that the record names
    <workspace>/partial/<stage>/<key>/…                     work in progress; nothing reads it
    <workspace>/locks/<stage>/<key>.lock                    held by the one writer; dies with it

The fingerprint covers the stage's name, key, code version, settings and inputs, so running a stage again with the
same ones is a no-op. A killed writer leaves work in progress, or a folder that no record names; the next writer of
that stage and key removes both.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.atomic import file_sha256, flush_directory, flush_tree, write_bytes
from schemas.errors import IntegrityError, StoreError
from schemas.ids import Sha256

_log = logging.getLogger(__name__)
_RECORD = "record.json"


class OutputFile(BaseModel):
    """One file of a stage's output."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: Annotated[str, Field(description="Relative to the output's folder, forward slashes.")]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    sha256: Sha256


class StageRecord(BaseModel):
    """What a stage made for a key, from what."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    stage: str
    key: str
    code_version: str
    settings: dict[str, object]
    inputs: Annotated[dict[str, str], Field(description="Name of each input → its digest.")]
    fingerprint: Annotated[Sha256, Field(description="Digest of stage, key, code version, settings and inputs.")]
    outputs: tuple[OutputFile, ...]

    @property
    def digest(self) -> str:
        """Digest of the output's content alone: what a later stage names as its input."""
        return _digest([[item.path, item.bytes, item.sha256] for item in self.outputs])

    def digest_of(self, path: str) -> Sha256:
        """Digest of one file of the output, for a later stage that needs no other.

        Raises:
            StoreError: if the output has no such file.
        """
        for item in self.outputs:
            if item.path == path:
                return item.sha256
        raise StoreError(f"{self.stage}/{self.key}: expected {path} in its output, found none. Materialize it again.")


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class StageReport(BaseModel):
    """What a person or an orchestrator wants to know of a stage's run for a key."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    stage: str
    key: str
    ran: Annotated[bool, Field(description="False: the same output was there already.")]
    digest: Annotated[Sha256, Field(description="Digest of the output's content.")]
    figures: Annotated[
        dict[str, float | int | str | bool], Field(description="The output's figures.json, if it has one.")
    ]
    picture: Annotated[Path | None, Field(description="The output's picture.png, if it has one.")]


class Workspace:
    """A folder of stage outputs. Safe for several processes working on different keys, or racing for the same one."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def keys(self, stage: str) -> list[str]:
        """The keys that have a finished output of the stage, sorted."""
        folder = self.root / "stages" / stage
        return sorted(path.parent.name for path in folder.glob(f"*/{_RECORD}"))

    def records(self) -> Iterator[StageRecord]:
        """The records of all current outputs, by stage and key.

        Raises:
            IntegrityError: if a record is not readable.
        """
        for path in sorted((self.root / "stages").glob(f"*/*/{_RECORD}")):
            record = self.record(path.parent.parent.name, path.parent.name)
            if record is not None:
                yield record

    def record(self, stage: str, key: str) -> StageRecord | None:
        """The record of the current output, or None if the stage has not finished for this key.

        Raises:
            IntegrityError: if the record is not readable.
        """
        path = self._home(stage, key) / _RECORD
        try:
            return StageRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise IntegrityError(
                f"{path}: expected a stage record, found {error.error_count()} errors. Delete it to have the stage run again."
            ) from error

    def output(self, stage: str, key: str) -> Path:
        """The folder with the current output.

        Raises:
            StoreError: if the stage has not finished for this key.
        """
        record = self.record(stage, key)
        if record is None:
            raise StoreError(
                f"{self._home(stage, key)}: expected the output of stage {stage!r} for {key!r}, found none. Materialize it first."
            )
        return self._home(stage, key) / record.fingerprint

    def require(self, stage: str, key: str) -> StageRecord:
        """The record of the current output.

        Raises:
            StoreError: if the stage has not finished for this key.
        """
        record = self.record(stage, key)
        if record is None:
            raise StoreError(
                f"{self._home(stage, key)}: expected the output of stage {stage!r} for {key!r}, found none. Materialize it first."
            )
        return record

    def run_stage(
        self,
        stage: str,
        key: str,
        *,
        code_version: str,
        settings: Mapping[str, object],
        inputs: Mapping[str, str],
        work: Callable[[Path], None],
    ) -> StageReport:
        """Have `work` fill a fresh folder and make it the current output, unless the same output is there already.

        `work` must be a function of its inputs and settings only. Its folder may hold hard links to other outputs.

        By convention `work` leaves its figures in `figures.json` (a flat object) and one picture in `picture.png`;
        the report carries both.

        Raises:
            StoreError: if `work` produced no file. Whatever `work` raises passes through, and the old output stays.
        """
        fingerprint = _digest([stage, key, code_version, dict(settings), dict(inputs)])
        with self._lock(stage, key):
            current = self.record(stage, key)
            self._tidy(stage, key, current)
            if current is not None and current.fingerprint == fingerprint and self._complete(current):
                return self.report(current, ran=False)
            partial, start = self._fresh_partial(stage, key), time.perf_counter()
            try:
                work(partial)
                outputs = _describe(partial)
                if not outputs:
                    raise StoreError(f"stage {stage!r} for {key!r}: expected at least one output file, found none.")
                record = StageRecord(
                    stage=stage,
                    key=key,
                    code_version=code_version,
                    settings=dict(settings),
                    inputs=dict(inputs),
                    fingerprint=fingerprint,
                    outputs=outputs,
                )
                flush_tree(partial)
                self._install(record, partial)
                seconds = round(time.perf_counter() - start, 3)
                _log.info(
                    "stage finished", extra={"stage": stage, "key": key, "seconds": seconds, "files": len(outputs)}
                )
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return self.report(record, ran=True)

    def report(self, record: StageRecord, *, ran: bool) -> StageReport:
        """The report of a finished output."""
        folder = self._home(record.stage, record.key) / record.fingerprint
        figures, picture = folder / "figures.json", folder / "picture.png"
        return StageReport(
            stage=record.stage,
            key=record.key,
            ran=ran,
            digest=record.digest,
            figures=json.loads(figures.read_bytes()) if figures.exists() else {},
            picture=picture if picture.exists() else None,
        )

    def forget(self, stage: str, key: str) -> None:
        """Remove a stage's output for a key, if there is one (used when a subject is withdrawn)."""
        with self._lock(stage, key):
            (self._home(stage, key) / _RECORD).unlink(missing_ok=True)
            shutil.rmtree(self._home(stage, key), ignore_errors=True)

    def _home(self, stage: str, key: str) -> Path:
        for name in (stage, key):
            if not name or name.startswith(".") or "/" in name or "\\" in name:
                raise StoreError(f"workspace: expected a plain name, found {name!r}.")
        return self.root / "stages" / stage / key

    def _complete(self, record: StageRecord) -> bool:
        folder = self._home(record.stage, record.key) / record.fingerprint
        for item in record.outputs:
            try:
                if (folder / item.path).stat().st_size != item.bytes:
                    return False
            except OSError:
                return False
        return True

    def _fresh_partial(self, stage: str, key: str) -> Path:
        partial = self.root / "partial" / stage / key / uuid.uuid4().hex
        partial.mkdir(parents=True)
        return partial

    def _install(self, record: StageRecord, partial: Path) -> None:
        """Make the work in progress the current output. The old one stays current until the record is replaced."""
        home = self._home(record.stage, record.key)
        home.mkdir(parents=True, exist_ok=True)
        final = home / record.fingerprint
        if final.exists():  # current, but files are missing; all others of this name were tidied away
            (home / _RECORD).unlink(missing_ok=True)
            shutil.rmtree(final)
        partial.rename(final)
        flush_directory(home)
        write_bytes(home / _RECORD, record.model_dump_json(indent=1).encode())
        self._tidy(record.stage, record.key, record)

    def _tidy(self, stage: str, key: str, current: StageRecord | None) -> None:
        """Remove what dead writers left, and outputs that are not current. Call with the lock held."""
        shutil.rmtree(self.root / "partial" / stage / key, ignore_errors=True)
        home = self._home(stage, key)
        keep = {_RECORD, current.fingerprint if current else ""}
        for old in home.iterdir() if home.is_dir() else ():
            if old.is_dir() and old.name not in keep:
                shutil.rmtree(old, ignore_errors=True)
            elif old.name not in keep:
                old.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, stage: str, key: str) -> Iterator[None]:
        """One writer per stage and key; the kernel releases the lock when a writer dies."""
        self._home(stage, key)
        folder = self.root / "locks" / stage
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _describe(folder: Path) -> tuple[OutputFile, ...]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        OutputFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in paths
    )
