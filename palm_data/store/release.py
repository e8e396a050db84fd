"""Publishing: a version is staged, verified, put in place and then made to exist by its manifest.

    <releases>/.partial/<version>.<id>/…     work in progress, with a lock that dies with its process
    <releases>/<version>/…                   files put in place by one rename
    <releases>/<version>/manifest.json       created last, and only if there is none: now the version exists

Killed before the rename, a publisher leaves only work in progress; killed after it, a folder without a manifest.
Neither is a version, and the next publisher removes both.

In an object store, which has no rename, the same is reached another way: `palm_data.store.remote_release`.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from palm_data.store.atomic import flush_directory, flush_tree, refused_by_disk, write_bytes
from palm_data.store.changes import changes
from palm_data.store.contents import Entry, ReleaseContents, gather
from palm_data.store.file_table import file_rows
from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import (
    FILES_FILE,
    MANIFEST_FILE,
    create_manifest,
    read_manifest,
    seal,
    version_order,
    versions,
)
from palm_data.store.numbers import require_number
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file, describe_difference, place
from palm_data.store.places import LocalPlace, Place, place_at
from palm_data.store.plan import ReleasePlan, plan_release
from palm_data.store.side import planned_side, published_side
from palm_data.store.splits import SPLITS
from palm_data.store.tables import rows_bytes
from palm_data.store.verify import differences
from palm_data.store.withdrawals import mark_versions, require_consent, require_number_free
from palm_data.store.workspace import Workspace
from schemas.errors import ConflictError, IntegrityError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.release import SCHEMA_VERSION, FileRow, Manifest
from schemas.settings import Settings
from schemas.version import VERSION

_log = logging.getLogger(__name__)
PARTIAL = ".partial"
INSTALL_LOCK = "install.lock"


@dataclass(frozen=True)
class Publication:
    """What a manifest says that does not follow from the contents; a `ReleasePlan` says it too."""

    version: VersionId
    parent: VersionId | None
    withdrawn: tuple[SubjectId, ...] = ()
    schema_version: str = SCHEMA_VERSION


Planned: TypeAlias = ReleasePlan | Publication


@refused_by_disk
def publish_release(
    version: VersionId,
    workspace: Workspace,
    settings: Settings,
    *,
    parent: VersionId | None = None,
    take_over: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Publish every subject that may be released as one immutable version, and return its manifest.

    The same subjects, settings, code and parent give the same merkle root. Publishing what is published already
    changes nothing.

    Args:
        parent: the version to carry splits over from; the highest lower one by default.
        take_over: of a store only: clear away what another publisher of other contents left there unfinished. Whoever
            asks for it knows that the other one is dead.
        progress: called with bytes staged and bytes in all.

    Raises:
        ConflictError: if the version exists with other contents; nothing of it was changed.
        ConsentError: if somebody withdrew while the version was made.
        IntegrityError: if a file of the workspace is not what its stage wrote.
        StoreError: if there is nothing to publish, or the version, its number or its parent will not do, or a store refuses or does
            not answer.
    """
    plan = plan_release(version, workspace, settings, parent=parent)
    contents = gather(plan, workspace, settings)
    manifest = publish_contents(plan, contents, settings.releases, take_over=take_over, progress=progress)
    if plan.consent_withdrawn:
        mark_versions(place_at(settings.releases), plan.consent_withdrawn)
    return manifest


