"""What nothing refers to any more: the work of dead publishers and stages, and folders that never became a version.

Published versions, the outputs that records name, and whatever a live writer holds the lock of, are never touched.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.erasure import own_bytes
from palm_data.store.manifest import MANIFEST_FILE, is_version
from palm_data.store.places import Place
from palm_data.store.release import INSTALL_LOCK, PARTIAL
from palm_data.store.workspace import Workspace
from schemas.errors import IntegrityError


class Leftover(BaseModel):
    """A file or folder that nothing refers to."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str
    kind: Literal["publisher", "abandoned version", "stage output", "work in progress", "temporary file"]
    bytes: Annotated[int, Field(ge=0, description="What deleting it frees: files that have no other name.")]
    why: str


def release_leftovers(releases: Path, *, delete: bool = False) -> list[Leftover]:
    """What dead publishers left among the releases, sorted by path; deleted if wished.

    Raises:
        OSError: if something cannot be deleted.
    """
    if not releases.is_dir():
        return []
    partial = releases / PARTIAL
    found = []
    with _held(partial / INSTALL_LOCK, wait=True):  # no publisher starts, or puts a version in place, meanwhile
        names = {path.name.removesuffix(".lock") for path in partial.iterdir() if path.name != INSTALL_LOCK}
        for name in sorted(names):
            with _held(partial / f"{name}.lock", wait=False) as dead:
                if dead:
                    found += _take(
                        [partial / name, partial / f"{name}.lock"], "publisher", "its process is dead", delete
                    )
        for folder in sorted(releases.iterdir()):
            if is_version(folder.name) and folder.is_dir() and not (folder / MANIFEST_FILE).exists():
                found += _take([folder], "abandoned version", "it has no manifest, so it never was a version", delete)
    temporary = sorted(releases.glob("status/.*.partial"))
    return found + _take(temporary, "temporary file", "its writer died", delete)


def store_leftovers(releases: Place, *, delete: bool = False) -> list[Leftover]:
    """As `release_leftovers`, of a store, where the dead cannot be told from the slow: a version that somebody claimed
    is passed over (`palm release --take-over` ends such a claim).

    Raises:
        StoreError: if the store refuses or does not answer.
    """
    found = []
    for name in releases.folders():
        files = releases.files(name)
        if not is_version(name) or files.size(MANIFEST_FILE) is not None or releases.get(f".claims/{name}.json"):
            continue
        sizes = files.sizes()
        why = "it has no manifest, and nobody claims to be publishing it"
        size = sum(one or 0 for one in sizes.values())
        found.append(Leftover(path=files.name, kind="abandoned version", bytes=size, why=why))
        for path in sorted(sizes) if delete else ():
            releases.delete(f"{name}/{path}")
    return found


def workspace_leftovers(workspace: Workspace, *, delete: bool = False) -> list[Leftover]:
    """What dead stages left in a workspace, sorted by path; deleted if wished. Stages that are at work are passed over.

    Raises:
        OSError: if something cannot be deleted.
    """
    stages, partial = workspace.root / "stages", workspace.root / "partial"
    keys = {(path.parent.name, path.name) for root in (stages, partial) for path in root.glob("*/*") if path.is_dir()}
    found = []
    for stage, key in sorted(keys):
        lock = workspace.root / "locks" / stage / f"{key}.lock"
        with _held(lock, wait=False) as free:
            if free:
                found += _of_stage(workspace, stage, key, delete=delete)
    return found


def _of_stage(workspace: Workspace, stage: str, key: str, *, delete: bool) -> list[Leftover]:
    """Call with the stage's lock held."""
    home, work = workspace.root / "stages" / stage / key, workspace.root / "partial" / stage / key
    found = _take([work], "work in progress", "its process is dead", delete) if any(work.glob("*")) else []
    try:
        record = workspace.record(stage, key)
    except IntegrityError:
        return found  # which output is current is not known, so none is touched
    keep = {"record.json", record.fingerprint if record else ""}
    old = sorted(path for path in home.glob("*") if path.name not in keep)
    return found + _take(old, "stage output", "the record names another" if record else "no record names it", delete)


def _take(paths: list[Path], kind: str, why: str, delete: bool) -> list[Leftover]:
    """List what is there; delete it if wished."""
    found = []
    for path in paths:
        if not (path.exists() or path.is_symlink()):
            continue
        folder = path.is_dir() and not path.is_symlink()
        size = own_bytes(path) if folder else path.lstat().st_size
        if not (path.name.endswith(".lock") and size == 0):
            found.append(Leftover.model_validate({"path": str(path), "kind": kind, "bytes": size, "why": why}))
        if delete:
            shutil.rmtree(path) if folder else path.unlink()
    return found


@contextmanager
def _held(lock: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock, made if it is not there; yields whether it could be had."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            flock(descriptor, LOCK_EX | (0 if wait else LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
