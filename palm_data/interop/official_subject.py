"""One subject of an official release as a subject of ours: the `official_import` stage.

    shard.zarr/{rgb,mask,normal,hand_mask,training_mask}/full   as in a release; no depth, which is not published
    shard.zarr/scan/*                                           if every capture has a scan
    tables/{captures,images,cameras,hands}.parquet              the subject's rows of the released tables
    met.json                                                    what was set aside or noted

A picture that is missing, damaged or of another size costs that picture; one of colour is then "not present".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from palm_data.interop.official_numbers_in import Poses, read_cameras, read_poses
from palm_data.interop.official_pictures_in import Pictures, find_pictures
from palm_data.interop.official_rows import Numbered, camera_row, capture_rows, hand_row, image_row
from palm_data.interop.official_scans import Meshes
from palm_data.interop.official_sidecar import Sidecar
from palm_data.interop.official_source import SubjectSource
from palm_data.maps.training_mask import fused_mask, mask_sides
from palm_data.store.arrays import create_group, create_tier_array, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.shard import SHARD
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.errors import BadInputError
from schemas.hand import HandRow
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings
from schemas.tier import FULL

STAGE = "official_import"
CODE_VERSION = "2"
MET_FILE = "met.json"
_ENCODINGS: dict[str, tuple[type[np.generic], int]] = {
    "rgb": (np.uint8, 5),
    "mask": (np.uint8, 4),
    "normal": (np.int16, 5),
    "hand_mask": (np.uint8, 4),
    "training_mask": (np.uint8, 4),
}
"""Name → stored type and number of axes."""


@dataclass(frozen=True)
class _Subject:
    """A subject that was opened."""

    source: SubjectSource
    sidecar: Sidecar
    pictures: Pictures
    cameras: tuple[Camera, ...]
    poses: Poses
    captures: tuple[Numbered, ...]
    """Ascending."""
    hands: tuple[HandRow | None, ...]
    """Of each capture."""
    met: list[str]


def import_subject(source: SubjectSource, sidecar: Sidecar, workspace: Workspace, settings: Settings) -> StageReport:
    """Read a subject into the workspace, unless that is done already.

    Raises:
        BadInputError: if the cameras or poses are not usable, or there is no image.
        IntegrityError: if what lies beside an export of ours is damaged.
        StoreError: if the disk would not give or take it.
    """
    return workspace.run_stage(
        STAGE,
        source.subject_id,
        code_version=CODE_VERSION,
        settings=recorded_settings(settings),
        inputs={"files": source.digest(), "export": sidecar.digest},
        work=lambda folder: _build(folder, _opened(source, sidecar), settings),
    )


def recorded_settings(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """The settings that shape an imported shard's bytes, by their dotted names."""
    sides = settings.maps.training_mask.model_dump(mode="json")
    named = {f"maps.training_mask.{name}": side for name, side in sides.items()}
    return {"shard.tile_px": settings.shard.tile_px, **named}


def _opened(source: SubjectSource, sidecar: Sidecar) -> _Subject:
    met: list[str] = []
    files, subject_id = source.files(), source.subject_id
    pictures = find_pictures(files, met)
    cameras, poses = read_cameras(files, f"official_{subject_id}", met), read_poses(files, met)
    captures = tuple(Numbered(number, sidecar.frame(subject_id, number)) for number in pictures.numbers(cameras))
    if not captures:
        raise BadInputError(source.place, field="images", expected="images/MCU_01/000001.png or others", found="none")
    hands = tuple(poses.hand(number, subject_id, frame) for number, frame in captures)
    for (number, _), hand in zip(captures, hands, strict=True):
        if hand is None:
            met.append(f"poses.npy: no usable row for file {number:06d}: that capture has no hand")
    return _Subject(source, sidecar, pictures, cameras, poses, captures, hands, met)


def _build(folder: Path, subject: _Subject, settings: Settings) -> None:
    subject_id, sidecar = subject.source.subject_id, subject.sidecar
    group = create_group(folder / SHARD, _attributes(subject))
    images = _write_pictures(group, subject, settings)
    numbers = [number for number, _ in subject.captures]
    scans = Meshes(subject.source, subject.cameras, numbers, settings, subject.met).write(group, folder)
    captures = capture_rows(subject_id, subject.captures, subject.cameras[0].calibration_id, scans, sidecar)
    hands = [hand_row(hand, sidecar) for hand in subject.hands if hand is not None]
    tables = folder / "tables"
    write_rows(tables / "captures.parquet", CaptureRow, captures)
    write_rows(tables / "images.parquet", ImageRow, images)
    write_rows(tables / "cameras.parquet", CameraRow, [camera_row(subject_id, one, sidecar) for one in subject.cameras])
    write_rows(tables / "hands.parquet", HandRow, hands)
    write_bytes(folder / MET_FILE, (json.dumps(subject.met, indent=1) + "\n").encode())


def _attributes(subject: _Subject) -> dict[str, object]:
    return {
        "subject_id": subject.source.subject_id,
        "frames": [frame for _, frame in subject.captures],
        "camera_ids": [camera.camera_id for camera in subject.cameras],
        "origin": "imported from an official release",
        "arrays": f"{', '.join(_ENCODINGS)}: (capture as in frames, view as in camera_ids, y down, x right[, channel])",
        "world": "rig frame, metres",
        "camera_axes": "x right, y down, z forward; pixel coordinates are integers at pixel corners",
    }


def _write_pictures(group: zarr.Group, subject: _Subject, settings: Settings) -> list[ImageRow]:
    """Write every capture's pictures, one capture in memory at a time; the rows of its images."""
    camera, count = subject.cameras[0], len(subject.captures)
    shape = (count, len(subject.cameras), camera.height, camera.width, 3)
    arrays = {
        name: create_tier_array(group, name, FULL, shape[:4], tile_px=settings.shard.tile_px) for name in _ENCODINGS
    }
    rows: list[ImageRow] = []
    for row in range(count):
        pixels = {name: np.zeros(shape[1:axes], dtype) for name, (dtype, axes) in _ENCODINGS.items()}
        rows += _fill(pixels, subject, row)
        if subject.hands[row] is None:
            pixels["hand_mask"][:] = 0  # as in any release: nowhere without a hand
        else:
            pixels["training_mask"][:] = _fused(pixels, settings)
        for name, array in arrays.items():
            write_frame(array, row, pixels[name])
    return rows


def _fill(pixels: dict[str, np.ndarray], subject: _Subject, row: int) -> Sequence[ImageRow]:
    """Put a capture's usable pictures in their places; the rows of its images."""
    number, frame = subject.captures[row]
    rows = []
    for view, camera in enumerate(subject.cameras):
        found = subject.pictures.view(camera, number)
        for name, picture in found.items():
            pixels[name][view] = picture.pixels
        rows.append(image_row(subject.source.subject_id, frame, camera, view, found, sidecar=subject.sidecar))
    return rows


def _fused(pixels: dict[str, np.ndarray], settings: Settings) -> np.ndarray:
    """The training masks of a capture's views."""
    masks, hands = pixels["mask"] > 0, pixels["hand_mask"] > 0
    sides = mask_sides(settings.maps.training_mask, masks.shape[2], masks.shape[1])
    fused = [fused_mask(mask, hand, sides) for mask, hand in zip(masks, hands, strict=True)]
    return np.stack(fused) * np.uint8(255)
