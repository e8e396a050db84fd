"""A small raw session with known answers: the layout a rig delivers, drawn without a renderer.

Seven pods of two mono and one colour camera stand around a lobed surface; images are its painted, shaded faces
through the exact Tsai model. The last pod stands portrait, every second capture's scan is a PLY, and one subject's
scans are in millimetres. Coherent enough for validation, calibration checks, maps, shards and releases.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.camera.tsai import project_tsai
from palm_data.capture.tka import format_tka
from palm_data.testing.scan_files import write_obj_scan, write_ply_scan
from palm_data.testing.shapes import Surface, lobed_surface
from schemas.camera import Matrix3, Row3, TsaiCamera
from schemas.ids import CameraId, SubjectId, raw_from_camera_id

CALIBRATION_ID = "rig_a"
GESTURES = ("flat", "fist", "half_open", "pinch", "spread", "wave")
_SPREADS = (1.0, 0.1, 0.5, 0.3, 0.8, 0.65)
_SENSOR_WIDTH_MM = 2448 * 0.00345
_DISTANCE_MM = 700.0
_SAMPLES = 4  # painted larger, then averaged: painting covers whole pixels
_BACKGROUND = 14
_PEOPLE = (
    ("female", "21-30", "145-170", "light"),
    ("male", "31-40", "171-180", "dark"),
    ("female", "41-50", "171-180", "tan"),
    ("male", "51-60", "181-190", "medium"),
)
_SKIN = ((224, 172, 138), (120, 78, 56), (186, 128, 92), (204, 150, 112))


@dataclass(frozen=True)
class RawSession:
    """What was written, and what is true of it."""

    raw: Path
    calibration_id: str
    subject_ids: tuple[SubjectId, ...]
    gestures: tuple[str, ...]
    cameras: dict[str, TsaiCamera]
    """By raw name, NN_X."""
    surfaces: dict[tuple[SubjectId, str], Surface]
    """By subject and gesture, metres."""
    raw_frames: dict[tuple[SubjectId, str], int]
    metres_per_unit: dict[SubjectId, float]
    mono: bool

    def capture_folder(self, subject_id: SubjectId, gesture: str) -> Path:
        """The folder of a capture's files."""
        return self.raw / subject_id / gesture

    def image_path(self, subject_id: SubjectId, gesture: str, camera_id: CameraId) -> Path:
        """The image of a camera (ours: MCU_01, MCU_01_A) in a capture."""
        frame = self.raw_frames[subject_id, gesture]
        name = f"{gesture}.{frame:06d}.{raw_from_camera_id(camera_id)}.png"
        return self.capture_folder(subject_id, gesture) / name

    def scan_path(self, subject_id: SubjectId, gesture: str) -> Path:
        """The scan mesh of a capture."""
        stem = f"{gesture}.{self.raw_frames[subject_id, gesture]:06d}"
        folder = self.capture_folder(subject_id, gesture)
        return next(path for path in (folder / f"{stem}.obj", folder / f"{stem}.ply") if path.exists())


def write_raw_session(
    folder: Path,
    *,
    subjects: int = 1,
    gestures: int = 2,
    image_size: tuple[int, int] = (96, 80),
    pods: int = 7,
    mono: bool = True,
    portrait_pod: int | None = 7,
    millimetre_subject: int | None = 2,
    withdrawn: Collection[SubjectId] = (),
) -> RawSession:
    """Write a raw session of `subjects` people into an empty folder; the same arguments give the same bytes.

    Args:
        image_size: width and height of a landscape image, px; the optics stay the same.
        pods: 2 to 7; each has a colour camera, and two mono ones if `mono`.
        portrait_pod: the pod (from 1) that stands on its side, or None.
        millimetre_subject: the subject (from 1) whose scans are in millimetres, or None; the others' are in metres.
        withdrawn: subjects whose consent is withdrawn.
    """
    cameras = _rig(image_size, pods=pods, mono=mono, portrait_pod=portrait_pod)
    calibration = folder / "calibrations" / CALIBRATION_ID
    calibration.mkdir(parents=True)
    for name, camera in cameras.items():
        (calibration / f"{name}.tka").write_bytes(format_tka(camera).encode("ascii"))
    ids = tuple(f"{number:04d}" for number in range(1, subjects + 1))
    names = GESTURES[:gestures]
    _write_tables(folder, ids, names, withdrawn)
    surfaces: dict[tuple[SubjectId, str], Surface] = {}
    raw_frames: dict[tuple[SubjectId, str], int] = {}
    metres_per_unit: dict[SubjectId, float] = {}
    for number, subject_id in enumerate(ids, 1):
        metres_per_unit[subject_id] = 0.001 if number == millimetre_subject else 1.0
        session = {
            "calibration_id": CALIBRATION_ID,
            "captured_at": f"2025-03-{number:02d}T10:00:00+00:00",
            "rig_serial": "TEST-1",
        }
        (folder / subject_id).mkdir()
        (folder / subject_id / "session.json").write_text(json.dumps(session), encoding="utf-8")
        for order, gesture in enumerate(names):
            surface = lobed_surface(
                spread=_SPREADS[order], turn_rad=0.2 * number + 0.5 * order, scale=1.0 + 0.02 * (number % 5)
            )
            surfaces[subject_id, gesture], raw_frames[subject_id, gesture] = surface, 10 * (order + 1) + number
            _write_capture(
                folder / subject_id / gesture,
                f"{gesture}.{raw_frames[subject_id, gesture]:06d}",
                surface,
                cameras,
                skin=_SKIN[(number - 1) % len(_SKIN)],
                ply=order % 2 == 1,
                units_per_metre=1.0 / metres_per_unit[subject_id],
            )
    return RawSession(
        raw=folder,
        calibration_id=CALIBRATION_ID,
        subject_ids=ids,
        gestures=names,
        cameras=cameras,
        surfaces=surfaces,
        raw_frames=raw_frames,
        metres_per_unit=metres_per_unit,
        mono=mono,
    )


