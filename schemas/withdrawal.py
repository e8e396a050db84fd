"""Withdrawn consent: who withdrew, which versions still show them, and what is to be erased where."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import Sha256, SubjectId, VersionId

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)
Holds = Literal["about", "contains"]


class ConsentEvent(BaseModel):
    """A person withdrew, or agreed anew."""

    model_config = _FROZEN

    subject_id: SubjectId
    kind: Literal["withdrawn", "reinstated"]
    recorded: Annotated[datetime, Field(description="When it was written down, UTC.")]
    consent_date: Annotated[date | None, Field(description="Reinstated: when the person agreed anew.")] = None
    reason: Annotated[str, Field(max_length=500, description="As given by whoever wrote it down.")] = ""
    person: Annotated[
        Sha256 | None,
        Field(description="Digest of the person's images (`subject_digest`): tells which models saw them."),
    ] = None


class Ledger(BaseModel):
    """Everything that was written down about consent, oldest first; nothing is ever removed."""

    model_config = _FROZEN

    events: tuple[ConsentEvent, ...] = ()

    @property
    def withdrawn(self) -> Mapping[SubjectId, ConsentEvent]:
        """Those whose last word was no, with that event."""
        last = {event.subject_id: event for event in self.events}
        return {subject_id: event for subject_id, event in last.items() if event.kind == "withdrawn"}


class WithdrawnSubject(BaseModel):
    """Somebody whom a version shows, and who withdrew."""

    model_config = _FROZEN

    subject_id: SubjectId
    since: Annotated[datetime, Field(description="When the version was marked, UTC.")]
    replaced_by: Annotated[
        VersionId | None, Field(description="The lowest later version without them; null: there is none.")
    ]


class VersionStatus(BaseModel):
    """What became of a version after it was published; lies outside it, because it never changes."""

    model_config = _FROZEN

    version: VersionId
    withdrawn: tuple[WithdrawnSubject, ...] = ()
    erased: Annotated[datetime | None, Field(description="When its files were deleted, UTC; null: they are there.")] = (
        None
    )

    @property
    def withdrawn_ids(self) -> frozenset[SubjectId]:
        """Who withdrew."""
        return frozenset(one.subject_id for one in self.withdrawn)


class ReleasedFile(BaseModel):
    """A file of a version that is about a person, or contains them among others."""

    model_config = _FROZEN

    path: Annotated[str, Field(description="Relative to the version, forward slashes.")]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    sha256: Sha256
    holds: Annotated[Holds, Field(description="about: only this person; contains: them among others.")]


class VersionFiles(BaseModel):
    """The files of one version that are to be erased."""

    model_config = _FROZEN

    version: VersionId
    merkle_root: Sha256
    files: tuple[ReleasedFile, ...]


class ReleasedErasure(BaseModel):
    """What whoever keeps a copy of any version has to erase of a person."""

    model_config = _FROZEN

    subject_id: SubjectId
    person: Annotated[Sha256 | None, Field(description="As in the ledger; detectors list it if they saw them.")]
    versions: tuple[VersionFiles, ...]


class LocalItem(BaseModel):
    """A file or folder of this machine that is about a person, or contains or learned from them."""

    model_config = _FROZEN

    path: str
    kind: Literal["raw", "stage", "model", "training", "history", "version", "cache"]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    sha256: Annotated[Sha256 | None, Field(description="Of a model's file.")] = None
    holds: Annotated[
        Literal["about", "contains", "learned", "unknown"],
        Field(description="learned: a model that saw them; unknown: a model that does not say whom it saw."),
    ]
    remedy: Annotated[str, Field(description="What to do about it.")]
    erased: bool = False


class LocalErasure(BaseModel):
    """What is to be erased of a person on this machine."""

    model_config = _FROZEN

    subject_id: SubjectId
    items: tuple[LocalItem, ...]


class LearnedFrom(BaseModel):
    """Which release a network learned from: what its file says under `learned_from`, as JSON."""

    model_config = _FROZEN

    version: VersionId
    merkle_root: Sha256
    subjects: Annotated[tuple[SubjectId, ...], Field(description="Whose captures it saw, sorted.")]
