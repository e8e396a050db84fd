"""The contents of a version that was imported: the subjects' shards, the tables, and the words that say where it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palm_data.interop.imported_files import CONSENT, REPORT_FILE, import_settings, json_bytes, sealed
from palm_data.interop.official_rows import GESTURE
from palm_data.interop.official_sidecar import Sidecar
from palm_data.interop.official_subject import STAGE, recorded_settings
from palm_data.store.contents import ReleaseContents, array_entries, document, left_out_bytes, terms
from palm_data.store.label_tables import CONVENTION_FILE, convention_bytes, with_convention
from palm_data.store.plan import LeftOut
from palm_data.store.shard import SHARD
from palm_data.store.splits import assign_splits
from palm_data.store.tables import concatenated, rows_bytes, table_bytes
from palm_data.store.workspace import Workspace
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.arrow import table_to_rows
from schemas.hand import JOINT_NAMES, HandConvention, HandRow
from schemas.ids import SubjectId, VersionId
from schemas.quality import QualityRow
from schemas.release import SCHEMA_VERSION, CameraRow, CaptureRow, GestureRow, ImageRow, SplitRow, SubjectRow
from schemas.settings import Settings

_LICENSE = """Terms of use of this data

This version was imported from an official PALM release. It stands under the terms under which its authors gave it to you;
the import adds none and takes none away. It shows people's hands: do not try to find out who a person is.
"""
_NO_FIT = (
    "coverage",
    "reprojection_px",
    "fit_mm",
    "model_to_scan_mm",
    "scan_to_model_mm",
    "silhouette_iou",
    "capture_iou",
)


@dataclass(frozen=True)
class Imported:
    """What is known beside the subjects' own files."""

    version: VersionId
    subject_ids: Sequence[SubjectId]
    left_out: Sequence[LeftOut]
    convention: HandConvention
    errors: Mapping[tuple[SubjectId, int], float]
    """The official errors, by subject and file number."""
    met: tuple[str, ...]
    sidecar: Sidecar


def gather_imported(imported: Imported, workspace: Workspace, settings: Settings) -> ReleaseContents:
    """All files of the version.

    Raises:
        IntegrityError: if a subject's tables are damaged.
    """
    records = {one: workspace.require(STAGE, one) for one in imported.subject_ids}
    folders = {one: workspace.output(STAGE, one) for one in imported.subject_ids}
    captures, images = (
        concatenated(name, model, records, folders) for name, model in (("captures", CaptureRow), ("images", ImageRow))
    )
    hands = concatenated("hands", HandRow, records, folders)
    rows = table_to_rows(CaptureRow, captures)
    people = [_person(one, rows, imported.sidecar) for one in imported.subject_ids]
    known_splits = [row for one in imported.subject_ids for row in imported.sidecar.rows("splits", SplitRow, one)]
    splits = assign_splits(people, {row.subject_id: row for row in known_splits}, imported.version)
    quality = _quality(rows, table_to_rows(HandRow, hands), imported)
    tables = {
        "subjects": rows_bytes(SubjectRow, people),
        "gestures": rows_bytes(GestureRow, _gestures(rows, imported.sidecar)),
        "captures": table_bytes(captures),
        "images": table_bytes(images),
        "cameras": table_bytes(concatenated("cameras", CameraRow, records, folders)),
        "splits": rows_bytes(SplitRow, splits),
        "keypoints_2d": rows_bytes(Keypoint2DRow, _keypoints_2d(rows, imported.sidecar)),
        "keypoints_3d": rows_bytes(Keypoint3DRow, _keypoints_3d(rows, imported.sidecar)),
        "hands": table_bytes(with_convention(hands, imported.convention)),
        "quality": rows_bytes(QualityRow, quality),
    }
    counts = {
        "subjects": len(people), "captures": len(rows), "images": sum(images["present"].to_pylist()),
        "subjects_left_out": len(imported.left_out), "captures_quarantined": 0, "hands": hands.num_rows,
        "captures_ok": sum(row.quality_ok for row in quality),
    }  # fmt: skip
    left_out = [one.model_dump(mode="json") for one in imported.left_out]
    entries = [
        *(document(f"tables/{name}.parquet", content, "table") for name, content in tables.items()),
        document(f"tables/{CONVENTION_FILE}", convention_bytes(imported.convention), "metadata"),
        document("README.md", _readme(imported.version, counts, splits).encode(), "document"),
        document("LICENSE", _LICENSE.encode() if settings.release.terms is None else terms(settings), "document"),
        document("report/left_out.json", left_out_bytes(left_out, [], withdrawn=0), "document"),
        document(REPORT_FILE, json_bytes(_report(imported)), "document"),
        *(entry for one, record in records.items() for entry in array_entries(SHARD, record, folders[one])),
    ]
    recorded = import_settings(recorded_settings(settings), "official", imported.convention.model_sha256)
    return sealed(entries, splits, counts, recorded)


