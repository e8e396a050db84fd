"""One capture of InterHand2.6M as a subject of ours: the `interhand_import` stage.

    shard.zarr/rgb/full                                                images; those of left hands in a mirror
    tables/{captures,images,cameras,hands,keypoints_3d}.parquet        the subject's rows of the released tables
    met.json                                                           what was set aside or noted

An image that is missing, damaged or of another size costs that image. The dataset holds no masks, depth or scans.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.images import decode_image, max_image_bytes
from palm_data.capture.raw_files import read_bounded
from palm_data.interop.interhand_source import Frame, Picture, Source, camera_name
from palm_data.store.arrays import create_group, create_tier_array, write_frame
from palm_data.store.atomic import write_bytes
from palm_data.store.shard import SHARD
from palm_data.store.tables import write_rows
from palm_data.store.workspace import StageReport, Workspace
from schemas.annotation import Keypoint3DRow
from schemas.camera import Camera
from schemas.errors import BadInputError
from schemas.hand import JOINT_NAMES, HandRow
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings
from schemas.tier import FULL

STAGE = "interhand_import"
CODE_VERSION = "1"
MET_FILE = "met.json"
_MAX_PIXELS = 40_000_000
_FIGURES = [name for name in HandRow.model_fields if name.endswith(("_mean", "_median", "_p95", "_min"))]
_COVARIANCE = ("cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz")


@dataclass
class _Work:
    source: Source
    root: Path
    met: list[str] = field(default_factory=list)


def import_subject(source: Source, root: Path, workspace: Workspace, settings: Settings) -> StageReport:
    """Read a subject into the workspace, unless that is done already.

    Args:
        root: the dataset's folder; paths in tables are relative to it.

    Raises:
        BadInputError: if none of its images can be read.
        StoreError: if the disk would not give or take it.
    """
    return workspace.run_stage(
        STAGE,
        source.subject_id,
        code_version=CODE_VERSION,
        settings=recorded_settings(settings),
        inputs={"source": _digest(source)},
        work=lambda folder: _build(folder, _Work(source, root), settings),
    )


def recorded_settings(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """The settings that shape an imported shard's bytes, by their dotted names."""
    return {"shard.tile_px": settings.shard.tile_px}


def gesture(sequence: str) -> str:
    """A sequence's name as a slug: `ROM03_RT_No_Occlusion` becomes `rom03_rt_no_occlusion`."""
    return re.sub(r"[^a-z0-9]+", "_", sequence.lower()).strip("_")[:64].rstrip("_") or "unknown"


def _digest(source: Source) -> str:
    """SHA-256 over everything but the images' content: their files are told by size and time."""
    digest = hashlib.sha256(repr((source.subject_id, source.mirrored, source.cameras)).encode())
    for frame in source.frames:
        digest.update(repr((frame.sequence, frame.frame_idx)).encode() + frame.joints.tobytes())
        for part in () if frame.hand is None else vars(frame.hand).values():
            digest.update(part.tobytes())
        for name, picture in sorted(frame.pictures.items()):
            stat = picture.path.stat() if picture.path.is_file() else None
            digest.update(repr((name, picture, stat and (stat.st_size, stat.st_mtime_ns))).encode())
    return digest.hexdigest()


def _build(folder: Path, work: _Work, settings: Settings) -> None:
    source = work.source
    group = create_group(
        folder / SHARD,
        {
            "subject_id": source.subject_id,
            "frames": list(range(1, len(source.frames) + 1)),
            "camera_ids": [camera.camera_id for camera in source.cameras],
            "origin": "imported from InterHand2.6M" + (", in a mirror" if source.mirrored else ""),
            "arrays": "rgb: (capture as in frames, view as in camera_ids, y down, x right, channel)",
            "world": "the dataset's, metres" + (", x mirrored" if source.mirrored else ""),
            "camera_axes": "x right, y down, z forward; pixel coordinates are integers at pixel corners",
        },
    )
    size = (source.cameras[0].height, source.cameras[0].width, 3)
    shape = (len(source.frames), len(source.cameras), *size)
    array = create_tier_array(group, "rgb", FULL, shape[:4], tile_px=settings.shard.tile_px)
    images: list[ImageRow] = []
    for row in range(shape[0]):
        pixels = np.zeros(shape[1:], np.uint8)
        images += [_view(work, row, view, pixels[view]) for view in range(shape[1])]
        write_frame(array, row, pixels)
    if not any(row.present for row in images):
        raise BadInputError(work.root, field=source.subject_id, expected="a readable image", found="none")
    _write_tables(folder / "tables", source, images)
    write_bytes(folder / MET_FILE, (json.dumps(work.met, indent=1) + "\n").encode())


