"""Ingest: a subject's raw session becomes an index of what may be used, and a list of what may not, with reasons.

Everything is looked at again only when the files, the subject's row, the gestures, the session or the calibration
changed. Every delivered capture has a number of its own, its `frame`, the first time it is seen, sorted by gesture
and raw frame; it keeps it whatever is delivered, damaged or removed later.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from palm_data.calibration.cameras import calibration_folder, read_calibration
from palm_data.capture.captures import CaptureOutcome, SessionContext, read_capture
from palm_data.capture.contact_sheet import write_contact_sheet
from palm_data.capture.index import INDEX_FILE, STAGE, index_json
from palm_data.capture.layout import CaptureFiles, SessionFiles, find_files, listing_digest
from palm_data.capture.quarantine import set_aside
from palm_data.capture.raw_files import require_inside
from palm_data.capture.tables import RowTable, read_gestures, read_session, read_subjects
from palm_data.store.atomic import file_sha256
from palm_data.store.places import place_at
from palm_data.store.withdrawals import require_consent
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex, Consent, Gesture, Quarantined, Session, Subject
from schemas.errors import BadInputError, ConsentError, IntegrityError
from schemas.ids import SubjectId
from schemas.settings import Settings

_log = logging.getLogger(__name__)
CODE_VERSION = "2"
FRAMES_FILE = "frames.json"

CaptureName = tuple[str, int]
"""Gesture and raw frame."""


class NumberedCapture(BaseModel):
    """The number that a delivered capture was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gesture: str
    raw_frame: Annotated[int, Field(ge=0, description="The rig's own frame number.")]
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1; never given twice.")]


_FRAMES = TypeAdapter(tuple[NumberedCapture, ...])


@dataclass(frozen=True)
class _Delivery:
    """All that is known before any image is opened."""

    raw: Path
    subject: Subject
    session: Session
    gestures: RowTable[Gesture]
    files: SessionFiles
    frames: Mapping[CaptureName, int]


def ingest_subject(
    subject_id: SubjectId,
    workspace: Workspace,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> StageReport:
    """Index a subject's raw session; what is bad is quarantined with its reason, and the rest goes on.

    Args:
        progress: called with captures done and captures in all.

    Raises:
        ConsentError: if the subject withdrew consent, by the subject table or by the ledger beside the releases. No file of
            theirs is opened, and an index made before is removed.
        BadInputError: if the subject's row, session or calibration cannot be used.
        StoreError: if the disk would not give or take a file.
    """
    subject = read_subjects(settings.raw).row(subject_id)
    if subject.consent is not Consent.GRANTED:
        workspace.forget(STAGE, subject_id)
        raise ConsentError(
            f"{settings.raw / 'subjects.csv'}: subject {subject_id}: expected consent granted, found {subject.consent} "
            f"on {subject.consent_date.isoformat()}. Their files are not opened; move them off the raw root."
        )
    try:
        require_consent(place_at(settings.releases), [subject_id])
    except ConsentError:
        workspace.forget(STAGE, subject_id)
        raise
    files = find_files(settings.raw, subject_id)
    delivery = _Delivery(
        raw=settings.raw,
        subject=subject,
        session=read_session(settings.raw, subject_id),
        gestures=read_gestures(settings.raw),
        files=files,
        frames=_numbered(_known_frames(workspace, subject_id), files.captures),
    )
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings=settings.ingest.model_dump(mode="json"),
        inputs=_inputs(delivery),
        work=lambda folder: _write_index(delivery, settings, folder, progress),
    )


def _known_frames(workspace: Workspace, subject_id: SubjectId) -> dict[CaptureName, int]:
    """The numbers that earlier ingests gave."""
    if workspace.record(STAGE, subject_id) is None:
        return {}
    path = workspace.output(STAGE, subject_id) / FRAMES_FILE
    try:
        rows = _FRAMES.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(
            f"{path}: expected the numbers of the subject's captures, found {error}. Restore the workspace from a copy; "
            "without this file, captures may be numbered anew."
        ) from error
    return {(row.gesture, row.raw_frame): row.frame for row in rows}


def _numbered(known: Mapping[CaptureName, int], captures: Sequence[CaptureFiles]) -> dict[CaptureName, int]:
    """The known numbers, and the next ones for captures not seen before."""
    frames = dict(known)
    for name in sorted((capture.gesture, capture.raw_frame) for capture in captures):
        if name not in frames:
            frames[name] = max(frames.values(), default=0) + 1
    return frames


