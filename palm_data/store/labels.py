"""The `subject_labels` stage: all labels that are released of a subject, apart from the images they are of.

    labels.zarr/{hand_mask,training_mask}/<tier>             (capture, view, y, x); one shard object a capture
    tables/{keypoints_2d,keypoints_3d,hands,quality}.parquet the subject's rows of the released tables
    tables/hand_convention.json                              how the numbers of hands are to be read
    figures.json, picture.png

Masks are shared with the output of `hand_maps` by hard link. Images are not touched: a new registration writes no
image again.
"""

import json
from pathlib import Path

import numpy as np

from palm_data.capture.index import usable_index
from palm_data.report.pictures import write_png
from palm_data.store.arrays import create_group
from palm_data.store.atomic import write_bytes
from palm_data.store.label_picture import label_picture
from palm_data.store.label_sources import LabelSources, label_inputs, load_label_sources, stale_sources
from palm_data.store.label_tables import CONVENTION_FILE, LABEL_MODELS, convention_bytes
from palm_data.store.objects import DAMAGED_WORKSPACE, check_file, place
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import CaptureIndex
from schemas.errors import IntegrityError, StoreError
from schemas.ids import SubjectId
from schemas.settings import Settings

STAGE = "subject_labels"
LABELS = "labels.zarr"
CODE_VERSION = "2"
_DIGITS = 4


def build_subject_labels(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """Put the subject's keypoints, hands, quality and masks together, unless that is done already.

    Raises:
        ConsentError: if the subject has not granted consent.
        BadInputError: if the subject has no capture, or a raw image is not the one that was ingested.
        StoreError: if an earlier stage has not finished, was made from another output than the present one of a stage
            before it or with other settings, or does not fit the captures.
        IntegrityError: if a file of an earlier stage is damaged.
    """
    index = usable_index(workspace, subject_id)
    inputs = label_inputs(index, workspace, settings)
    stale = list(stale_sources(index, workspace, settings))
    if stale:
        raise StoreError(
            f"subject {subject_id}: stages: expected each made from the present outputs of the others and with the present "
            f"settings, found {'; '.join(stale)}. Materialize them again."
        )
    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings={},
        inputs=inputs,
        work=lambda folder: _build(folder, load_label_sources(index, workspace, settings), settings),
    )


def out_of_date(index: CaptureIndex, workspace: Workspace, settings: Settings) -> str | None:
    """Why the subject's labels are not those that the present inputs and settings give; None if they are.

    Raises:
        SettingsError: if the hand model that the settings name is not readable.
        IntegrityError: if a record of the workspace is damaged.
    """
    record = workspace.record(STAGE, index.subject.subject_id)
    if record is None:
        return f"{STAGE}: expected a finished output, found nothing"
    try:
        inputs = label_inputs(index, workspace, settings)
        stale = list(stale_sources(index, workspace, settings))
    except IntegrityError:
        raise
    except StoreError:
        return f"{STAGE}: expected finished inputs, found some missing"
    changed = [name for name, digest in inputs.items() if record.inputs.get(name) != digest]
    if record.code_version != CODE_VERSION:
        changed.append("code version")
    changed += stale
    return (
        f"{STAGE}: expected one made from the present inputs, found others: {', '.join(changed)}" if changed else None
    )


def _build(folder: Path, sources: LabelSources, settings: Settings) -> None:
    create_group(folder / LABELS, _attributes(sources))
    for item in sources.map_files:
        source = sources.maps / item.path
        check_file(source, size=item.bytes, sha256=item.sha256, hint=DAMAGED_WORKSPACE)
        place(source, folder / LABELS / item.path)
    for name, model in LABEL_MODELS.items():
        write_rows(folder / "tables" / f"{name}.parquet", model, getattr(sources.rows, name))
    write_bytes(folder / "tables" / CONVENTION_FILE, convention_bytes(sources.convention))
    write_bytes(folder / "figures.json", (json.dumps(_figures(sources), indent=1) + "\n").encode())
    write_png(folder / "picture.png", label_picture(sources, settings))


def _attributes(sources: LabelSources) -> dict[str, object]:
    return {
        "subject_id": sources.index.subject.subject_id,
        "frames": [capture.frame for capture in sources.index.captures],
        "camera_ids": [camera.camera_id for camera in sources.cameras],
    }


def _figures(sources: LabelSources) -> dict[str, float | int]:
    rows = sources.rows
    return {
        "captures": len(rows.quality),
        "captures_ok": sum(row.quality_ok for row in rows.quality),
        "hands": len(rows.hands),
        "keypoints_2d": len(rows.keypoints_2d),
        "keypoints_3d": sum(row.x is not None for row in rows.keypoints_3d),
        "coverage_mean": round(float(np.mean([row.coverage for row in rows.quality])), _DIGITS),
        "score_mean": round(float(np.mean([row.score for row in rows.quality])), _DIGITS),
    }