def publish_contents(
    plan: Planned,
    contents: ReleaseContents,
    releases: Path | str,
    *,
    take_over: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Publish what has been gathered, wherever it comes from, as the planned version; in a folder or a store.

    Raises:
        ConflictError: if the version exists with other contents; nothing of it was changed.
        ConsentError: if one of the subjects withdrew while the version was made.
        IntegrityError: if a file is not what it was when it was gathered.
        StoreError: if the version's number promises less than what changed since the version before, or was that of a
            version that was erased, or a store refuses or does not answer.
    """
    place = place_at(releases)
    require_number_free(place, plan.version)
    if published(place.files(plan.version), contents.merkle_root) is None:
        _require_number(plan, contents, place)
    if isinstance(releases, Path):
        installed = _publish_in_folder(plan, contents, releases.absolute(), progress)
    else:
        from palm_data.store.remote_release import publish_in_store  # obstore is loaded when it is asked for

        installed = publish_in_store(plan, contents, releases, take_over=take_over, progress=progress)
    extra = {"version": plan.version, "merkle_root": installed.merkle_root, **installed.counts}
    _log.info("release published", extra=extra)
    return installed


def require_everybodys_consent(contents: ReleaseContents, releases: Place) -> None:
    """The last look before a version comes to exist: somebody may have withdrawn since it was planned.

    Raises:
        ConsentError: names those who have.
    """
    require_consent(releases, [row.subject_id for row in contents.splits])


def _require_number(plan: Planned, contents: ReleaseContents, releases: Place) -> None:
    """Hold the number to what changed since the parent, and since the highest lower version, which users come from.

    What has no parent, as an imported dataset, follows from nothing, and is held to nothing.
    """
    if plan.parent is None:
        return
    lower = [one for one in versions(releases) if version_order(one) < version_order(plan.version)]
    planned = planned_side(plan.version, contents.settings, contents.entries, schema_version=plan.schema_version)
    for before in sorted({*lower[-1:], plan.parent}, key=version_order):
        require_number(changes(published_side(releases.files(before)), planned))


def _publish_in_folder(
    plan: Planned, contents: ReleaseContents, releases: Path, progress: Callable[[int, int], None] | None
) -> Manifest:
    _sweep(releases / PARTIAL)
    found = published(LocalFiles(releases / plan.version), contents.merkle_root)
    if found is not None:
        return found
    with _staging(releases, plan.version) as staged:
        tree = staged / "tree"
        files_sha256 = _stage(contents, tree, releases / plan.parent if plan.parent else None, progress)
        manifest = make_manifest(plan, contents, files_sha256)
        with _locked(releases / PARTIAL / INSTALL_LOCK):
            require_everybodys_consent(contents, LocalPlace(releases))
            return _install(manifest, tree, releases / plan.version, staged)


def published(files: Files, merkle_root: Sha256) -> Manifest | None:
    """The manifest of the version if it exists with these contents; None if it does not exist.

    Raises:
        ConflictError: if it exists with other contents.
    """
    if files.size(MANIFEST_FILE) is None:
        return None
    manifest = read_manifest(files)
    if manifest.merkle_root != merkle_root:
        raise ConflictError(
            f"{files.name}: expected no version {manifest.version}, or one with merkle root {merkle_root}; found one "
            f"published {manifest.created.isoformat()} by code {manifest.code_version} with {manifest.merkle_root}, "
            f"{manifest.counts.get('subjects')} subjects and {manifest.counts.get('captures')} captures. "
            "Nothing was changed. Publish under a higher version."
        )
    return manifest


def _stage(
    contents: ReleaseContents, tree: Path, parent: Path | None, progress: Callable[[int, int], None] | None
) -> Sha256:
    """Have every file of the version lie below a folder, checked, read-only and flushed; digest of the files table."""
    rows = [] if parent is None else file_rows(LocalFiles(parent))
    anywhere, in_place = {row.sha256: row.path for row in rows}, {(row.path, row.sha256) for row in rows}
    done = 0
    for entry in contents.entries:
        path, sha256 = entry.row.path, entry.row.sha256
        same = path if (path, sha256) in in_place else anywhere.get(sha256)
        _stage_entry(entry, tree / path, parent / same if parent is not None and same is not None else None)
        done += entry.row.bytes
        if progress is not None:
            progress(done, contents.counts["bytes"])
    table = rows_bytes(FileRow, contents.rows)
    (tree / FILES_FILE).write_bytes(table)
    for problem in differences(tree, contents.rows, deep=False):
        raise IntegrityError(f"{tree}: {problem}")
    for placed in tree.rglob("*"):
        if placed.is_file():
            placed.chmod(0o444)
    flush_tree(tree)
    return hashlib.sha256(table).hexdigest()


def _stage_entry(entry: Entry, target: Path, kept: Path | None) -> None:
    """Put one file in its place, and read it back.

    Args:
        kept: a file of the parent version with the same content, shared if it is still whole.
    """
    size, sha256 = entry.row.bytes, entry.row.sha256
    if kept is not None and describe_difference(kept, size=size, sha256=sha256) is None:
        place(kept, target)
        return
    if isinstance(entry.source, bytes):
        write_bytes(target, entry.source)
        check_file(target, size=size, sha256=sha256, hint="The disk does not keep what is written.")
        return
    check_file(entry.source, size=size, sha256=sha256, hint=DAMAGED_WORKSPACE)
    place(entry.source, target)


def make_manifest(plan: Planned, contents: ReleaseContents, files_sha256: Sha256) -> Manifest:
    """What makes the version exist, once everything else is there."""
    values: dict[str, Any] = {
        "version": plan.version,
        "schema_version": plan.schema_version,
        "parent": plan.parent,
        "created": datetime.now(UTC).replace(microsecond=0),
        "code_version": VERSION,
        "settings": contents.settings,
        "splits": {name: tuple(row.subject_id for row in contents.splits if row.split == name) for name in SPLITS},
        "counts": contents.counts,
        "withdrawn": plan.withdrawn,
        "merkle_root": contents.merkle_root,
        "files_sha256": files_sha256,
    }
    return seal(values)


def _install(manifest: Manifest, tree: Path, final: Path, staged: Path) -> Manifest:
    """Make the staged tree the version; whoever comes second finds it made. Call with the install lock held."""
    found = published(LocalFiles(final), manifest.merkle_root)
    if found is not None:
        return found
    if final.exists():  # a publisher died between its rename and its manifest
        final.rename(staged / "abandoned")
    tree.rename(final)
    flush_directory(final.parent)
    try:
        create_manifest(manifest, final, staged)
    except ConflictError:  # from a machine that does not see this lock
        return published(LocalFiles(final), manifest.merkle_root) or manifest
    return manifest


@contextmanager
def _staging(releases: Path, version: VersionId) -> Iterator[Path]:
    """A fresh folder of our own, removed at the end, or by the next publisher if we die."""
    partial = releases / PARTIAL
    staged = partial / f"{version}.{uuid.uuid4().hex}"
    lock = staged.with_name(f"{staged.name}.lock")
    with _locked(partial / INSTALL_LOCK):  # or a sweep might take our lock first, and us for dead
        alive = _take(lock, wait=True)
    try:
        staged.mkdir()
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(alive)


def _sweep(partial: Path) -> None:
    """Remove the work of publishers that are not alive."""
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial / INSTALL_LOCK):
        names = {path.name.removesuffix(".lock") for path in partial.iterdir() if path.name != INSTALL_LOCK}
        for name in names:
            lock = partial / f"{name}.lock"
            try:
                dead = _take(lock, wait=False)
            except BlockingIOError:
                continue
            shutil.rmtree(partial / name, ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(dead)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _take(path, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, *, wait: bool) -> int:
    """A descriptor that holds the lock until it is closed, or its process is dead."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