def _inputs(delivery: _Delivery) -> dict[str, str]:
    """Digests of all that the index depends on, named."""
    calibration = calibration_folder(delivery.raw, delivery.session.calibration_id)
    for path in (calibration, *calibration.glob("*.tka")):
        require_inside(path, delivery.raw)
    named = sorted({capture.gesture for capture in delivery.files.captures})
    gestures = [delivery.gestures.rows.get(name) for name in named]
    return {
        "files": listing_digest(delivery.raw / delivery.subject.subject_id),
        "subject": _digest(delivery.subject.model_dump(mode="json")),
        "session": _digest(delivery.session.model_dump(mode="json")),
        "gestures": _digest([row.model_dump(mode="json") if row else None for row in gestures]),
        "calibration": _digest([[path.name, file_sha256(path)] for path in sorted(calibration.glob("*.tka"))]),
        "frames": hashlib.sha256(_frames_json(delivery.frames)).hexdigest(),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _frames_json(frames: Mapping[CaptureName, int]) -> bytes:
    rows = [NumberedCapture(gesture=name[0], raw_frame=name[1], frame=frame) for name, frame in frames.items()]
    return _FRAMES.dump_json(tuple(sorted(rows, key=lambda row: row.frame)), indent=1) + b"\n"


def _write_index(
    delivery: _Delivery, settings: Settings, folder: Path, progress: Callable[[int, int], None] | None
) -> None:
    cameras, _ = read_calibration(delivery.raw, delivery.session.calibration_id, settings)
    context = SessionContext(
        raw=delivery.raw,
        subject_id=delivery.subject.subject_id,
        session=delivery.session,
        gestures=delivery.gestures,
        cameras={camera.camera_id: camera for camera in cameras},
        limits=settings.ingest,
    )
    in_order = sorted(delivery.files.captures, key=lambda item: delivery.frames[item.gesture, item.raw_frame])
    scans_seen: dict[str, str] = {}
    figures = _Figures(len(cameras))
    outcomes: list[CaptureOutcome] = []
    for done, files in enumerate(in_order):
        frame = delivery.frames[files.gesture, files.raw_frame]
        outcome = read_capture(files, frame, context, scans_seen, thumbnails=not figures.captures)
        if outcome.record is not None and outcome.scan_sha256 is not None:
            scans_seen[outcome.scan_sha256] = f"{files.gesture} {files.raw_frame}"
        if outcome.record is not None and not figures.captures:
            write_contact_sheet(folder / "picture.png", outcome, context.cameras)
        figures.add(outcome, context)
        outcome.thumbnails, outcome.scan = {}, None
        outcomes.append(outcome)
        if progress is not None:
            progress(done + 1, len(in_order))
    quarantined = [item for outcome in outcomes for item in outcome.set_aside]
    quarantined += _misplaced(delivery, outcomes)
    for item in quarantined:
        _log.info("set aside", extra=item.model_dump(mode="json"))
    index = _index(delivery, outcomes, quarantined)
    (folder / INDEX_FILE).write_bytes(index_json(index))
    (folder / FRAMES_FILE).write_bytes(_frames_json(delivery.frames))
    (folder / "figures.json").write_text(json.dumps(figures.flat(quarantined), indent=1, sort_keys=True) + "\n")


def _misplaced(delivery: _Delivery, outcomes: Sequence[CaptureOutcome]) -> list[Quarantined]:
    """Files that belong to no capture and that no scan names, nor could have: of a scan set aside, nobody knows."""
    named_by_scans = {path for outcome in outcomes for path in outcome.companions}
    unread = tuple(
        f"{item.gesture}.{item.raw_frame:06d}"
        for outcome in outcomes
        for item in outcome.set_aside
        if item.whole_capture
    )
    found = [(item.gesture, item.error) for item in delivery.files.misplaced]
    for gesture, paths in delivery.files.companions.items():
        for path in paths:
            if path not in named_by_scans and not path.name.startswith(unread):
                expected = f"{gesture}.<frame, six digits>.NN_X.<image>, a scan, or a file that a scan names"
                found.append((gesture, BadInputError(path, field="file name", expected=expected, found=path.name)))
    subject_id = delivery.subject.subject_id
    return [
        set_aside(error, raw=delivery.raw, subject_id=subject_id, gesture=gesture, raw_frame=None, whole_capture=False)
        for gesture, error in found
    ]


def _index(delivery: _Delivery, outcomes: Iterable[CaptureOutcome], quarantined: Sequence[Quarantined]) -> CaptureIndex:
    captures = tuple(outcome.record for outcome in outcomes if outcome.record is not None)
    return CaptureIndex(
        subject=delivery.subject,
        session=delivery.session,
        gestures=tuple(delivery.gestures.row(name) for name in sorted({capture.gesture for capture in captures})),
        captures=captures,
        quarantined=tuple(
            sorted(quarantined, key=lambda item: (item.gesture, _order(item.raw_frame), item.source, item.field))
        ),
    )


def _order(raw_frame: int | None) -> int:
    return -1 if raw_frame is None else raw_frame


class _Figures:
    """Counts over the captures of a subject."""

    def __init__(self, cameras: int) -> None:
        self._cameras = cameras
        self.captures = 0
        self._counts: Counter[str] = Counter()
        self._absent: Counter[str] = Counter()
        self._units: set[float] = set()

    def add(self, outcome: CaptureOutcome, context: SessionContext) -> None:
        """Count a capture, if it is accepted."""
        record = outcome.record
        if record is None:
            return
        self.captures += 1
        files = [image.raw for image in record.images]
        files += [item for item in (record.scan.mesh, record.scan.material, record.scan.texture) if item]
        self._counts.update(
            images=len(record.images),
            bytes=sum(item.bytes for item in files),
            scan_vertices=record.scan.vertices,
            scan_faces=record.scan.faces,
            scans_without_texture=int(record.scan.texture is None),
            degenerate_faces=outcome.scan.degenerate_faces if outcome.scan else 0,
            non_manifold_edges=outcome.non_manifold_edges,
        )
        present = {image.camera_id for image in record.images}
        self._absent.update(camera_id for camera_id in context.cameras if camera_id not in present)
        self._units.add(record.scan.metres_per_unit)

    def flat(self, quarantined: Sequence[Quarantined]) -> dict[str, int | str]:
        """The figures as `figures.json` holds them."""
        counted = ("images", "bytes", "scan_vertices", "scan_faces", "scans_without_texture", "degenerate_faces")
        return {
            "captures": self.captures,
            "cameras": self._cameras,
            **{name: self._counts[name] for name in (*counted, "non_manifold_edges")},
            "images_absent": self._absent.total(),
            "cameras_absent": ", ".join(f"{name} ×{count}" for name, count in sorted(self._absent.items())),
            "metres_per_unit": ", ".join(f"{unit:g}" for unit in sorted(self._units)),
            "quarantined": len(quarantined),
            "quarantined_captures": sum(item.whole_capture for item in quarantined),
        }
