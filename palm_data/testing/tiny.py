"""A finished workspace of a few tiny subjects, made from arrays: what publishing and loading are tested on."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import zarr

from palm_data.calibration.cameras import CAMERAS_FILE, cameras_json
from palm_data.capture.index import INDEX_FILE, index_json
from palm_data.maps.views import VIEWS_FILE, ViewRow, write_views
from palm_data.store import shard
from palm_data.store.arrays import create_group, create_image_array, create_row_array, write_frame
from palm_data.store.release import publish_release
from palm_data.store.rows import camera_rows, capture_rows, image_rows
from palm_data.store.scans import ScanSize
from palm_data.store.sources import ShardSources, shard_inputs
from palm_data.store.tables import write_rows
from palm_data.store.workspace import Workspace
from palm_data.testing.tiny_labels import CAMERAS, HEIGHT, TILE, WIDTH, TinyLabels, add_labels, every_other, tiny_labels
from schemas.camera import Camera, Distortion
from schemas.capture import CaptureIndex, CaptureRecord, Gesture, ImageRecord, RawFile, ScanRecord, Session, Subject
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings, ShardSettings
from schemas.tier import Tier

CALIBRATION = "rig_a"
RIG = "TEST-1"
GESTURES = ("fist", "flat", "pinch")
PEOPLE = (
    ("female", "21-30", "145-170", "light"),
    ("male", "31-40", "171-180", "dark"),
    ("female", "41-50", "171-180", "tan"),
)


@dataclass(frozen=True)
class Tiny:
    """A workspace and what is in it."""

    workspace: Workspace
    settings: Settings
    arrays: dict[str, dict[str, np.ndarray]]
    """Subject → name → what was written."""
    labels: dict[str, TinyLabels]
    """Subject → their labels."""


def tiny_workspace(
    root: Path,
    subjects: Sequence[str] = ("0001", "0002"),
    *,
    seed: int = 0,
    withdrawn: Collection[str] = (),
    rig_serial: str = RIG,
    tiers: tuple[Tier, ...] = ("full",),
) -> Tiny:
    """Write a workspace of subjects with two captures in three views, and the raw subject table."""
    settings = Settings(
        raw=root / "raw", workspace=root / "workspace", releases=root / "releases",
        shard=ShardSettings(tile_px=TILE, tiers=tiers),
    )  # fmt: skip
    workspace = Workspace(settings.workspace)
    write_subjects(settings.raw, subjects, withdrawn=withdrawn)
    cameras = tuple(_camera(number, name) for number, name in enumerate(CAMERAS))
    _stage(workspace, "calibration", CALIBRATION, {CAMERAS_FILE: cameras_json(cameras)})
    arrays = {one: add_subject(workspace, settings, one, seed=seed, rig_serial=rig_serial) for one in subjects}
    labels = {one: tiny_labels(one, workspace, seed=seed) for one in subjects}
    return Tiny(workspace=workspace, settings=settings, arrays=arrays, labels=labels)


def make_tiny_release(root: Path, subjects: Sequence[str] = ("0001", "0002"), *, version: str = "0.1.0") -> Path:
    """Publish such a workspace as a version with labels, in `<root>/releases`; the version's folder."""
    made = tiny_workspace(root, subjects)
    publish_release(version, made.workspace, made.settings)
    return made.settings.releases_folder / version


def write_subjects(raw: Path, subjects: Sequence[str], *, withdrawn: Collection[str] = ()) -> None:
    """Write subjects.csv."""
    raw.mkdir(parents=True, exist_ok=True)
    rows = [
        ",".join([one, *_person(one), "withdrawn" if one in withdrawn else "granted", "2025-02-01"]) for one in subjects
    ]
    header = "subject_id,sex,age_band,height_band,skin_tone,consent,consent_date"
    (raw / "subjects.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def add_subject(
    workspace: Workspace,
    settings: Settings,
    subject_id: str,
    *,
    seed: int = 0,
    consent: str = "granted",
    iou: float = 0.97,
    rig_serial: str = RIG,
) -> dict[str, np.ndarray]:
    """Write all stages of one subject; what the arrays hold."""
    index = _index(subject_id, seed, consent, rig_serial)
    cameras = tuple(_camera(number, name) for number, name in enumerate(CAMERAS))
    arrays = _arrays(len(index.captures), np.random.default_rng([seed, int(subject_id)]))
    views = tuple(
        ViewRow(frame=capture.frame, camera_id=name, mask_px=int((arrays["mask"][row, view] > 0).sum()),
                silhouette_iou=iou, contour_offset_px=0.5)
        for row, capture in enumerate(index.captures) for view, name in enumerate(CAMERAS)
    )  # fmt: skip
    _stage(workspace, "capture_index", subject_id, {INDEX_FILE: index_json(index)})

    def write_maps(folder: Path) -> None:
        group = create_group(folder / "maps.zarr")
        for name in ("mask", "depth", "normal"):
            _write_images(group, name, arrays[name], settings.shard.tiers)
        write_views(folder / VIEWS_FILE, views)

    workspace.run_stage(
        "scan_maps", subject_id, code_version="1", settings={"seed": seed, "iou": iou}, inputs={}, work=write_maps
    )
    sources = ShardSources(index=index, cameras=cameras, maps=Path(), map_files=(), views=views, raw=settings.raw)

    def write_shard(folder: Path) -> None:
        _write_shard(folder, sources, arrays, settings.shard.tiers)

    workspace.run_stage(
        shard.STAGE, subject_id, code_version=shard.CODE_VERSION, settings=shard.recorded_settings(settings),
        inputs=shard_inputs(index, workspace), work=write_shard,
    )  # fmt: skip
    add_labels(workspace, settings, index, seed=seed)
    return arrays


