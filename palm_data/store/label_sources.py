"""What a subject's labels are made from: finished stages, made from one another, and rows that fit the captures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from palm_data.calibration.cameras import cameras_digest, colour_cameras, load_cameras
from palm_data.hand.fits import HAND_POSE, HANDS_FILE, load_convention
from palm_data.hand.model import SHIPPED_MODEL
from palm_data.store.arrays import open_group
from palm_data.store.atomic import file_sha256
from palm_data.store.label_tables import LABEL_ARRAYS
from palm_data.store.sources import MAPS, check_map, check_tiers
from palm_data.store.tables import read_rows
from palm_data.store.workspace import OutputFile, StageRecord, Workspace
from palm_data.triangulation.keypoints import KEYPOINTS_2D, KEYPOINTS_2D_FILE, KEYPOINTS_3D, KEYPOINTS_3D_FILE
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.camera import Camera
from schemas.capture import CaptureIndex
from schemas.errors import SettingsError, StoreError
from schemas.hand import JOINT_NAMES, HandConvention, HandRow
from schemas.ids import Sha256
from schemas.quality import QualityRow
from schemas.settings import Settings

HAND_MAPS = "hand_maps"
QUALITY, QUALITY_FILE = "quality", "quality.parquet"
_SOURCES = (KEYPOINTS_2D, KEYPOINTS_3D, HAND_POSE, HAND_MAPS, QUALITY)
"""Stages whose outputs the labels hold."""
_BEFORE = ("capture_index", "scan_maps", "hand_shape")
"""Stages that those were made from."""

Row = TypeVar("Row", Keypoint2DRow, Keypoint3DRow, HandRow, QualityRow)


class LabelRows(NamedTuple):
    """A subject's rows of the label tables, each in the order of frame, camera and joint."""

    keypoints_2d: list[Keypoint2DRow]
    keypoints_3d: list[Keypoint3DRow]
    hands: list[HandRow]
    quality: list[QualityRow]


@dataclass(frozen=True)
class LabelSources:
    """What labels are made from, checked to fit together."""

    index: CaptureIndex
    cameras: tuple[Camera, ...]
    """The views, distorted."""
    rows: LabelRows
    convention: HandConvention
    maps: Path
    map_files: tuple[OutputFile, ...]
    """Files of the maps that the labels share, relative to `maps`."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Captures, views, height, width."""
        return len(self.index.captures), len(self.cameras), self.cameras[0].height, self.cameras[0].width


def label_inputs(index: CaptureIndex, workspace: Workspace, settings: Settings) -> dict[str, str]:
    """Digests of what labels depend on; of the calibration only the cameras, not how they were verified.

    Raises:
        SettingsError: if the hand model that the settings name is not readable.
        StoreError: if a stage has not finished.
    """
    subject_id = index.subject.subject_id
    return {
        **_given(index, workspace, settings),
        "capture_index": workspace.require("capture_index", subject_id).digest,
        **{stage: workspace.require(stage, subject_id).digest for stage in _SOURCES},
    }


def stale_sources(index: CaptureIndex, workspace: Workspace, settings: Settings) -> Iterator[str]:
    """Which finished stages were made from another output of an earlier one than the present, or with other settings.

    Raises:
        SettingsError: if the hand model that the settings name is not readable.
        StoreError: if the calibration has not finished.
        IntegrityError: if a record is not readable.
    """
    subject_id = index.subject.subject_id
    found = {stage: workspace.record(stage, subject_id) for stage in (*_BEFORE, *_SOURCES)}
    records = {stage: record for stage, record in found.items() if record is not None}
    present = {stage: record.digest for stage, record in records.items()} | _given(index, workspace, settings)
    for stage, record in records.items():
        others = [name for name, digest in record.inputs.items() if present.get(name, digest) != digest]
        if others:
            yield f"{stage} (made from another {', '.join(others)})"
        elif _other_settings(record, settings):
            yield f"{stage} (made with other settings)"


def load_label_sources(index: CaptureIndex, workspace: Workspace, settings: Settings) -> LabelSources:
    """Everything labels are made from, checked to fit together.

    Raises:
        StoreError: if a stage has not finished, or rows or maps are not of the captures and cameras.
        IntegrityError: if a table is damaged.
    """
    subject_id = index.subject.subject_id
    cameras = load_cameras(workspace, index.session.calibration_id)
    sources = LabelSources(
        index=index,
        cameras=colour_cameras(cameras),
        rows=LabelRows(
            _rows(KEYPOINTS_2D, KEYPOINTS_2D_FILE, Keypoint2DRow, index, workspace),
            _rows(KEYPOINTS_3D, KEYPOINTS_3D_FILE, Keypoint3DRow, index, workspace),
            _rows(HAND_POSE, HANDS_FILE, HandRow, index, workspace),
            _rows(QUALITY, QUALITY_FILE, QualityRow, index, workspace),
        ),
        convention=load_convention(workspace, subject_id),
        maps=workspace.output(HAND_MAPS, subject_id) / MAPS,
        map_files=_map_files(workspace.require(HAND_MAPS, subject_id)),
    )
    _check_rows(sources, cameras)
    _check_maps(sources, settings)
    return sources