def _person(subject_id: SubjectId, captures: Sequence[CaptureRow], sidecar: Sidecar) -> SubjectRow:
    known = sidecar.rows("subjects", SubjectRow, subject_id)
    bands = {
        name: getattr(known[0], name) if known else None for name in ("sex", "age_band", "height_band", "skin_tone")
    }
    return SubjectRow(subject_id=subject_id, captures=sum(row.subject_id == subject_id for row in captures), **bands)


def _gestures(captures: Sequence[CaptureRow], sidecar: Sidecar) -> list[GestureRow]:
    known = {row.gesture: row for row in sidecar.gestures()}
    unknown = "The official release does not say what the hand does."
    return [
        known.get(name, GestureRow(gesture=name, description=unknown if name == GESTURE else "", simple=False))
        for name in sorted({row.gesture for row in captures})
    ]


def _keypoints_2d(captures: Sequence[CaptureRow], sidecar: Sidecar) -> list[Keypoint2DRow]:
    return [
        row for one in captures for row in sidecar.rows("keypoints_2d", Keypoint2DRow, one.subject_id, frame=one.frame)
    ]


def _keypoints_3d(captures: Sequence[CaptureRow], sidecar: Sidecar) -> list[Keypoint3DRow]:
    """The joints of the sidecar; without one, all missing: none was triangulated."""
    found = []
    for one in captures:
        known = sidecar.rows("keypoints_3d", Keypoint3DRow, one.subject_id, frame=one.frame)
        found += known or [_missing_joint(one, joint) for joint in range(len(JOINT_NAMES))]
    return found


def _missing_joint(capture: CaptureRow, joint: int) -> Keypoint3DRow:
    empty = dict.fromkeys(
        ("x", "y", "z", "cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz", "reprojection_px")
    )
    return Keypoint3DRow(
        subject_id=capture.subject_id, frame=capture.frame, joint=joint, views=0, ray_angle_deg=0.0, **empty
    )  # fmt: skip


def _quality(captures: Sequence[CaptureRow], hands: Sequence[HandRow], imported: Imported) -> list[QualityRow]:
    """The sidecar's rows; without one, a capture's score is its rank among the official errors: 1 = the best of all."""
    fitted = {(hand.subject_id, hand.frame) for hand in hands}
    ordered = np.sort(np.array(list(imported.errors.values())))
    rows = []
    for one in captures:
        known = imported.sidecar.rows("quality", QualityRow, one.subject_id, frame=one.frame)
        error = imported.errors.get((one.subject_id, one.raw_frame))
        there = (one.subject_id, one.frame) in fitted
        better = 0.0 if error is None else float(np.searchsorted(ordered, error, side="left")) / len(ordered)
        absent = [] if error is not None else ["official error: expected one, found none"]
        reasons = absent + ([] if there else ["hand: expected one, found none"])
        rows += known or [
            QualityRow(
                subject_id=one.subject_id, frame=one.frame, quality_ok=there, reasons="; ".join(reasons),
                score=1.0 - better if there and error is not None else 0.0,
                **{**dict.fromkeys(_NO_FIT), "coverage": 0.0},
            )
        ]  # fmt: skip
    return rows


def _report(imported: Imported) -> dict[str, object]:
    record = imported.sidecar.record
    return {
        "format": "official",
        "consent": CONSENT,
        "exported_from": None if record is None else {"release": record.release, "merkle_root": record.merkle_root},
        "official_errors": {f"{one}/{number:06d}": error for (one, number), error in sorted(imported.errors.items())},
        "met": list(imported.met),
    }


def _readme(version: VersionId, counts: Mapping[str, int], splits: Sequence[SplitRow]) -> str:
    sizes = ", ".join(f"{name} {sum(row.split == name for row in splits)}" for name in ("train", "val", "test"))
    return f"""# PALM release {version}, imported

Multi-view captures of right hands from an official PALM release, in this project's format: {counts["subjects"]} subjects
({sizes}), {counts["captures"]} captures, {counts["images"]} images. Schema {SCHEMA_VERSION}.

```python
import palm_data
release = palm_data.open_release("<the folder that holds this one>", version="{version}")
sample = release[0]                      # .rgb .mask .normal .cameras .hand
```

- From the official files: images, masks, normals (within 1/255 in each of a normal's parts), the fitted hand's silhouette,
  cameras, hands. `training_mask` is fused here from the two masks. Scans, if they were beside the subjects.
- Not in an official release, so not here: depth (`sample.depth` says so), joints (`sample.keypoints` are all missing),
  what the hand does (`{GESTURE}`), people's bands (null), how well hands fit (null). Of an export of this project's
  own, the tables that lay beside it are here again.
- `quality.score`: a capture's rank among the official errors, 1 = the best; the errors are in `{REPORT_FILE}`.
- Splits were made at the import: the official release holds none.
- {CONSENT}

`{REPORT_FILE}` lists everything that was set aside or not known at the import. Check every byte with
`palm verify <this folder>`.
"""
