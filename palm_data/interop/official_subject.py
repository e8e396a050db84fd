"""One subject of an official release as a subject of ours: the `official_import` stage.

    shard.zarr/{rgb,mask,normal,hand_mask,training_mask}/full   as in a release; no depth, which is not published
    shard.zarr/scan/*                                           if every capture has a scan
    tables/{captures,images,cameras,hands}.parquet              the subject's rows of the released tables
    met.json                                                    what was set aside or noted

A picture that is missing, damaged or of another size costs that picture; one of colour is then "not present".
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import zarr
from numpy import ndarray

from palm_data.capture.image_headers import read_header
from palm_data.capture.images import decode_image, max_image_bytes
from palm_data.interop.official_encoding import decode_normals
from palm_data.interop.official_numbers_in import Poses, read_cameras, read_poses
from palm_data.interop.official_scans import ScanFile, write_meshes
from palm_data.interop.official_sidecar import Sidecar, updated
from palm_data.interop.official_source import SubjectSource
from palm_data.maps.training_mask import fused_mask, mask_sides
from palm_data.store.arrays import create_group, create_image_array, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.files import Files
from palm_data.store.shard import SHARD
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.camera import Camera
from schemas.errors import BadInputError
from schemas.hand import HandRow
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings

STAGE = "official_import"
CODE_VERSION = "1"
MET_FILE = "met.json"
GESTURE = "unknown"
_ENCODINGS: Mapping[str, tuple[type, int]] = {
    "rgb": (np.uint8, 5), "mask": (np.uint8, 4), "normal": (np.int16, 5), "hand_mask": (np.uint8, 4), "training_mask": (np.uint8, 4),
}  # fmt: skip
_KINDS = {"images": "rgb", "masks": "mask", "mano": "hand_mask", "normals": "normal"}
_FILE = re.compile(r"(images|masks|mano|normals)/([^/]+)/([0-9]{1,9})\.(png|jpg|jpeg|bmp|tif|tiff)", re.IGNORECASE)
_STEPS = 32767
_MAX_PIXELS = 40_000_000


@dataclass
class _Work:
    """A subject being read."""

    source: SubjectSource
    files: Files
    cameras: tuple[Camera, ...]
    poses: Poses
    pictures: dict[tuple[str, str, int], str]
    """Kind, camera, file number → path."""
    met: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        """The file numbers of the captures, ascending."""
        names = {camera.camera_id for camera in self.cameras}
        return sorted({number for kind, name, number in self.pictures if kind == "images" and name in names})


def import_subject(source: SubjectSource, sidecar: Sidecar, workspace: Workspace, settings: Settings) -> StageReport:
    """Read a subject into the workspace, unless that is done already.

    Raises:
        BadInputError: if the cameras or poses are not usable, or there is no image.
        StoreError: if the disk would not give or take it.
    """
    frames = sidecar.record.subjects.get(source.subject_id, ()) if sidecar.record is not None else ()
    inputs = {"files": source.digest(), "export": sidecar.record.merkle_root if sidecar.record is not None else "none"}
    return workspace.run_stage(
        STAGE,
        source.subject_id,
        code_version=CODE_VERSION,
        settings={**recorded_settings(settings), "frames": " ".join(map(str, frames))},
        inputs=inputs,
        work=lambda folder: _build(folder, source, sidecar, settings),
    )


def recorded_settings(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """The settings that shape an imported shard's bytes, by their dotted names."""
    sides = settings.maps.training_mask.model_dump(mode="json")
    return {
        "shard.tile_px": settings.shard.tile_px,
        **{f"maps.training_mask.{name}": one for name, one in sides.items()},
    }


def _build(folder: Path, source: SubjectSource, sidecar: Sidecar, settings: Settings) -> None:
    work = _opened(source)
    numbers, subject_id = work.numbers, source.subject_id
    frames = [sidecar.frame(subject_id, number) for number in numbers]
    hands = [work.poses.hand(number, subject_id, frame) for number, frame in zip(numbers, frames, strict=True)]
    for number, hand in zip(numbers, hands, strict=True):
        if hand is None:
            work.met.append(f"poses.npy: no usable row for file {number:06d}: that capture has no hand")
    group = create_group(folder / SHARD, _attributes(work, frames))
    images = _write_pictures(group, work, frames, [hand is not None for hand in hands], settings)
    scans = write_meshes(group, source, work.cameras, numbers, folder, settings, work.met)
    tables = folder / "tables"
    write_rows(tables / "captures.parquet", CaptureRow, _captures(work, frames, scans, sidecar))
    write_rows(tables / "images.parquet", ImageRow, [_merged_image(row, sidecar) for row in images])
    write_rows(tables / "cameras.parquet", CameraRow, [_camera_row(subject_id, one, sidecar) for one in work.cameras])
    write_rows(tables / "hands.parquet", HandRow, [_merged_hand(hand, sidecar) for hand in hands if hand is not None])
    write_bytes(folder / MET_FILE, (json.dumps(work.met, indent=1) + "\n").encode())


