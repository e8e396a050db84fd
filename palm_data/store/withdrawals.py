"""Who withdrew, kept beside the versions, which never change.

    <releases>/status/withdrawals.json         everything written down about consent; publishing and ingest obey it
    <releases>/status/<version>.json           who of that version withdrew, since when, and which version is without them
    <releases>/status/erasure-<subject>.json   which files of which versions to erase, for whoever has a copy

All are replaced atomically, one writer at a time.
"""

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from palm_data.store.files import Files, as_files
from palm_data.store.manifest import read_manifest, version_order, versions
from palm_data.store.places import place_at
from schemas.errors import ConsentError, IntegrityError, StoreError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.withdrawal import ConsentEvent, Ledger, VersionStatus, WithdrawnSubject

Document = TypeVar("Document", bound=BaseModel)

STATUS = "status"
LEDGER_FILE = "withdrawals.json"
_LOCK_FILE = ".lock"


def read_ledger(releases: Path | str) -> Ledger:
    """What was written down about consent; nothing, if there is no such file.

    Raises:
        IntegrityError: if the file is not readable: then nobody's consent is known, and nothing may be published.
    """
    return _read(releases, LEDGER_FILE, Ledger) or Ledger()


def withdraw_consent(
    releases: Path | str, subject_id: SubjectId, *, reason: str = "", person: Sha256 | None = None
) -> ConsentEvent:
    """Write down that a person withdrew, once; from now on no release can have them.

    Raises:
        IntegrityError: if the ledger is not readable.
    """
    with _writing(releases):
        ledger = read_ledger(releases)
        known = ledger.withdrawn.get(subject_id)
        if known is not None and (known.person is not None or person is None):
            return known
        event = ConsentEvent(
            subject_id=subject_id, kind="withdrawn", recorded=_now() if known is None else known.recorded,
            reason=reason if known is None else known.reason, person=person,
        )  # fmt: skip
        _write(releases, LEDGER_FILE, Ledger(events=(*ledger.events, event)))
    return event


def reinstate(releases: Path | str, subject_id: SubjectId, consent_date: date, *, reason: str = "") -> ConsentEvent:
    """Write down that a person who had withdrawn agreed anew.

    Raises:
        ConsentError: if they had not withdrawn, or agreed before they did, or on a day to come.
        IntegrityError: if the ledger is not readable.
    """
    with _writing(releases):
        ledger = read_ledger(releases)
        withdrawn = ledger.withdrawn.get(subject_id)
        if withdrawn is None:
            raise ConsentError(f"subject {subject_id}: expected a withdrawal in the ledger, found none.")
        if not withdrawn.recorded.date() <= consent_date <= _now().date():
            raise ConsentError(
                f"subject {subject_id}: consent_date: expected a day from {withdrawn.recorded.date()} (when they withdrew) "
                f"to today, found {consent_date}."
            )
        event = ConsentEvent(
            subject_id=subject_id, kind="reinstated", recorded=_now(), consent_date=consent_date, reason=reason
        )
        _write(releases, LEDGER_FILE, Ledger(events=(*ledger.events, event)))
    return event


def require_consent(releases: Path | str, subject_ids: Collection[SubjectId]) -> None:
    """Make sure that none of these people has withdrawn.

    Raises:
        ConsentError: names those who have.
        IntegrityError: if the ledger is not readable.
    """
    gone = sorted(read_ledger(releases).withdrawn.keys() & set(subject_ids))
    if gone:
        raise ConsentError(
            f"{place_at(releases).name}/{STATUS}/{LEDGER_FILE}: expected no withdrawal of {', '.join(gone)}, found one. If they agreed anew: "
            f"palm withdraw {gone[0]} --reinstate DATE"
        )


def read_status(releases: Path | str, version: VersionId) -> VersionStatus:
    """What became of a version.

    Raises:
        IntegrityError: if its status is not readable, or is another version's.
    """
    path = f"{place_at(releases).name}/{STATUS}/{version}.json"
    status = _read(releases, f"{version}.json", VersionStatus) or VersionStatus(version=version)
    if status.version != version:
        raise IntegrityError(f"{path}: version: expected {version}, found {status.version}.")
    return status