def _given(index: CaptureIndex, workspace: Workspace, settings: Settings) -> dict[str, Sha256]:
    """Digests of the inputs that are not a stage of the subject."""
    source = SHIPPED_MODEL if settings.hand_model is None else settings.hand_model
    try:
        model = file_sha256(source)
    except OSError as error:
        raise SettingsError(
            f"settings: hand_model: expected a readable file, found {error.strerror}: {source}. "
            "Make one with: palm mano import."
        ) from error
    return {"cameras": cameras_digest(workspace, index.session.calibration_id), "hand_model": model}


def _other_settings(record: StageRecord, settings: Settings) -> bool:
    """Whether the stage was run with other values of the settings in force that it depends on."""
    wanted: dict[str, Any] = {}
    if record.stage == KEYPOINTS_3D:
        wanted = settings.keypoints_3d.model_dump(mode="json")
    if record.stage in ("hand_shape", HAND_POSE):
        wanted = settings.registration.model_dump(mode="json")
    if record.stage == HAND_MAPS:
        wanted = {
            **settings.maps.training_mask.model_dump(mode="json"),
            "tile_px": settings.shard.tile_px,
            "tiers": " ".join(settings.shard.tiers),
        }
    if record.stage == QUALITY:
        wanted = settings.quality.frame.model_dump(mode="json")
    return any(record.settings.get(name) != value for name, value in wanted.items())


def _rows(stage: str, file: str, model: type[Row], index: CaptureIndex, workspace: Workspace) -> list[Row]:
    """The stage's rows in order, each of one of the subject's captures.

    Raises:
        StoreError: if a row is of another subject, of an unknown frame, or there twice.
    """
    subject_id = index.subject.subject_id
    (digest,) = (item.sha256 for item in workspace.require(stage, subject_id).outputs if item.path == file)
    rows = read_rows(workspace.output(stage, subject_id) / file, model, sha256=digest)
    frames = {capture.frame for capture in index.captures}
    for row in rows:
        if row.subject_id != subject_id:
            raise _unfit(stage, subject_id, f"{file}: subject_id", expected=subject_id, found=row.subject_id)
        if row.frame not in frames:
            raise _unfit(stage, subject_id, f"{file}: frame", expected="one of the index", found=str(row.frame))
    keys = [_key(row) for row in rows]
    if len(set(keys)) != len(keys):
        twice = next(key for position, key in enumerate(keys) if key in keys[:position])
        raise _unfit(stage, subject_id, f"{file}: rows", expected="each once", found=f"two of {twice}")
    return sorted(rows, key=_key)


def _key(row: Keypoint2DRow | Keypoint3DRow | HandRow | QualityRow) -> tuple[int, str, int]:
    return row.frame, getattr(row, "camera_id", ""), getattr(row, "joint", 0)


def _check_rows(sources: LabelSources, cameras: tuple[Camera, ...]) -> None:
    """Every capture has its joints and its quality; detections are of known cameras; what is good has a hand."""
    subject_id, rows = sources.index.subject.subject_id, sources.rows
    frames = sorted(capture.frame for capture in sources.index.captures)
    known = {camera.camera_id for camera in cameras}
    for detection in rows.keypoints_2d:
        if detection.camera_id not in known:
            found = detection.camera_id
            raise _unfit(KEYPOINTS_2D, subject_id, "camera_id", expected="one of the calibration", found=found)
    joints = [(frame, joint) for frame in frames for joint in range(len(JOINT_NAMES))]
    if [(row.frame, row.joint) for row in rows.keypoints_3d] != joints:
        expected, found = f"{len(JOINT_NAMES)} joints of each capture", f"{len(rows.keypoints_3d)} rows"
        raise _unfit(KEYPOINTS_3D, subject_id, "joint", expected=expected, found=found)
    if [row.frame for row in rows.quality] != frames:
        found = ", ".join(str(row.frame) for row in rows.quality) or "none"
        raise _unfit(QUALITY, subject_id, "frame", expected=f"each of {', '.join(map(str, frames))}", found=found)
    fitted = {row.frame for row in rows.hands}
    for row in rows.quality:
        if row.quality_ok and row.frame not in fitted:
            place = f"quality_ok of frame {row.frame}"
            raise _unfit(QUALITY, subject_id, place, expected="false: it has no hand", found="true")


def _map_files(record: StageRecord) -> tuple[OutputFile, ...]:
    prefixes = tuple(f"{MAPS}/{name}/" for name in LABEL_ARRAYS)
    return tuple(
        item.model_copy(update={"path": item.path.removeprefix(f"{MAPS}/")})
        for item in record.outputs
        if item.path.startswith(prefixes)
    )


def _check_maps(sources: LabelSources, settings: Settings) -> None:
    maps, subject_id = open_group(sources.maps), sources.index.subject.subject_id
    try:
        for name in LABEL_ARRAYS:
            check_tiers(maps, name, settings.shard.tiers)
            for tier in settings.shard.tiers:
                check_map(maps, name, sources.shape, tier)
    except StoreError as error:
        raise StoreError(f"{HAND_MAPS} of {subject_id}: {MAPS}: {error} Materialize {HAND_MAPS} again.") from error


def _unfit(stage: str, subject_id: str, place: str, *, expected: str, found: str) -> StoreError:
    return StoreError(
        f"{stage} of {subject_id}: {place}: expected {expected}, found {found}. Materialize {stage} again."
    )
