"""What labels add to a version: tables, the one convention of its hands, and the settings that shaped them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from palm_data.hand.fits import HAND_POSE
from palm_data.store import labels
from palm_data.store.label_sources import QUALITY
from palm_data.store.label_tables import CONVENTION_FILE, LABEL_MODELS, convention_bytes, with_convention
from palm_data.store.tables import concatenated, table_bytes
from palm_data.store.workspace import StageRecord, Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_2D
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandConvention
from schemas.ids import SubjectId
from schemas.settings import Settings

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class LabelContents:
    """The labels of a version's subjects."""

    records: Mapping[SubjectId, StageRecord]
    folders: Mapping[SubjectId, Path]
    tables: Mapping[str, bytes]
    """Name → Parquet file."""
    convention: bytes
    counts: Mapping[str, int]
    settings: Mapping[str, Scalar]


def gather_labels(subject_ids: Sequence[SubjectId], workspace: Workspace, settings: Settings) -> LabelContents:
    """The labels of the subjects, one after the other.

    Raises:
        StoreError: if a subject has none, or two subjects' hands follow different conventions.
        IntegrityError: if a subject's tables are damaged.
    """
    records = {one: workspace.require(labels.STAGE, one) for one in subject_ids}
    folders = {one: workspace.output(labels.STAGE, one) for one in subject_ids}
    convention = _one_convention(records, folders)
    tables = {name: concatenated(name, model, records, folders) for name, model in LABEL_MODELS.items()}
    tables["hands"] = with_convention(tables["hands"], convention)
    return LabelContents(
        records=records,
        folders=folders,
        tables={name: table_bytes(table) for name, table in tables.items()},
        convention=convention_bytes(convention),
        counts={"hands": tables["hands"].num_rows, "captures_ok": sum(tables["quality"]["quality_ok"].to_pylist())},
        settings=_recorded_settings(subject_ids, workspace, settings, convention),
    )


def _one_convention(records: Mapping[SubjectId, StageRecord], folders: Mapping[SubjectId, Path]) -> HandConvention:
    first: tuple[SubjectId, HandConvention] | None = None
    for subject_id, record in records.items():
        path = f"tables/{CONVENTION_FILE}"
        (digest,) = (item.sha256 for item in record.outputs if item.path == path)
        convention = _convention(folders[subject_id] / path, digest)
        first = first or (subject_id, convention)
        if convention != first[1]:
            raise StoreError(
                f"hands: convention: expected one for all subjects, found {first[1].model_dump_json()} for {first[0]} "
                f"and {convention.model_dump_json()} for {subject_id}. Materialize hand_shape and what follows of both "
                "with one hand model."
            )
    if first is None:
        raise StoreError("hands: convention: expected at least one subject, found none.")
    return first[1]


def _convention(path: Path, digest: str) -> HandConvention:
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("other content than was written")
        return HandConvention.model_validate_json(content)
    except (OSError, ValueError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected a hand convention, found {error}.") from error


def _recorded_settings(
    subject_ids: Sequence[SubjectId], workspace: Workspace, settings: Settings, convention: HandConvention
) -> dict[str, Scalar]:
    """What shaped the labels, by dotted names; what is too long for a line by its digest.

    Several digests, if the subjects' differ, stand one after the other.
    """
    detectors = {workspace.require(KEYPOINTS_2D, one).inputs.get("detector") for one in subject_ids} - {None}
    recorded: dict[str, Scalar] = {
        **{f"keypoints_3d.{name}": value for name, value in settings.keypoints_3d.model_dump(mode="json").items()},
        **{f"maps.training_mask.{name}": v for name, v in settings.maps.training_mask.model_dump(mode="json").items()},
        "registration.sha256": _settings_digests(HAND_POSE, subject_ids, workspace),
        "quality.sha256": _settings_digests(QUALITY, subject_ids, workspace),
        "hand_model.sha256": convention.model_sha256,
    }
    if detectors:
        recorded["detector.sha256"] = " ".join(sorted(map(str, detectors)))
    return recorded


def _settings_digests(stage: str, subject_ids: Sequence[SubjectId], workspace: Workspace) -> str:
    """The digests of the settings that the stage was run with."""
    texts = {json.dumps(workspace.require(stage, one).settings, sort_keys=True) for one in subject_ids}
    return " ".join(sorted(hashlib.sha256(text.encode()).hexdigest() for text in texts))
