"""Who withdrew, kept beside the versions, which never change.

    <releases>/status/withdrawals.json         everything written down about consent; publishing and ingest obey it
    <releases>/status/<version>.json           who of that version withdrew, since when, and which version is without them
    <releases>/status/erasure-<subject>.json   which files of which versions to erase, for whoever has a copy

All are replaced whole, by whoever read what is there; in a folder and in an object store alike.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from palm_data.store.files import Files
from palm_data.store.manifest import read_manifest, version_order, versions
from palm_data.store.places import Place
from schemas.errors import ConflictError, ConsentError, IntegrityError, StoreError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.withdrawal import ConsentEvent, Ledger, VersionStatus, WithdrawnSubject

Document = TypeVar("Document", bound=BaseModel)

STATUS = "status"
LEDGER_PATH = f"{STATUS}/withdrawals.json"
_ATTEMPTS = 20


def read_ledger(releases: Place) -> Ledger:
    """What was written down about consent; nothing, if there is no such file.

    Raises:
        IntegrityError: if the file is not readable: then nobody's consent is known, and nothing may be published.
    """
    return _read(releases, LEDGER_PATH, Ledger) or Ledger()


def withdraw_consent(
    releases: Place, subject_id: SubjectId, *, reason: str = "", person: Sha256 | None = None
) -> ConsentEvent:
    """Write down that a person withdrew, once; from now on no release can have them.

    Raises:
        IntegrityError: if the ledger is not readable.
    """

    def added(known: Ledger | None) -> Ledger | None:
        ledger = known or Ledger()
        event = ledger.withdrawn.get(subject_id)
        if event is not None and (event.person is not None or person is None):
            return None
        new = ConsentEvent(subject_id=subject_id, kind="withdrawn", recorded=_now(), reason=reason, person=person)
        if event is not None:  # known already, but not by their images
            new = event.model_copy(update={"person": person})
        return Ledger(events=(*ledger.events, new))

    return _updated(releases, LEDGER_PATH, Ledger, added).withdrawn[subject_id]


def reinstate(releases: Place, subject_id: SubjectId, consent_date: date, *, reason: str = "") -> ConsentEvent:
    """Write down that a person who had withdrawn agreed anew.

    Raises:
        ConsentError: if they had not withdrawn, or agreed before they did, or on a day to come.
        IntegrityError: if the ledger is not readable.
    """

    def added(known: Ledger | None) -> Ledger:
        ledger = known or Ledger()
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
        return Ledger(events=(*ledger.events, event))

    return _updated(releases, LEDGER_PATH, Ledger, added).events[-1]


def require_consent(releases: Place, subject_ids: Collection[SubjectId]) -> None:
    """Make sure that none of these people has withdrawn.

    Raises:
        ConsentError: names those who have.
        IntegrityError: if the ledger is not readable.
    """
    gone = sorted(read_ledger(releases).withdrawn.keys() & set(subject_ids))
    if gone:
        raise ConsentError(
            f"{releases.name}/{LEDGER_PATH}: expected no withdrawal of {', '.join(gone)}, found one. If they agreed anew: "
            f"palm withdraw {gone[0]} --reinstate DATE"
        )


def read_status(releases: Place, version: VersionId) -> VersionStatus:
    """What became of a version.

    Raises:
        IntegrityError: if its status is not readable, or is another version's.
    """
    return _checked(releases, version, _read(releases, _status_path(version), VersionStatus))


def mark_versions(releases: Place, subject_ids: Collection[SubjectId]) -> list[VersionId]:
    """Mark every version that shows any of these people, naming the lowest later one without them; returns those.

    A mark that is there already keeps its time.

    Raises:
        IntegrityError: if a status is not readable.
    """
    people = {version: people_of(releases.files(version)) for version in versions(releases)}
    marked = []
    for version, present in people.items():
        gone = present & set(subject_ids)
        if gone:
            marked.append(version)
            _mark(releases, version, gone, people)
    return marked


def _mark(
    releases: Place, version: VersionId, gone: Collection[SubjectId], people: Mapping[VersionId, frozenset[SubjectId]]
) -> None:
    def marked(known: VersionStatus | None) -> VersionStatus | None:
        status = _checked(releases, version, known)
        since = {one.subject_id: one.since for one in status.withdrawn}
        rows = tuple(
            WithdrawnSubject(
                subject_id=one, since=since.get(one) or _now(), replaced_by=_first_without(one, version, people)
            )
            for one in sorted({*gone, *since})
        )
        return None if rows == status.withdrawn else status.model_copy(update={"withdrawn": rows})

    _updated(releases, _status_path(version), VersionStatus, marked)


def mark_erased(releases: Place, version: VersionId) -> None:
    """Write down that a version's files are being deleted; its number is never used again.

    Raises:
        StoreError: if nobody withdrew who is in it: a version is deleted for no other reason.
    """

    def erased(known: VersionStatus | None) -> VersionStatus | None:
        status = _checked(releases, version, known)
        if not status.withdrawn:
            raise StoreError(
                f"{releases.name}/{_status_path(version)}: withdrawn: expected somebody of {version} who withdrew, found nobody. "
                "A published version is deleted for no other reason."
            )
        return None if status.erased else status.model_copy(update={"erased": _now()})

    _updated(releases, _status_path(version), VersionStatus, erased)


def require_number_free(releases: Place, version: VersionId) -> None:
    """Make sure that the number was not that of a version which was erased.

    Raises:
        StoreError: if it was.
    """
    erased = read_status(releases, version).erased
    if erased is not None:
        raise StoreError(
            f"{releases.name}/{_status_path(version)}: erased: expected a number never used, found {version}, whose files were "
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


def people_of(files: Files) -> frozenset[SubjectId]:
    """Whom a version shows: as its manifest says, or, if that is damaged, as its shards do."""
    try:
        return frozenset(one for subjects in read_manifest(files).splits.values() for one in subjects)
    except IntegrityError:
        shards = (path.split("/")[1] for path in files.paths() if path.startswith("shards/"))
        return frozenset(name.removesuffix(".zarr") for name in shards)


def _first_without(
    subject_id: SubjectId, version: VersionId, people: Mapping[VersionId, frozenset[SubjectId]]
) -> VersionId | None:
    """The lowest version above this one that does not show the person."""
    later = [one for one in people if version_order(one) > version_order(version) and subject_id not in people[one]]
    return min(later, key=version_order, default=None)


def _status_path(version: VersionId) -> str:
    return f"{STATUS}/{version}.json"


def _checked(releases: Place, version: VersionId, status: VersionStatus | None) -> VersionStatus:
    """The version's status; that nothing became of it, if there is none."""
    if status is not None and status.version != version:
        raise IntegrityError(
            f"{releases.name}/{_status_path(version)}: version: expected {version}, found {status.version}."
        )
    return status or VersionStatus(version=version)


def _read(releases: Place, path: str, model: type[Document]) -> Document | None:
    stored = releases.get(path)
    return None if stored is None else _parsed(releases, path, model, stored.content)


def _parsed(releases: Place, path: str, model: type[Document], content: bytes) -> Document:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(
            f"{releases.name}/{path}: expected what palm wrote there, found {error}. Restore it from a copy: it says who "
            "withdrew."
        ) from error


def _updated(
    releases: Place, path: str, model: type[Document], change: Callable[[Document | None], Document | None]
) -> Document:
    """Replace a document by what `change` makes of it, nobody's work lost; None: it stays. Returns what is there then."""
    for _ in range(_ATTEMPTS):
        stored = releases.get(path)
        known = None if stored is None else _parsed(releases, path, model, stored.content)
        new = change(known)
        if new is None:
            return known or model()
        try:
            releases.put_replacing(path, document_bytes(new), stored.tag if stored else None)
        except ConflictError:  # somebody else wrote meanwhile: look at what they wrote
            continue
        return new
    raise ConflictError(f"{releases.name}/{path}: expected a moment without other writers, found none. Try again.")


def document_bytes(document: BaseModel) -> bytes:
    """A document as it is written."""
    return document.model_dump_json(indent=1).encode() + b"\n"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