def mark_versions(releases: Path | str, subject_ids: Collection[SubjectId]) -> list[VersionId]:
    """Mark every version that shows any of these people, naming the lowest later one without them; returns those.

    A mark that is there already keeps its time.

    Raises:
        IntegrityError: if a status is not readable.
    """
    place = place_at(releases)
    people = {version: people_of(place.files(version)) for version in versions(place)}
    marked = []
    with _writing(releases):
        for version, present in people.items():
            gone = sorted(present & set(subject_ids))
            if not gone:
                continue
            marked.append(version)
            status = read_status(releases, version)
            since = {one.subject_id: one.since for one in status.withdrawn}
            after = {one: _first_without(one, version, people) for one in {*gone, *since}}
            rows = tuple(
                WithdrawnSubject(subject_id=one, since=since.get(one) or _now(), replaced_by=after[one])
                for one in sorted({*gone, *since})
            )
            if rows != status.withdrawn:
                _write(releases, f"{version}.json", status.model_copy(update={"withdrawn": rows}))
    return marked


def mark_erased(releases: Path | str, version: VersionId) -> None:
    """Write down that a version's files are being deleted; its number is never used again.

    Raises:
        StoreError: if nobody withdrew who is in it: a version is deleted for no other reason.
    """
    with _writing(releases):
        status = read_status(releases, version)
        if not status.withdrawn:
            raise StoreError(
                f"{place_at(releases).name}/{STATUS}/{version}.json: withdrawn: expected somebody of {version} who withdrew, found nobody. "
                "A published version is deleted for no other reason."
            )
        if status.erased is None:
            _write(releases, f"{version}.json", status.model_copy(update={"erased": _now()}))


def require_number_free(releases: Path | str, version: VersionId) -> None:
    """Make sure that the number was not that of a version which was erased.

    Raises:
        StoreError: if it was.
    """
    erased = read_status(releases, version).erased
    if erased is not None:
        raise StoreError(
            f"{place_at(releases).name}/{STATUS}/{version}.json: erased: expected a number never used, found {version}, whose files were "
            f"deleted on {erased.date()} because somebody withdrew. Publish under a higher number."
        )


def status_text(status: VersionStatus) -> str:
    """What became of a version, as one line; empty if nothing did."""
    if not status.withdrawn:
        return ""
    people = ", ".join(one.subject_id for one in status.withdrawn)
    replaced = max((one.replaced_by for one in status.withdrawn if one.replaced_by), key=version_order, default=None)
    return f"{people} withdrew: do not use their data, and delete it. " + (
        f"Version {replaced} is without them." if replaced else "No version is without them yet."
    )


def people_of(place: Path | Files) -> frozenset[SubjectId]:
    """Whom a version shows: as its manifest says, or, if that is damaged, as its shards do."""
    files = as_files(place)
    try:
        return frozenset(one for subjects in read_manifest(files).splits.values() for one in subjects)
    except StoreError:
        shards = (path.removeprefix("shards/") for path in files.paths() if path.startswith("shards/"))
        return frozenset(path.partition(".zarr/")[0] for path in shards if ".zarr/" in path)


def _first_without(
    subject_id: SubjectId, version: VersionId, people: dict[VersionId, frozenset[SubjectId]]
) -> VersionId | None:
    """The lowest version above this one that does not show the person."""
    later = [one for one in people if version_order(one) > version_order(version) and subject_id not in people[one]]
    return min(later, key=version_order, default=None)


def _read(releases: Path | str, name: str, model: type[Document]) -> Document | None:
    place, path = place_at(releases), f"{STATUS}/{name}"
    try:
        found = place.get(path)
        return None if found is None else model.model_validate_json(found.content)
    except (OSError, ValidationError) as error:
        raise IntegrityError(
            f"{place.name}/{path}: expected what palm wrote there, found {error}. Restore it from a copy: it says who withdrew."
        ) from error


def _write(releases: Path | str, name: str, document: BaseModel) -> None:
    place, path = place_at(releases), f"{STATUS}/{name}"
    found = place.get(path)
    place.put_replacing(path, document.model_dump_json(indent=1).encode() + b"\n", found and found.tag)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _writing(releases: Path | str) -> Iterator[None]:
    """One writer at a time; the kernel lets go when it dies. In a store there is no lock: the tags of what is replaced tell."""
    if not isinstance(releases, Path):
        yield
        return
    folder = releases / STATUS
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