def _opened(source: SubjectSource) -> _Work:
    files, met = source.files(), list[str]()
    pictures: dict[tuple[str, str, int], str] = {}
    known = {"cameras.npy", "poses.npy"}
    for path in sorted(files.paths()):
        match = _FILE.fullmatch(path)
        if match is None:
            if path not in known:
                met.append(f"{path}: not known, not read")
            continue
        kind, camera_id, number = match[1].lower(), match[2], int(match[3])
        if pictures.setdefault((kind, camera_id, number), path) != path or number < 1:
            met.append(f"{path}: not read: {'another file of this number' if number else 'files count from 1'}")
    pictures = {key: path for key, path in pictures.items() if key[2] >= 1}
    work = _Work(
        source, files, read_cameras(files, f"official_{source.subject_id}", met), read_poses(files, met), pictures, met
    )
    if not work.numbers:
        raise BadInputError(source.place, field="images", expected="images/MCU_01/000001.png or others", found="none")
    return work


def _attributes(work: _Work, frames: list[int]) -> dict[str, object]:
    return {
        "subject_id": work.source.subject_id,
        "frames": frames,
        "camera_ids": [camera.camera_id for camera in work.cameras],
        "origin": "imported from an official release",
        "arrays": "rgb, mask, normal, hand_mask, training_mask: (capture as in frames, view as in camera_ids, y down, x right[, channel])",
        "world": "rig frame, metres",
        "camera_axes": "x right, y down, z forward; pixel coordinates are integers at pixel corners",
    }


def _write_pictures(
    group: zarr.Group, work: _Work, frames: list[int], fitted: list[bool], settings: Settings
) -> list[ImageRow]:
    """Write every capture's pictures, one capture in memory at a time; the rows of its images."""
    width, height = work.cameras[0].width, work.cameras[0].height
    shape = (len(frames), len(work.cameras), height, width, 3)
    arrays = {
        name: create_image_array(group, f"{name}/full", shape[:axes], dtype, tile_px=settings.shard.tile_px)
        for name, (dtype, axes) in _ENCODINGS.items()
    }
    sides = mask_sides(settings.maps.training_mask, width, height)
    rows = []
    for row, (number, frame) in enumerate(zip(work.numbers, frames, strict=True)):
        pixels = {name: np.zeros(shape[1:axes], dtype) for name, (dtype, axes) in _ENCODINGS.items()}
        for view, camera in enumerate(work.cameras):
            found = dict(_pictures(work, camera, number))
            for name, (image, _) in found.items():
                pixels[name][view] = image
            if not fitted[row]:
                pixels["hand_mask"][view] = 0
            else:
                fused = fused_mask(pixels["mask"][view] > 0, pixels["hand_mask"][view] > 0, sides)
                pixels["training_mask"][view] = fused * np.uint8(255)
            rows.append(_image_row(work, camera, view, frame, found, pixels))
        for name, array in arrays.items():
            write_frame(array, row, pixels[name])
    return rows


def _pictures(work: _Work, camera: Camera, number: int) -> Iterator[tuple[str, tuple[ndarray, tuple[str, str]]]]:
    """The usable pictures of a view, as stored, each with its path and digest."""
    for kind, name in _KINDS.items():
        path = work.pictures.get((kind, camera.camera_id, number))
        if path is None:
            work.met.append(f"{kind}/{camera.camera_id}/{number:06d}: missing")
            continue
        try:
            content = _read(work.files, path)
            image = _decoded(kind, content, Path(path))
            if image.shape[:2] != (camera.height, camera.width):
                expected = f"{camera.width}×{camera.height}, as cameras.npy says"
                raise BadInputError(path, field="size", expected=expected, found=f"{image.shape[1]}×{image.shape[0]}")
        except BadInputError as error:
            work.met.append(f"{path}: {error.field}: expected {error.expected}, found {error.found}; set aside")
            continue
        yield name, (image, (path, hashlib.sha256(content).hexdigest()))


def _read(files: Files, path: str) -> bytes:
    size = files.size(path)
    if size is None or not 0 < size <= max_image_bytes(_MAX_PIXELS):
        raise BadInputError(path, field="file", expected="a plain file of an image's size", found=f"{size} bytes")
    return files.read(path)


