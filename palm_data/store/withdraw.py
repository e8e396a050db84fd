"""Withdrawing a person: written down, out of the next version, marked in the old ones, listed for erasure, and erased.

Every step may be done again: a withdrawal that was killed is finished by withdrawing once more.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.store.atomic import write_bytes
from palm_data.store.erasure import erase_local, erase_version, local_items, person_digest, released_files
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.numbers import next_version
from palm_data.store.reduced import reduced_contents
from palm_data.store.release import Publication, publish_contents
from palm_data.store.withdrawals import (
    STATUS,
    mark_versions,
    people_of,
    read_ledger,
    withdraw_consent,
)
from palm_data.store.workspace import Workspace
from schemas.errors import ConsentError, IntegrityError
from schemas.ids import SubjectId, VersionId
from schemas.settings import Settings
from schemas.withdrawal import LocalErasure, LocalItem, ReleasedErasure, VersionFiles

_ERASURES = "erasures"


class Withdrawal(BaseModel):
    """What became of a withdrawal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    releases = settings.releases_folder.absolute()
    person = person_digest(workspace, subject_id)
    event = withdraw_consent(releases, subject_id, reason=reason, person=person)
    mark_versions(releases, [subject_id])  # before what may fail: readers are warned from now on
    listed = _known(_released_path(releases, subject_id))
    shown = released_files(releases, subject_id)
    seen = {one.version for one in shown}
    kept: list[VersionFiles] = [one for one in listed if one.version not in seen]
    released = ReleasedErasure(subject_id=subject_id, person=event.person, versions=(*kept, *shown))
    if released.versions:
        _write(_released_path(releases, subject_id), released)
    local = LocalErasure(subject_id=subject_id, items=tuple(local_items(settings, workspace, released, models)))
    _write(local_path(workspace, subject_id), local)
    published = _publish_without(settings, progress)
    marked = mark_versions(releases, [subject_id])
    return Withdrawal(
        subject_id=subject_id, known=bool(released.versions or local.items), published=published,
        marked=tuple(marked), released=released, local=local,
    )  # fmt: skip


def erase(done: Withdrawal, workspace: Workspace, settings: Settings) -> Withdrawal:
    """Erase what is ours: stage outputs that are about or contain the person, and every version that shows them, whole.

    Raw files, Dagster's history and networks outside the workspace are listed and left to people.

    Raises:
        ConsentError: if the person did not withdraw.
    """
    releases = settings.releases_folder.absolute()
    if done.subject_id not in read_ledger(releases).withdrawn:
        raise ConsentError(f"subject {done.subject_id}: expected a withdrawal in the ledger, found none.")
    items: list[LocalItem] = [erase_local(item, workspace) for item in done.local.items]
    for version in done.marked:
        freed = erase_version(releases, version)
        items.append(
            LocalItem(
                path=str(releases / version),
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


def local_path(workspace: Workspace, subject_id: SubjectId) -> Path:
    """Where the list of what to erase on this machine is."""
    return workspace.root / _ERASURES / f"{subject_id}.json"


def _publish_without(settings: Settings, progress: Callable[[int, int], None] | None) -> VersionId | None:
    """A successor of the highest version without anybody who withdrew; None if it has nobody of them, or nobody else."""
    releases = settings.releases_folder.absolute()
    highest: Sequence[VersionId] = versions(releases)[-1:]
    if not highest:
        return None
    parent = highest[0]
    people = people_of(releases / parent)
    gone = tuple(sorted(people & read_ledger(releases).withdrawn.keys()))
    if not gone or len(gone) == len(people):
        return None
    version = next_version(parent, "major")
    contents = reduced_contents(version, releases / parent, gone, settings)
    schema = read_manifest(releases / parent).schema_version
    publication = Publication(version=version, parent=parent, withdrawn=gone, schema_version=schema)
    publish_contents(publication, contents, releases, progress=progress)
    return version


def _released_path(releases: Path, subject_id: SubjectId) -> Path:
    return releases / STATUS / f"erasure-{subject_id}.json"


def _known(path: Path) -> tuple[VersionFiles, ...]:
    """What an earlier withdrawal listed: versions that were erased since stay on the list, for those who have copies."""
    try:
        return ReleasedErasure.model_validate_json(path.read_bytes()).versions
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        raise IntegrityError(f"{path}: expected a list of files to erase, found {error}.") from error


def _write(path: Path, document: BaseModel) -> None:
    write_bytes(path, document.model_dump_json(indent=1).encode() + b"\n")