def _view(work: _Work, row: int, view: int, pixels: UInt8[ndarray, "h w 3"]) -> ImageRow:
    """Put a view's image into its place, if there is one; its row."""
    camera, raw = work.source.cameras[view], None
    picture = work.source.frames[row].pictures.get(camera_name(camera))
    if picture is not None:
        try:
            image, raw = _read(picture, work.root)
            pixels[: picture.height, : picture.width] = image[:, ::-1] if work.source.mirrored else image
        except BadInputError as error:
            work.met.append(f"{error}; set aside")
    return ImageRow(
        subject_id=work.source.subject_id, frame=row + 1, camera_id=camera.camera_id, view_index=view,
        present=raw is not None, raw_file=raw and raw[0], raw_sha256=raw and raw[1], turn_deg=0, mask_px=0, silhouette_iou=None,
    )  # fmt: skip


def _read(picture: Picture, root: Path) -> tuple[UInt8[ndarray, "h w 3"], tuple[str, str]]:
    """The pixels, RGB, and the file's path and digest."""
    content = read_bounded(picture.path, max_bytes=max_image_bytes(_MAX_PIXELS))
    image = decode_image(content, picture.path, max_pixels=_MAX_PIXELS)
    if image.ndim == 2:  # the dataset's grey cameras
        image = np.repeat(image[..., None], 3, axis=2)
    if image.shape[:2] != (picture.height, picture.width):
        expected, found = f"{picture.width}×{picture.height}", f"{image.shape[1]}×{image.shape[0]}"
        raise BadInputError(picture.path, field="size", expected=expected, found=found)
    return image, (picture.path.relative_to(root).as_posix(), hashlib.sha256(content).hexdigest())


def _write_tables(folder: Path, source: Source, images: Sequence[ImageRow]) -> None:
    subject_id, calibration_id = source.subject_id, source.cameras[0].calibration_id
    captures = [
        CaptureRow(
            subject_id=subject_id, frame=row + 1, array_index=row, gesture=gesture(frame.sequence),
            raw_frame=frame.frame_idx, calibration_id=calibration_id, scan_file=None, scan_sha256=None, scan_vertices=0,
            scan_faces=0, silhouette_iou_mean=None,
        )
        for row, frame in enumerate(source.frames)
    ]  # fmt: skip
    hands = [
        HandRow(
            subject_id=subject_id, frame=row + 1, border_share=0.0, **dict.fromkeys(_FIGURES),
            **{name: tuple(value[0].tolist()) for name, value in vars(frame.hand).items()},
        )
        for row, frame in enumerate(source.frames) if frame.hand is not None
    ]  # fmt: skip
    joints = [row for at, frame in enumerate(source.frames, start=1) for row in _joints(source, frame, at)]
    write_rows(folder / "captures.parquet", CaptureRow, captures)
    write_rows(folder / "images.parquet", ImageRow, images)
    write_rows(folder / "cameras.parquet", CameraRow, [_camera_row(subject_id, one) for one in source.cameras])
    write_rows(folder / "hands.parquet", HandRow, hands)
    write_rows(folder / "keypoints_3d.parquet", Keypoint3DRow, joints)


def _camera_row(subject_id: str, camera: Camera) -> CameraRow:
    k, pose = tuple(camera.intrinsics().ravel().tolist()), tuple(camera.world_to_camera().ravel().tolist())
    return CameraRow(
        subject_id=subject_id, camera_id=camera.camera_id, calibration_id=camera.calibration_id, width=camera.width,
        height=camera.height, intrinsics=k, world_to_camera=pose, raw_intrinsics=k, raw_distortion=(0.0,) * 5, turn_deg=0,
    )  # fmt: skip


def _joints(source: Source, frame: Frame, number: int) -> list[Keypoint3DRow]:
    """The dataset's joints; how sure they are is not known, so their covariance is missing."""
    centres = np.array([one.centre() for one in source.cameras if camera_name(one) in frame.pictures])
    rows = []
    for joint in range(len(JOINT_NAMES)):
        point = frame.joints[joint]
        there = bool(np.isfinite(point).all())
        rows.append(
            Keypoint3DRow(
                subject_id=source.subject_id, frame=number, joint=joint, reprojection_px=None,
                views=len(centres) if there else 0, ray_angle_deg=_widest_deg(centres - point) if there else 0.0,
                **dict(zip("xyz", point.tolist() if there else (None,) * 3, strict=True)), **dict.fromkeys(_COVARIANCE),
            )
        )  # fmt: skip
    return rows


def _widest_deg(rays: ndarray) -> float:
    """Largest angle between two rays, degrees."""
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    cosines = [float(one @ other) for one, other in itertools.combinations(units, 2)]
    return float(np.degrees(np.arccos(np.clip(min(cosines, default=1.0), -1.0, 1.0))))