def _decoded(kind: str, content: bytes, path: Path) -> ndarray:
    if kind in ("masks", "mano"):
        return _silhouette(content, path)
    image = decode_image(content, path, max_pixels=_MAX_PIXELS)
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    return colour if kind == "images" else _unit_normals(colour)


def _silhouette(content: bytes, path: Path) -> ndarray:
    """255 where the picture is 255, in its alpha if it has one, and 0 elsewhere."""
    header = read_header(content, path)
    if header.width * header.height > _MAX_PIXELS:
        raise BadInputError(
            path, field="size", expected=f"at most {_MAX_PIXELS} pixels", found=f"{header.width}×{header.height}"
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        image = None
    if image is None or image.dtype != np.uint8:
        raise BadInputError(path, field="pixels", expected="a whole 8-bit image", found="none")
    plane = image if image.ndim == 2 else image[..., 3] if image.shape[2] == 4 else image[..., 0]
    return (plane == 255) * np.uint8(255)


def _unit_normals(stored: ndarray) -> ndarray:
    """int16 of unit length in our axes; 0 where there is none."""
    normals = decode_normals(stored)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.rint(normals / np.where(length > 0, length, 1.0) * _STEPS).astype(np.int16)


def _image_row(
    work: _Work, camera: Camera, view: int, frame: int, found: dict[str, tuple[ndarray, tuple[str, str]]], pixels: dict[str, ndarray]
) -> ImageRow:  # fmt: skip
    origin = found["rgb"][1] if "rgb" in found else None
    return ImageRow(
        subject_id=work.source.subject_id, frame=frame, camera_id=camera.camera_id, view_index=view,
        present=origin is not None, raw_file=None if origin is None else f"{work.source.subject_id}/{origin[0]}",
        raw_sha256=None if origin is None else origin[1], turn_deg=camera.turn_deg,
        mask_px=int((pixels["mask"][view] > 0).sum()), silhouette_iou=None,
    )  # fmt: skip


def _merged_image(row: ImageRow, sidecar: Sidecar) -> ImageRow:
    known = sidecar.rows("images", ImageRow, row.subject_id, frame=row.frame, camera_id=row.camera_id)
    values = {"turn_deg": known[0].turn_deg, "silhouette_iou": known[0].silhouette_iou} if known else {}
    return updated(row, values)


def _merged_hand(hand: HandRow, sidecar: Sidecar) -> HandRow:
    """The numbers of the file, with the figures of fit that only the sidecar has."""
    known = sidecar.rows("hands", HandRow, hand.subject_id, frame=hand.frame)
    numbers = {name: getattr(hand, name) for name in ("global_orient", "hand_pose", "betas", "transl")}
    return updated(known[0], numbers) if known else hand


def _camera_row(subject_id: str, camera: Camera, sidecar: Sidecar) -> CameraRow:
    k, pose = tuple(camera.intrinsics().ravel().tolist()), tuple(camera.world_to_camera().ravel().tolist())
    known = sidecar.rows("cameras", CameraRow, subject_id, camera_id=camera.camera_id)
    size = {"width": camera.width, "height": camera.height}
    if known and (known[0].width, known[0].height) == (camera.width, camera.height):
        return updated(known[0], {"intrinsics": k, "world_to_camera": pose})
    return CameraRow(
        subject_id=subject_id, camera_id=camera.camera_id, calibration_id=camera.calibration_id, **size, intrinsics=k,
        world_to_camera=pose, raw_intrinsics=k, raw_distortion=(0.0,) * 5, turn_deg=camera.turn_deg,
    )  # fmt: skip


def _captures(
    work: _Work, frames: list[int], scans: Mapping[int, ScanFile], sidecar: Sidecar
) -> list[CaptureRow]:  # fmt: skip
    rows = []
    for position, (number, frame) in enumerate(zip(work.numbers, frames, strict=True)):
        known = sidecar.rows("captures", CaptureRow, work.source.subject_id, frame=frame)
        scan = scans.get(number)
        found = {
            "array_index": position,
            "scan_file": None if scan is None else f"meshes/{work.source.subject_id}/{PurePosixPath(scan.path)}",
            "scan_sha256": None if scan is None else scan.sha256,
            "scan_vertices": 0 if scan is None else scan.vertices,
            "scan_faces": 0 if scan is None else scan.faces,
        }
        plain = CaptureRow(
            subject_id=work.source.subject_id, frame=frame, gesture=GESTURE, raw_frame=number,
            calibration_id=work.cameras[0].calibration_id, silhouette_iou_mean=None, **found,
        )  # fmt: skip
        rows.append(updated(known[0], found) if known else plain)
    return rows
