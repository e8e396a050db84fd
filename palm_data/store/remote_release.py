"""Publishing in an object store, which has neither renames nor locks, but puts that create and never replace.

    <releases>/.claims/<version>.json    created first: which contents (merkle root) this version is being made of
    <releases>/<version>/…               uploaded, each read back; shared files are copied from the parent by the store
    <releases>/<version>/manifest.json   created last, and only if there is none: now the version exists

Publishers of the same contents may work side by side: they write the same bytes. One of other contents finds the claim
and is told. A publisher that dies leaves its claim and some files, which are no version; the same contents published
again go on from there. Other contents need `take_over`: a person's word that whoever claimed is dead, since a store
cannot tell the dead from the slow. The claim is looked at all the time, and right before the manifest is created.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TypeVar

from palm_data.store.contents import Entry, ReleaseContents
from palm_data.store.file_table import file_rows
from palm_data.store.files import Files
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, manifest_bytes
from palm_data.store.objects import DAMAGED_WORKSPACE
from palm_data.store.places import Place, place_at
from palm_data.store.release import Planned, make_manifest, published, require_everybodys_consent
from palm_data.store.tables import rows_bytes
from palm_data.store.verify import differences, files_sha256
from schemas.errors import ConflictError, IntegrityError
from schemas.ids import Sha256, VersionId
from schemas.release import FileRow, Manifest

Progress = Callable[[int, int], None]
Item = TypeVar("Item")

_UPLOADS = 8
"""Files on their way at once."""
_LOOK_S = 1.0
"""How often the claim is looked at while files are uploaded: who lost it must not go on writing."""


def publish_in_store(
    plan: Planned, contents: ReleaseContents, url: str, *, take_over: bool = False, progress: Progress | None = None
) -> Manifest:
    """Publish in a store what `publish_release` publishes in a folder; returns the manifest that stands there.

    Raises:
        ConflictError: if the version exists with other contents, or is claimed for other contents.
        IntegrityError: if a file of the workspace is not what its stage wrote, or the store returns other bytes.
        StoreError: if the store refuses or does not answer.
    """
    place, root = place_at(url), contents.merkle_root
    files = place.files(plan.version)
    found = published(files, root)
    if found is not None:
        return found
    claim = _Claim(place, plan.version, root)
    claim.take(take_over=take_over)
    try:
        found = published(files, root)  # it may have come to exist before the claim was ours
    except ConflictError:
        claim.release()
        raise
    if found is not None:
        claim.release()
        return found
    try:
        manifest = _make(place, plan, contents, claim, progress)
    except _ClaimLostError:
        found = published(files, root)  # others may have finished the same
        if found is None:
            raise ConflictError(
                f"{files.name}: expected our claim to hold until the end, found it taken over. Nothing was published."
            ) from None
        return found
    claim.release()
    return manifest


def _make(
    place: Place, plan: Planned, contents: ReleaseContents, claim: "_Claim", progress: Progress | None
) -> Manifest:
    """Upload everything, and the manifest last; whoever comes second with that finds it made.

    Raises:
        ConsentError: if somebody withdrew since the version was planned.
        _ClaimLostError: if the claim is not ours any more.
    """
    table = rows_bytes(FileRow, contents.rows)
    _upload(place, plan, [*contents.entries, _table_entry(table)], claim, progress)
    manifest = make_manifest(plan, contents, hashlib.sha256(table).hexdigest())
    require_everybodys_consent(contents, place)
    claim.require()
    try:
        place.put_new(f"{plan.version}/{MANIFEST_FILE}", manifest_bytes(manifest))
    except ConflictError:
        return published(place.files(plan.version), manifest.merkle_root) or manifest
    return manifest


class _ClaimLostError(Exception):
    """Somebody took the claim over, or finished the version and released it."""


class _Claim:
    """Which contents a version is being made of, for other publishers to see."""

    def __init__(self, place: Place, version: VersionId, root: Sha256) -> None:
        self._place, self._version, self._root = place, version, root
        self._path = f".claims/{version}.json"
        self._seen = float("-inf")
        self._content = (json.dumps({"version": version, "merkle_root": root}) + "\n").encode()

    def take(self, *, take_over: bool) -> None:
        """Have the claim be ours, or that of somebody who publishes the same.

        Raises:
            ConflictError: if it is for other contents.
        """
        try:
            self._place.put_new(self._path, self._content)
        except ConflictError:
            other = self._place.get(self._path)
            if other is None or not take_over:
                raise ConflictError(self._told(other.content if other else b"")) from None
            self._place.put_replacing(self._path, self._content, other.tag)

    def require(self, *, within_s: float = 0) -> None:
        """See to it that nobody took it over or released it, unless that was looked at so short a time ago.

        Raises:
            _ClaimLostError: if somebody did.
        """
        now = time.monotonic()
        if now - self._seen < within_s:
            return
        self._seen = now
        found = self._place.get(self._path)
        if found is None or found.content != self._content:
            raise _ClaimLostError

    def release(self) -> None:
        """Take the claim away; the version, if there is one, speaks for itself."""
        self._place.delete(self._path)

    def _told(self, content: bytes) -> str:
        try:
            root = json.loads(content)["merkle_root"]
        except (ValueError, KeyError, TypeError):
            root = "unknown"
        return (
            f"{self._place.name}/{self._path}: expected nobody to be publishing {self._version} with other contents than "
            f"merkle root {self._root}, found a claim for {root}. Nothing was changed. Wait for the other publisher; if "
            f"it is dead: palm release {self._version} --take-over"
        )


def _upload(place: Place, plan: Planned, entries: Sequence[Entry], claim: _Claim, progress: Progress | None) -> None:
    """Have every file of the version but its manifest be there, and nothing else."""
    version, files = plan.version, place.files(plan.version)
    present = files.sizes()
    stale = present.keys() - {entry.row.path for entry in entries} - {MANIFEST_FILE}
    rows = file_rows(place.files(plan.parent)) if plan.parent else []
    kept = {row.sha256: f"{plan.parent}/{row.path}" for row in rows}
    total, done, lock = sum(entry.row.bytes for entry in entries), [0], Lock()

    def delete(path: str) -> None:
        claim.require(within_s=_LOOK_S)
        place.delete(f"{version}/{path}")

    def upload(entry: Entry) -> None:
        claim.require(within_s=_LOOK_S)
        _upload_entry(place, files, entry, present=entry.row.path in present, kept=kept.get(entry.row.sha256))
        with lock:
            done[0] += entry.row.bytes
            if progress is not None:
                progress(done[0], total)

    _each(delete, stale)
    _each(upload, entries)
    for problem in differences(files, [entry.row for entry in entries[:-1]], deep=False):
        raise IntegrityError(f"{files.name}: {problem}")


def _upload_entry(place: Place, files: Files, entry: Entry, *, present: bool, kept: str | None) -> None:
    """Put one file in its place, and read it back.

    Args:
        present: whether an earlier publisher left something there.
        kept: a file of the parent version with the same content, relative to the place.
    """
    row = entry.row
    target = f"{files.name.rpartition('/')[2]}/{row.path}"
    if present:
        if _is(files, row):
            return
        place.delete(target)
    if kept is not None:
        with contextlib.suppress(FileNotFoundError):
            place.copy(kept, target)
        if _is(files, row):
            return
        place.delete(target)
    content = entry.source if isinstance(entry.source, bytes) else _source(entry.source, row)
    place.put_new(target, content)
    if not _is(files, row):
        raise IntegrityError(
            f"{files.name}/{row.path}: expected sha256 {row.sha256}, found something else after writing."
        )


def _source(path: Path, row: FileRow) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{path}: expected {row.bytes} bytes, found {error.strerror}. {DAMAGED_WORKSPACE}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != row.sha256:
        raise IntegrityError(f"{path}: expected sha256 {row.sha256}, found {found}. {DAMAGED_WORKSPACE}")
    return content


def _is(files: Files, row: FileRow) -> bool:
    """Whether the store returns what it was given."""
    try:
        return files.size(row.path) == row.bytes and files_sha256(files, row.path, row.bytes) == row.sha256
    except FileNotFoundError:
        return False


def _table_entry(table: bytes) -> Entry:
    digest = hashlib.sha256(table).hexdigest()
    return Entry(row=FileRow(path=FILES_FILE, bytes=len(table), sha256=digest, modality="metadata"), source=table)


def _each(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Do the work for all items, several at once; the first error ends it."""
    with ThreadPoolExecutor(_UPLOADS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