def _stage(workspace: Workspace, stage: str, key: str, files: dict[str, bytes]) -> None:
    def work(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    inputs = {name: content.hex() for name, content in files.items()}
    workspace.run_stage(stage, key, code_version="1", settings={}, inputs=inputs, work=work)


def _write_images(group: zarr.Group, name: str, pixels: np.ndarray, tiers: Sequence[Tier]) -> None:
    attributes = {"unit_mm": 0.05} if name == "depth" else {}
    for tier in tiers:
        there = every_other(pixels, tier)
        array = create_image_array(
            group, f"{name}/{tier}", there.shape, there.dtype, tile_px=TILE, attributes=attributes
        )
        for row, frame in enumerate(there):
            write_frame(array, row, frame)


def _write_shard(folder: Path, sources: ShardSources, arrays: dict[str, np.ndarray], tiers: Sequence[Tier]) -> None:
    group = create_group(folder / shard.SHARD, {"camera_ids": list(CAMERAS)})
    for name in ("rgb", "mask", "depth", "normal"):
        _write_images(group, name, arrays[name], tiers)
    sizes = []
    for name, offsets in (("vertices", "vertex"), ("faces", "face"), ("uv", "uv"), ("uv_faces", "uv_face")):
        rows = arrays[name]
        create_row_array(group, f"scan/{name}", rows.reshape(-1, rows.shape[-1]))
        bounds = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
        create_row_array(group, f"scan/{offsets}_offsets", bounds)
    texture = arrays["texture"][:, None]
    array = create_image_array(group, "scan/texture", texture.shape, np.uint8, tile_px=TILE)
    for row, frame in enumerate(texture):
        write_frame(array, row, frame)
        sizes.append(ScanSize(vertices=arrays["vertices"].shape[1], faces=arrays["faces"].shape[1]))
    shapes = np.array([[4, 5], [0, 0]], dtype=np.int32)[: len(sizes)]
    create_row_array(group, "scan/texture_sizes", shapes)
    write_rows(folder / "tables" / "captures.parquet", CaptureRow, capture_rows(sources, sizes))
    write_rows(folder / "tables" / "images.parquet", ImageRow, image_rows(sources))
    write_rows(folder / "tables" / "cameras.parquet", CameraRow, camera_rows(sources))
    (folder / "figures.json").write_text(json.dumps({"captures": len(sizes)}))


def _arrays(captures: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    shape = (captures, len(CAMERAS), HEIGHT, WIDTH)
    return {
        "rgb": rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
        "mask": rng.integers(0, 2, shape, dtype=np.uint8) * np.uint8(255),
        "depth": rng.integers(0, 20000, shape, dtype=np.uint16),
        "normal": rng.integers(-32767, 32768, (*shape, 3), dtype=np.int16),
        "vertices": rng.normal(size=(captures, 6, 3)).astype(np.float32),
        "faces": rng.integers(0, 6, (captures, 5, 3), dtype=np.int32),
        "uv": rng.random((captures, 7, 2), dtype=np.float32),
        "uv_faces": rng.integers(0, 7, (captures, 5, 3), dtype=np.int32),
        "texture": rng.integers(0, 256, (captures, 9, 6, 3), dtype=np.uint8),
    }


def _camera(number: int, camera_id: str) -> Camera:
    return Camera(
        camera_id=camera_id, calibration_id=CALIBRATION, width=WIDTH, height=HEIGHT, fx=20.0 + number, fy=21.0,
        cx=6.25, cy=5.5, rotation=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        translation=(0.1 * number, 0.0, 0.7), distortion=Distortion(k1=0.01), turn_deg=90 if number == 2 else 0,
    )  # fmt: skip


def _person(subject_id: str) -> tuple[str, str, str, str]:
    return PEOPLE[int(subject_id) % len(PEOPLE)]


def _index(subject_id: str, seed: int, consent: str, rig_serial: str) -> CaptureIndex:
    sex, age, height, tone = _person(subject_id)
    captures = tuple(_capture(subject_id, frame, seed) for frame in (1, 2))
    return CaptureIndex.model_validate(
        CaptureIndex(
            subject=Subject(
                subject_id=subject_id, sex=sex, age_band=age, height_band=height, skin_tone=tone,
                consent=consent, consent_date=date(2025, 2, 1),
            ),
            session=Session(
                calibration_id=CALIBRATION, captured_at=datetime(2025, 3, 1, tzinfo=UTC), rig_serial=rig_serial
            ),
            gestures=tuple(
                Gesture(gesture=name, description=f"a {name}", simple=name == "flat")
                for name in sorted({capture.gesture for capture in captures})
            ),
            captures=captures,
            quarantined=(),
        ).model_dump()
    )  # fmt: skip


def _capture(subject_id: str, frame: int, seed: int) -> CaptureRecord:
    digest = f"{seed:032x}{int(subject_id):016x}{frame:016x}"
    images = tuple(
        ImageRecord(
            subject_id=subject_id, frame=frame, camera_id=name, raw_width=WIDTH, raw_height=HEIGHT,
            raw=RawFile(path=f"{subject_id}/{frame}/{name}.png", bytes=10, sha256=digest),
        )
        for name in CAMERAS if (frame, name) != (2, "MCU_02")
    )  # fmt: skip
    return CaptureRecord(
        subject_id=subject_id, frame=frame, gesture=GESTURES[(int(subject_id) + frame) % len(GESTURES)],
        raw_frame=10 * frame, calibration_id=CALIBRATION, images=images,
        scan=ScanRecord(
            mesh=RawFile(path=f"{subject_id}/{frame}/scan.obj", bytes=10, sha256=digest),
            metres_per_unit=1.0, vertices=6, faces=5,
        ),
    )  # fmt: skip