def rig_camera(raw_name: str, image_size: tuple[int, int] = (96, 80)) -> TsaiCamera:
    """A camera of such a rig by its raw name, NN_X."""
    return _rig(image_size, pods=7, mono=True, portrait_pod=None)[raw_name]


def _rig(image_size: tuple[int, int], *, pods: int, mono: bool, portrait_pod: int | None) -> dict[str, TsaiCamera]:
    cameras: dict[str, TsaiCamera] = {}
    for pod in range(1, pods + 1):
        azimuth = 2.0 * np.pi * (pod - 1) / pods + 0.3
        elevation = (-0.35, 0.45, 0.1)[pod % 3]
        direction = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)]
        )
        side = np.cross([0.0, 1.0, 0.0], direction)
        for letter, shift_mm in (("A", -45.0), ("B", 45.0), ("C", 0.0)):
            if letter == "C" or mono:
                name = f"{pod:02d}_{letter}"
                centre = _DISTANCE_MM * direction + shift_mm * side / np.linalg.norm(side)
                cameras[name] = _camera(name, centre, image_size, portrait=pod == portrait_pod)
    return cameras


def _camera(
    raw_name: str, centre_mm: Float[ndarray, "3"], image_size: tuple[int, int], *, portrait: bool
) -> TsaiCamera:
    """A camera that looks at the origin, world +y up in its image (or to the image's left, on its side)."""
    forward = -centre_mm / np.linalg.norm(centre_mm)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    rotation = np.stack([down, -right, forward]) if portrait else np.stack([right, down, forward])
    width, height = image_size[::-1] if portrait else image_size
    pitch = _SENSOR_WIDTH_MM / image_size[0]
    rows: list[Row3] = [(float(x), float(y), float(z)) for x, y, z in rotation]
    matrix: Matrix3 = (rows[0], rows[1], rows[2])
    x, y, z = (float(value) for value in centre_mm)
    return TsaiCamera(
        raw_name=raw_name,
        rotation=matrix,
        centre_mm=(x, y, z),
        focal_mm=25.0,
        radial_k=5e-4,
        radial_k2=-3e-6,
        pixel_size_mm=(pitch, pitch),
        principal_point_px=(width / 2 + 1.3, height / 2 - 0.7),
        image_size_px=(width, height),
    )


def _write_tables(
    folder: Path, ids: tuple[str, ...], gestures: tuple[str, ...], withdrawn: Collection[SubjectId]
) -> None:
    header = "subject_id,sex,age_band,height_band,skin_tone,consent,consent_date"
    rows = [
        ",".join([name, *_PEOPLE[n % len(_PEOPLE)], "withdrawn" if name in withdrawn else "granted", "2025-02-01"])
        for n, name in enumerate(ids)
    ]
    (folder / "subjects.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    rows = [f"{name},The hand as in {name.replace('_', ' ')},{str(n == 0).lower()}" for n, name in enumerate(gestures)]
    (folder / "gestures.csv").write_text("\n".join(["gesture,description,simple", *rows]) + "\n", encoding="utf-8")


def _write_capture(
    folder: Path,
    stem: str,
    surface: Surface,
    cameras: dict[str, TsaiCamera],
    *,
    skin: tuple[int, int, int],
    ply: bool,
    units_per_metre: float,
) -> None:
    folder.mkdir()
    for name, camera in cameras.items():
        image = paint(surface, camera, skin)
        if not name.endswith("C"):
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        else:
            image = np.ascontiguousarray(image[..., ::-1])
        _, encoded = cv2.imencode(".png", image)
        (folder / f"{stem}.{name}.png").write_bytes(encoded.tobytes())
    stripes = np.indices((32, 32)).sum(axis=0)[..., None] // 4 % 2
    texture = (np.array(skin) - 24 * stripes).astype(np.uint8)
    write = write_ply_scan if ply else write_obj_scan
    write(folder / f"{stem}.{'ply' if ply else 'obj'}", surface, texture, units_per_metre=units_per_metre)


def paint(surface: Surface, camera: TsaiCamera, skin: tuple[int, int, int]) -> UInt8[ndarray, "h w 3"]:
    """The surface's faces painted far to near, lit from the camera, through the exact Tsai model; no noise."""
    width, height = camera.image_size_px
    pixels = project_tsai(camera, surface.vertices) * _SAMPLES - 0.5  # the painter puts integers at centres
    corners = surface.vertices[surface.faces]
    centre = np.asarray(camera.centre_mm) / 1000.0
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    towards = centre - corners.mean(axis=1)
    distance = np.linalg.norm(towards, axis=1)
    facing = np.einsum("fi,fi->f", normals, towards) / (np.linalg.norm(normals, axis=1) * distance + 1e-12)
    canvas = np.full((height * _SAMPLES, width * _SAMPLES, 3), _BACKGROUND, dtype=np.uint8)
    for face in np.argsort(-distance, kind="stable"):
        polygon = np.rint(pixels[surface.faces[face]] * 16).astype(np.int32)
        if facing[face] > 0 and np.isfinite(pixels[surface.faces[face]]).all():
            shade = 0.35 + 0.65 * float(facing[face])
            cv2.fillConvexPoly(canvas, polygon, [shade * value for value in skin], lineType=cv2.LINE_8, shift=4)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
