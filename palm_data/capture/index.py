"""The index of a subject's raw session: what ingest found, accepted and set aside."""

import hashlib

from pydantic import ValidationError

from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, Consent
from schemas.errors import BadInputError, ConsentError, IntegrityError
from schemas.ids import Sha256, SubjectId

STAGE = "capture_index"
INDEX_FILE = "index.json"


def load_index(workspace: Workspace, subject_id: SubjectId) -> CaptureIndex:
    """The index that ingest made of a subject.

    Raises:
        StoreError: if the subject has not been ingested.
        IntegrityError: if the index is not readable.
    """
    path = workspace.output(STAGE, subject_id) / INDEX_FILE
    try:
        return CaptureIndex.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a capture index, found {error}. Run palm ingest again.") from error


def granted_index(workspace: Workspace, subject_id: SubjectId) -> CaptureIndex:
    """As `load_index`, of somebody who agreed to it.

    Raises:
        ConsentError: if the subject has not granted consent.
        StoreError: if the subject has not been ingested.
        IntegrityError: if the index is not readable.
    """
    index = load_index(workspace, subject_id)
    if index.subject.consent is not Consent.GRANTED:
        raise ConsentError(f"subject {subject_id}: consent: expected granted, found {index.subject.consent}.")
    return index


def usable_index(workspace: Workspace, subject_id: SubjectId) -> CaptureIndex:
    """As `granted_index`, with something to work on.

    Raises:
        BadInputError: if the subject has no usable capture.
        ConsentError: if the subject has not granted consent.
        StoreError: if the subject has not been ingested.
        IntegrityError: if the index is not readable.
    """
    index = granted_index(workspace, subject_id)
    if not index.captures:
        raise BadInputError(subject_id, field="captures", expected="at least one usable capture", found=0)
    return index


def index_json(index: CaptureIndex) -> bytes:
    """The content of `index.json`: the same index gives the same bytes."""
    return index.model_dump_json(indent=1).encode() + b"\n"


def subject_digest(index: CaptureIndex) -> Sha256:
    """Who a subject is, told by their images alone: SHA-256 over the sorted SHA-256 of all that were ingested.

    A model's card lists the digests of those it learned from, whatever they were called there.
    """
    digests = sorted(image.raw.sha256 for capture in index.captures for image in capture.images)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
