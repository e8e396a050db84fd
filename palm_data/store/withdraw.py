"""Withdrawing a person: written down, out of the next version, marked in the old ones, listed for erasure, and erased.

Every step may be done again: a withdrawal that was killed is finished by withdrawing once more.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.atomic import write_bytes
from palm_data.store.cache import CacheFolder, default_cache
from palm_data.store.erasure import erase_local, erase_version, local_items, person_digest, released_files
from palm_data.store.manifest import versions
from palm_data.store.numbers import next_version
from palm_data.store.places import Place, place_at
from palm_data.store.reduced import reduced_contents, reduced_plan
from palm_data.store.release import publish_contents
from palm_data.store.withdrawals import (
    STATUS,
    document_bytes,
    mark_versions,
    people_of,
    read_ledger,
    withdraw_consent,
)
from palm_data.store.workspace import Workspace
from schemas.errors import ConsentError, IntegrityError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.settings import Settings
from schemas.withdrawal import LocalErasure, LocalItem, ReleasedErasure, VersionFiles

_ERASURES = "erasures"


class Withdrawal(BaseModel):
    """What became of a withdrawal."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    subject_id: SubjectId
    known: Annotated[bool, Field(description="Whether anything of them was found, here or in a version.")]
    published: Annotated[VersionId | None, Field(description="The version without them that was made now, if one was.")]
    marked: Annotated[tuple[VersionId, ...], Field(description="Versions that show them.")]
    released: ReleasedErasure
    local: LocalErasure
    erased_versions: tuple[VersionId, ...] = ()


def withdraw(
    subject_id: SubjectId,
    workspace: Workspace,
    settings: Settings,
    *,
    reason: str = "",
    models: Collection[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Withdrawal:
    """Take a person out: no later version can have them, and the highest one gets a successor without them.

    The lists of what to erase are written to `<releases>/status/erasure-<subject>.json` (files of versions, for whoever has
    copies) and `<workspace>/erasures/<subject>.json` (this machine's). Nothing is erased.

    Args:
        reason: kept in the ledger, beside the releases: whoever can read those can read it.
        models: files and folders to look for trained networks in, beside the workspace.
        progress: called with bytes staged and bytes in all.

    Raises:
        IntegrityError: if the ledger, a status or a version that shows the person is damaged.
        StoreError: if the version without them cannot be published. They are written down all the same.
    """
    releases = place_at(settings.releases)
    person = person_digest(workspace, subject_id)
    event = withdraw_consent(releases, subject_id, reason=reason, person=person)
    mark_versions(releases, [subject_id])  # before what may fail: readers are warned from now on
    listed = _known(releases, subject_id)
    shown = released_files(releases, subject_id)
    seen = {one.version for one in shown}
    kept: list[VersionFiles] = [one for one in listed if one.version not in seen]
    released = ReleasedErasure(subject_id=subject_id, person=event.person, versions=(*kept, *shown))
    if released.versions:
        _publish_list(releases, released)
    items = [*local_items(settings, workspace, released, models), *_cached(settings, released)]
    local = LocalErasure(subject_id=subject_id, items=tuple(items))
    _write(local_path(workspace, subject_id), local)
    published = _publish_without(settings, progress)
    marked = mark_versions(releases, [subject_id])
    return Withdrawal(
        subject_id=subject_id, known=bool(released.versions) or any(map(_tells_of_them, items)), published=published,
        marked=tuple(marked), released=released, local=local,
    )  # fmt: skip


def erase(done: Withdrawal, workspace: Workspace, settings: Settings) -> Withdrawal:
    """Erase what is ours: stage outputs that are about or contain the person, and every version that shows them, whole.

    Raw files, Dagster's history and networks outside the workspace are listed and left to people.

    Raises:
        ConsentError: if the person did not withdraw.
    """
    releases = place_at(settings.releases)
    if done.subject_id not in read_ledger(releases).withdrawn:
        raise ConsentError(f"subject {done.subject_id}: expected a withdrawal in the ledger, found none.")
    items = [erase_local(item, workspace) for item in done.local.items if item.kind != "cache"]
    for item in _cached(settings, done.released):
        _cache(settings).purge(_digests(done.released))
        items.append(item.model_copy(update={"erased": True}))
    for version in done.marked:
        freed = erase_version(releases, version)
        items.append(
            LocalItem(
                path=f"{releases.name}/{version}",
                kind="version",
                bytes=freed,
                holds="contains",
                remedy="erased",
                erased=True,
            )
        )
    local = LocalErasure(subject_id=done.subject_id, items=tuple(items))
    _write(local_path(workspace, done.subject_id), local)
    return done.model_copy(update={"local": local, "erased_versions": done.marked})


def _tells_of_them(item: LocalItem) -> bool:
    """Whether an item shows that the person is known here; some are listed for whoever withdraws."""
    return item.kind != "history" and item.holds != "unknown"


def local_path(workspace: Workspace, subject_id: SubjectId) -> Path:
    """Where the list of what to erase on this machine is."""
    return workspace.root / _ERASURES / f"{subject_id}.json"


def _publish_without(settings: Settings, progress: Callable[[int, int], None] | None) -> VersionId | None:
    """A successor of the highest version without anybody who withdrew; None if it has nobody of them, or nobody else."""
    releases = place_at(settings.releases)
    highest: Sequence[VersionId] = versions(releases)[-1:]
    if not highest:
        return None
    parent = releases.files(highest[0])
    people = people_of(parent)
    gone = tuple(sorted(people & read_ledger(releases).withdrawn.keys()))
    if not gone or len(gone) == len(people):
        return None
    version = next_version(highest[0], "major")
    plan = reduced_plan(version, parent, gone)
    with TemporaryDirectory(prefix="palm-") as scratch:
        contents = reduced_contents(plan, parent, settings, Path(scratch))
        publish_contents(plan, contents, settings.releases, progress=progress)
    return version


def _cache(settings: Settings) -> CacheFolder:
    folder = settings.cache.folder or default_cache()
    return CacheFolder(folder.expanduser().absolute(), int(settings.cache.max_gb * 1e9))


def _digests(released: ReleasedErasure) -> set[Sha256]:
    return {file.sha256 for version in released.versions for file in version.files}


def _cached(settings: Settings, released: ReleasedErasure) -> list[LocalItem]:
    """What this machine's cache of remote versions holds of the person."""
    cache = _cache(settings)
    size = cache.size(_digests(released))
    if not size:
        return []
    remedy = "erased by palm withdraw --erase; other people's machines have caches too"
    return [LocalItem(path=str(cache.folder), kind="cache", bytes=size, holds="about", remedy=remedy)]


def _released_path(subject_id: SubjectId) -> str:
    return f"{STATUS}/erasure-{subject_id}.json"


def _known(releases: Place, subject_id: SubjectId) -> tuple[VersionFiles, ...]:
    """What an earlier withdrawal listed: versions that were erased since stay on the list, for those who have copies."""
    stored = releases.get(_released_path(subject_id))
    try:
        return ReleasedErasure.model_validate_json(stored.content).versions if stored else ()
    except ValidationError as error:
        path = f"{releases.name}/{_released_path(subject_id)}"
        raise IntegrityError(f"{path}: expected a list of files to erase, found {error}.") from error


def _publish_list(releases: Place, released: ReleasedErasure) -> None:
    path, content = _released_path(released.subject_id), document_bytes(released)
    stored = releases.get(path)
    if stored is None or stored.content != content:
        releases.put_replacing(path, content, stored.tag if stored else None)


def _write(path: Path, document: BaseModel) -> None:
    write_bytes(path, document_bytes(document))
