"""InterHand2.6M, or part of it, as a version of ours: for learning to detect joints, and for comparing with others.

Its people, masks, depth and scans are not known, so they are absent here too, and said to be.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from palm_data.hand.model import load_hand_model
from palm_data.interop.imported_files import CONSENT, REPORT_FILE, import_settings, json_bytes, sealed
from palm_data.interop.interhand_source import Source, Split, Wanted, read_interhand
from palm_data.interop.interhand_subject import MET_FILE, STAGE, import_subject, recorded_settings
from palm_data.store.contents import Entry, ReleaseContents, array_entries, document, left_out_bytes, terms
from palm_data.store.label_tables import CONVENTION_FILE, convention_bytes, with_convention
from palm_data.store.plan import LeftOut, ReleasePlan
from palm_data.store.release import publish_contents
from palm_data.store.shard import SHARD
from palm_data.store.tables import concatenated, rows_bytes, table_bytes
from palm_data.store.workspace import Workspace
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.arrow import table_to_rows
from schemas.errors import BadInputError, StoreError
from schemas.hand import JOINT_NAMES, HandConvention, HandRow
from schemas.ids import VersionId
from schemas.quality import QualityRow
from schemas.release import (
    SCHEMA_VERSION,
    CameraRow,
    CaptureRow,
    GestureRow,
    ImageRow,
    Manifest,
    SplitRow,
    SubjectRow,
)
from schemas.settings import Settings

_TABLES: Mapping[str, type[BaseModel]] = {
    "captures": CaptureRow,
    "images": ImageRow,
    "cameras": CameraRow,
    "hands": HandRow,
    "keypoints_3d": Keypoint3DRow,
}
_LICENSE = """Terms of use of this data

