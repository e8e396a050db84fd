"""Who may enter a release, who may not, and why."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.calibration.cameras import read_calibration
from palm_data.capture.index import load_index
from palm_data.capture.layout import raw_subjects
from palm_data.capture.quarantine import relative_source
from palm_data.capture.tables import SESSION_FILE, RowTable, read_session, read_subjects
from palm_data.quality.gate import subject_gate
from palm_data.store import labels, shard
from palm_data.store.manifest import is_version, read_manifest, version_order, versions
from palm_data.store.places import Place, place_at
from palm_data.store.tables import load_rows
from palm_data.store.withdrawals import read_ledger
from palm_data.store.workspace import Workspace
from schemas.capture import CaptureIndex, Consent, Quarantined, Subject
from schemas.errors import BadInputError, IntegrityError, StoreError
from schemas.ids import SubjectId, VersionId
from schemas.release import SCHEMA_VERSION, SplitRow
from schemas.settings import Settings

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)
CONSENT_WITHDRAWN = "consent: expected granted, found withdrawn"


class LeftOut(BaseModel):
    """A subject that is not in the release, with the reasons."""

    model_config = _FROZEN

    subject_id: SubjectId
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]


class ReleasePlan(BaseModel):
    """What a version would hold."""

    model_config = _FROZEN

    version: VersionId
    parent: VersionId | None
    parent_splits: tuple[SplitRow, ...]
    included: tuple[CaptureIndex, ...]
    left_out: tuple[LeftOut, ...]
    withdrawn: Annotated[tuple[SubjectId, ...], Field(description="In the parent, and withdrawn since.")]
    schema_version: str = SCHEMA_VERSION

    @property
    def consent_withdrawn(self) -> tuple[SubjectId, ...]:
        """Everybody known who withdrew, in the parent or not."""
        return tuple(one.subject_id for one in self.left_out if CONSENT_WITHDRAWN in one.reasons)

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """What was set aside at ingest, of the included subjects."""
        return tuple(item for index in self.included for item in index.quarantined)


def plan_release(
    version: VersionId, workspace: Workspace, settings: Settings, *, parent: VersionId | None = None
) -> ReleasePlan:
    """Decide for each subject whether this version has them; nothing is written.

    Subjects are those of the workspace, of the parent version, and of the raw root if that can be reached.

    Consent is read from the raw subject table as it is now, if that can be reached, and from the index otherwise; whoever
    `palm withdraw` wrote down as withdrawn is out, whatever those say. One bad subject costs one subject.

    Args:
        parent: the version to carry splits over from; the highest lower one by default.

    Raises:
        BadInputError: if the raw root is there, but its subject table cannot be read: nobody's consent is known.
        SettingsError: if labels are wanted and the hand model that the settings name is not readable.
        StoreError: if the version or its parent is not a version number, or the parent does not exist or is not lower.
    """
    releases = place_at(settings.releases)
    parent = _parent(version, releases, parent)
    splits = _splits(releases, parent)
    registered = _registered(settings.raw)
    ledger = read_ledger(releases).withdrawn
    known = {
        *workspace.keys(shard.STAGE), *workspace.keys("capture_index"), *(row.subject_id for row in splits),
        *(raw_subjects(settings.raw) if settings.raw.is_dir() else ()),
    }  # fmt: skip
    included: list[CaptureIndex] = []
    left_out: list[LeftOut] = []
    withdrawn: list[SubjectId] = []
    for subject_id in sorted(known):
        index, reasons = (
            (None, (CONSENT_WITHDRAWN,))
            if subject_id in ledger
            else _judge(subject_id, workspace, settings, registered)
        )
        if index is not None and not reasons:
            included.append(index)
            continue
        left_out.append(LeftOut(subject_id=subject_id, reasons=reasons))
        if CONSENT_WITHDRAWN in reasons and any(row.subject_id == subject_id for row in splits):
            withdrawn.append(subject_id)
    return ReleasePlan(
        version=version, parent=parent, parent_splits=splits, included=tuple(included),
        left_out=tuple(left_out), withdrawn=tuple(withdrawn),
    )  # fmt: skip


def _judge(
    subject_id: SubjectId, workspace: Workspace, settings: Settings, registered: RowTable[Subject] | None
) -> tuple[CaptureIndex | None, tuple[str, ...]]:
    """The subject's index, and the reasons against releasing them; the reasons name no path of this machine."""
    if registered is not None:
        row = registered.rows.get(subject_id)
        if row is None:
            found = "one that is wrong" if subject_id in registered.problems else "none"
            return None, (f"subjects.csv: expected a row of the subject, found {found}",)
        if row.consent is not Consent.GRANTED:
            return None, (CONSENT_WITHDRAWN,)
    try:
        if workspace.record("capture_index", subject_id) is None:
            return None, (_why_not_indexed(subject_id, settings),)
        index = load_index(workspace, subject_id)
        if index.subject.consent is not Consent.GRANTED:
            return None, (CONSENT_WITHDRAWN,)
        failed = [item for item in subject_gate(workspace, subject_id, settings) if item.blocking and not item.passed]
        reasons = [f"{item.name}: expected {item.expected}, found {item.found}" for item in failed]
        if not reasons:
            problems = [shard.out_of_date(index, workspace, settings)]
            if settings.release.labels:
                problems.append(labels.out_of_date(index, workspace, settings))
            reasons = [problem for problem in problems if problem is not None]
    except IntegrityError:
        return None, ("workspace: expected whole outputs, found damaged ones",)
    return index, tuple(reasons)


def _why_not_indexed(subject_id: SubjectId, settings: Settings) -> str:
    """What is wrong with the session, if that is why it has no index."""
    raw = settings.raw
    if (raw / subject_id / SESSION_FILE).is_file():
        try:
            read_calibration(raw, read_session(raw, subject_id).calibration_id, settings)
        except BadInputError as error:
            return (
                f"{relative_source(raw, error.source)}: {error.field}: expected {error.expected}, found {error.found}"
            )
    return "capture_index: expected a finished output, found nothing"


def _registered(raw: Path) -> RowTable[Subject] | None:
    """The raw subject table as it is now; None if the raw root cannot be reached from here."""
    return read_subjects(raw) if raw.is_dir() else None


def _parent(version: VersionId, releases: Place, parent: VersionId | None) -> VersionId | None:
    for name in (version, parent):
        if name is not None and not is_version(name):
            raise StoreError(f"version: expected MAJOR.MINOR.PATCH, found {name!r}.")
    existing = versions(releases)
    lower = [name for name in existing if version_order(name) < version_order(version)]
    if parent is None:
        return lower[-1] if lower else None
    if parent not in lower:
        raise StoreError(
            f"{releases.name}/{parent}: expected a published version below {version} as the parent, found "
            f"{'none' if parent not in existing else parent}. Published: {', '.join(existing) or 'nothing'}."
        )
    return parent


def _splits(releases: Place, parent: VersionId | None) -> tuple[SplitRow, ...]:
    if parent is None:
        return ()
    files = releases.files(parent)
    rows = load_rows(files, "tables/splits.parquet", SplitRow)
    promised = {(split, subject) for split, subjects in read_manifest(files).splits.items() for subject in subjects}
    if {(row.split, row.subject_id) for row in rows} != promised:
        raise IntegrityError(
            f"{files.name}/tables/splits.parquet: expected the splits of the manifest, found others. "
            f"Run: palm verify {parent}"
        )
    return tuple(rows)
