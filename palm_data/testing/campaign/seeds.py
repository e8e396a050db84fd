"""Valid files of the kinds that are mutated: small, and of every variety that their readers know."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from palm_data.calibration.cameras import CAMERAS_FILE, load_cameras
from palm_data.camera.tsai import camera_from_tsai
from palm_data.capture.images import decode_image
from palm_data.capture.index import INDEX_FILE, load_index
from palm_data.capture.scan import read_scan
from palm_data.capture.tables import SESSION_FILE, read_session
from palm_data.capture.tka import format_tka, read_tka
from palm_data.hand.fits import CONVENTION_FILE, HAND_POSE, load_convention
from palm_data.store.manifest import MANIFEST_FILE, read_manifest
from palm_data.store.release import publish_release
from palm_data.store.workspace import Workspace
from palm_data.testing.mutate import Mutator, mutate_bytes, mutate_json, mutate_png, mutate_text
from palm_data.testing.raw_session import rig_camera
from palm_data.testing.scan_files import ply_bytes
from palm_data.testing.tiny import CALIBRATION, tiny_workspace
from schemas.settings import IngestSettings

_TETRAHEDRON = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
_OBJS = (
    _TETRAHEDRON + b"f 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n",
    b"# a comment\nmtllib scan.mtl\n" + _TETRAHEDRON + b"vt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\nusemtl scan\n"
    b"f 1/1 3/3 2/2\nf 1/1 2/2 4/4\nf 2/2 3/3 4/4\nf 3/3 1/1 4/4\n",
    _TETRAHEDRON + b"vn 0 0 1\nvt 0.5 0.5 0\nf -4/-1/-1 -2/-1/-1 -3/-1/-1\nf 1//1 2//1 4//1\nf 2 3 4 \\\n 1\n",
    b"v 0 0 0 1 0.5 0.5 0.5\r\nv 1 0 0 1 0.5 0.5 0.5\r\nv 0 1 0 1 0.5 0.5 0.5\r\n\tf 1 2 3\r\n",
)
_PLY_ORDERS = ("ascii", "binary_little_endian", "binary_big_endian")
_POLYGONS = [[0, 2, 1], [0, 1, 3, 2], [1, 2, 3]]


class WrongResult(Exception):  # noqa: N818 - it is a finding
    """A reader gave something that its caller may not be given."""


@dataclass(frozen=True)
class Seed:
    """A valid file, how it is mutated, and who reads it."""

    name: str
    path: Path
    content: bytes
    mutate: Mutator
    read: Callable[[Path], object]


def seeds_of(kind: str, folder: Path) -> list[Seed]:
    """The seeds of a kind (`obj`, `ply`, `tka`, `png`, `json`), to be written into an empty folder."""
    makers = {"obj": _obj, "ply": _ply, "tka": _tka, "png": _png, "json": _json}
    return makers[kind](folder)


def _obj(folder: Path) -> list[Seed]:
    (folder / "scan.mtl").write_bytes(b"newmtl scan\nmap_Kd missing.png\n")
    path = folder / "scan.obj"
    return [Seed(f"obj {n}", path, content, mutate_text, _read_scan) for n, content in enumerate(_OBJS)]


def _ply(folder: Path) -> list[Seed]:
    seeds = []
    for order in _PLY_ORDERS:
        mutate = mutate_text if order == "ascii" else _mutate_ply
        for number, content in enumerate((ply_bytes(order, extra_element=True), ply_bytes(order, polygons=_POLYGONS))):
            seeds.append(Seed(f"{order} ply {number}", folder / "scan.ply", content, mutate, _read_scan))
    return seeds


def _mutate_ply(content: bytes, rng: np.random.Generator) -> bytes:
    """The header as text, the body as bytes, or both."""
    end = content.index(b"end_header\n") + len(b"end_header\n")
    header, body = content[:end], content[end:]
    choice = rng.random()
    if choice < 0.6:
        header = mutate_text(header, rng)
    if choice > 0.4:
        body = mutate_bytes(body, rng)
    return header + body


def _tka(folder: Path) -> list[Seed]:
    def read(path: Path) -> None:
        tsai = read_tka(path)
        camera = camera_from_tsai(
            tsai, camera_id="MCU_04", calibration_id="rig_a", origin=IngestSettings().tka_pixel_origin
        )
        if not (np.isfinite(camera.intrinsics()).all() and np.isfinite(camera.world_to_camera()).all()):
            raise WrongResult("a camera that is not finite")

    content = format_tka(rig_camera("04_C")).encode("ascii")
    return [Seed("tka", folder / "04_C.tka", content, mutate_text, read)]


def _png(folder: Path) -> list[Seed]:
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (9, 11, 3)), rng.integers(0, 256, (12, 5)), np.full((40, 40, 3), 7))
    limit = IngestSettings().max_image_pixels

    def read(path: Path) -> None:
        image = decode_image(path.read_bytes(), path, max_pixels=limit)
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
            raise WrongResult(f"{image.dtype} {image.shape}")

    cv2.setNumThreads(0)
    contents = [cv2.imencode(".png", image.astype(np.uint8))[1].tobytes() for image in images]
    return [Seed(f"png {n}", folder / "image.png", one, mutate_png, read) for n, one in enumerate(contents)]


def _json(folder: Path) -> list[Seed]:
    """Every document that this project reads from disk: those of the rig, of the workspace and of releases."""
    made = tiny_workspace(folder, ["0001"])
    publish_release("0.1.0", made.workspace, made.settings)
    workspace: Workspace = made.workspace
    session = made.settings.raw / "0001" / SESSION_FILE
    session.parent.mkdir(exist_ok=True)
    values = {"calibration_id": "rig_a", "captured_at": "2025-03-01T10:00:00+00:00", "rig_serial": "TEST-1"}
    session.write_text(json.dumps(values), encoding="utf-8")
    version = made.settings.releases_folder / "0.1.0"
    index = workspace.output("capture_index", "0001") / INDEX_FILE
    readers: dict[Path, Callable[[Path], object]] = {
        session: lambda _: read_session(made.settings.raw, "0001"),
        index: lambda _: load_index(workspace, "0001"),
        workspace.output("calibration", CALIBRATION) / CAMERAS_FILE: lambda _: load_cameras(workspace, CALIBRATION),
        workspace.output(HAND_POSE, "0001") / CONVENTION_FILE: lambda _: load_convention(workspace, "0001"),
        workspace.root / "stages" / "scan_maps" / "0001" / "record.json": lambda _: workspace.record(
            "scan_maps", "0001"
        ),
    }
    seeds = [Seed(path.name, path, path.read_bytes(), mutate_json, read) for path, read in readers.items()]
    manifest = version / MANIFEST_FILE
    manifest.chmod(0o644)
    for name, mutate in (("manifest", mutate_json), ("manifest, sealed", _mutate_and_seal)):
        seeds.append(Seed(name, manifest, manifest.read_bytes(), mutate, lambda _: read_manifest(version)))
    return seeds


def _mutate_and_seal(content: bytes, rng: np.random.Generator) -> bytes:
    """A manifest whose digest and layout are made to fit, as whoever forges one would."""
    mutated = mutate_json(content, rng)
    try:
        values = json.loads(mutated)
        rest = {name: value for name, value in values.items() if name != "manifest_sha256"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
        values["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()
    except (ValueError, AttributeError, RecursionError):
        return mutated


def _read_scan(path: Path) -> None:
    mesh = read_scan(path, limits=IngestSettings(min_scan_faces=1))
    if not np.isfinite(mesh.vertices).all():
        raise WrongResult("vertices that are not finite")
    _check_indices(mesh.faces, len(mesh.vertices))
    if mesh.uv is not None and mesh.uv_faces is not None:
        if not np.isfinite(mesh.uv).all() or mesh.uv_faces.shape != mesh.faces.shape:
            raise WrongResult("texture coordinates that are not finite, or not on every face")
        _check_indices(mesh.uv_faces, len(mesh.uv))


def _check_indices(faces: np.ndarray, count: int) -> None:
    if faces.size and not (faces.min() >= 0 and faces.max() < count):
        raise WrongResult(f"indices from {faces.min()} to {faces.max()} of {count}")