This version was imported from InterHand2.6M. It stands under the terms under which its authors gave it to you (CC BY-NC 4.0
when this was written: not for commercial use); the import adds none and takes none away. It shows people's hands: do not try
to find out who a person is.
"""


@dataclass(frozen=True)
class InterHandImport:
    """What became of the dataset."""

    manifest: Manifest
    left_out: tuple[LeftOut, ...]
    met: tuple[str, ...]
    """What was set aside or noted, by subject."""


@dataclass(frozen=True)
class _Imported:
    sources: Sequence[Source]
    split: Split
    convention: HandConvention
    met: tuple[str, ...]


def import_interhand(
    root: Path,
    split: Split,
    version: VersionId,
    workspace: Workspace,
    settings: Settings,
    *,
    wanted: Wanted | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InterHandImport:
    """Publish a split, or part of it, as a version; an interrupted import goes on where it was.

    A capture is a subject: 3020 is Capture2 of test, right hands; 3021 its left hands, in a mirror. All are in the split of
    ours that the dataset has them in. MANO fits are taken over only if the settings name the hand model that they are of.

    Args:
        root: the folder that holds `annotations` and `images`.
        progress: called with subjects done and subjects in all.

    Raises:
        BadInputError: if a file is missing, is not what the dataset describes, or nothing is left to import.
        ConflictError: if the version exists with other contents.
    """
    root = root.absolute()
    sources = read_interhand(root, split, wanted or Wanted())
    met: list[str] = []
    if settings.hand_model is None:
        met.append("hands: not imported: no hand model was named, and their numbers mean nothing without it")
        sources = tuple(one.without_hands() for one in sources)
    taken, left_out = list[Source](), list[LeftOut]()
    for done, source in enumerate(sources, start=1):
        try:
            import_subject(source, root, workspace, settings)
        except BadInputError as error:
            reason = f"{error.field}: expected {error.expected}, found {error.found}"
            left_out.append(LeftOut(subject_id=source.subject_id, reasons=(reason,)))
        else:
            notes = json.loads((workspace.output(STAGE, source.subject_id) / MET_FILE).read_bytes())
            met += [f"{source.subject_id}: {note}".replace(f"{root}/", "") for note in notes]
            taken.append(source)
        if progress is not None:
            progress(done, len(sources))
    if not taken:
        raise StoreError(f"{root}: expected a capture that can be imported, found none ({left_out[0].reasons[0]}).")
    plan = ReleasePlan(
        version=version, parent=None, parent_splits=(), included=(), left_out=tuple(left_out), withdrawn=()
    )  # fmt: skip
    imported = _Imported(taken, split, load_hand_model(settings.hand_model).convention(), tuple(met))
    manifest = publish_contents(
        plan,
        _gather(plan, imported, workspace, settings),
        settings.releases,
    )
    return InterHandImport(manifest, tuple(left_out), tuple(met))


def _gather(plan: ReleasePlan, imported: _Imported, workspace: Workspace, settings: Settings) -> ReleaseContents:
    ids = [source.subject_id for source in imported.sources]
    records = {one: workspace.require(STAGE, one) for one in ids}
    folders = {one: workspace.output(STAGE, one) for one in ids}
    found = {name: concatenated(name, model, records, folders) for name, model in _TABLES.items()}
    captures, hands = table_to_rows(CaptureRow, found["captures"]), found["hands"]
    splits = tuple(SplitRow(subject_id=one, split=imported.split, since=plan.version) for one in ids)
    people = [_person(source) for source in imported.sources]
    gestures = {row.gesture: GestureRow(gesture=row.gesture, description="", simple=False) for row in captures}
    quality = _quality(captures, table_to_rows(Keypoint3DRow, found["keypoints_3d"]), table_to_rows(HandRow, hands))
    tables = {
        **{name: table_bytes(table) for name, table in found.items()},
        "hands": table_bytes(with_convention(hands, imported.convention)),
        "subjects": rows_bytes(SubjectRow, people),
        "gestures": rows_bytes(GestureRow, [gestures[name] for name in sorted(gestures)]),
        "splits": rows_bytes(SplitRow, splits),
        "keypoints_2d": rows_bytes(Keypoint2DRow, []),
        "quality": rows_bytes(QualityRow, quality),
    }
    counts = {
        "subjects": len(ids), "captures": len(captures), "images": sum(found["images"]["present"].to_pylist()),
        "subjects_left_out": len(plan.left_out), "captures_quarantined": 0, "hands": hands.num_rows,
        "captures_ok": sum(row.quality_ok for row in quality),
    }  # fmt: skip
    entries = [
        *(document(f"tables/{name}.parquet", content, "table") for name, content in tables.items()),
        document(f"tables/{CONVENTION_FILE}", convention_bytes(imported.convention), "metadata"),
        *_documents(plan, imported, counts, settings),
        *(entry for one, record in records.items() for entry in array_entries(SHARD, record, folders[one])),
    ]
    recorded = import_settings(recorded_settings(settings), "interhand", imported.convention.model_sha256)
    return sealed(entries, splits, counts, recorded)


def _documents(
    plan: ReleasePlan, imported: _Imported, counts: Mapping[str, int], settings: Settings
) -> Sequence[Entry]:
    left_out = [one.model_dump(mode="json") for one in plan.left_out]
    report = {"format": "interhand", "split": imported.split, "consent": CONSENT, "met": list(imported.met)}
    texts = {
        "README.md": _readme(plan, imported, counts).encode(),
        "LICENSE": _LICENSE.encode() if settings.release.terms is None else terms(settings),
        "report/left_out.json": left_out_bytes(left_out, [], withdrawn=0),
        REPORT_FILE: json_bytes(report),
    }
    return [document(path, content, "document") for path, content in texts.items()]


def _person(source: Source) -> SubjectRow:
    return SubjectRow(
        subject_id=source.subject_id, sex=None, age_band=None, height_band=None, skin_tone=None,
        captures=len(source.frames),
    )  # fmt: skip


def _quality(
    captures: Sequence[CaptureRow], joints: Sequence[Keypoint3DRow], hands: Sequence[HandRow]
) -> list[QualityRow]:
    """A capture is good if all its joints are valid; its score is their share."""
    valid: dict[tuple[str, int], list[bool]] = {}
    for row in joints:
        valid.setdefault((row.subject_id, row.frame), []).append(row.x is not None)
    fitted = {(hand.subject_id, hand.frame) for hand in hands}
    rows = []
    for one in captures:
        key = (one.subject_id, one.frame)
        coverage = float(np.mean(valid[key]))
        reasons = [] if coverage == 1.0 else [f"joints: expected {len(JOINT_NAMES)} valid, found {sum(valid[key])}"]
        reasons += [] if key in fitted or not fitted else ["hand: expected one, found none"]
        rows.append(
            QualityRow(
                subject_id=one.subject_id, frame=one.frame, quality_ok=not reasons, score=coverage, coverage=coverage,
                reprojection_px=None, fit_mm=None, model_to_scan_mm=None, scan_to_model_mm=None, silhouette_iou=None,
                capture_iou=None, reasons="; ".join(reasons),
            )
        )  # fmt: skip
    return rows


def _readme(plan: ReleasePlan, imported: _Imported, counts: Mapping[str, int]) -> str:
    return f"""# PALM release {plan.version}, imported from InterHand2.6M

Frames with one hand of the dataset's {imported.split} split, in this project's format: {counts["subjects"]} subjects,
{counts["captures"]} captures, {counts["images"]} images, {counts["hands"]} MANO fits. Schema {SCHEMA_VERSION}.

- A subject is one of the dataset's captures: 3020 is Capture2 of test, 3021 the left hands of the same, in a mirror. Who the
  people are is not known here; one person may be several subjects.
- Images are as they were (JPEG's losses included), those of smaller cameras at the upper left of the largest size, the rest
  black. Cameras, joints and fits are in metres, in our joint order, pixels counted from corners.
- Not in the dataset, so not here: masks, depth, normals, scans, joints as detected in images, people's bands. How sure a joint
  is is not known: its covariance is missing.
- {CONSENT}

`{REPORT_FILE}` lists what was set aside. Check every byte with `palm verify <this folder>`.
"""
