"""Faults of scans: cut short, empty, not finite, half, in another unit, not a manifold, delivered twice."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from palm_data.capture.scan import read_scan
from palm_data.capture.scan_obj import parse_obj
from palm_data.capture.scan_parts import FileMesh
from palm_data.capture.scan_ply import parse_ply
from palm_data.simulate.faults.record import Outcome, Reason
from palm_data.simulate.faults.scene import Fault, Planted, Scene, cut_short
from schemas.settings import IngestSettings

_METRES_BELOW = 2.0
"""A scan longer than this, in its own unit, is in millimetres."""
_NAN_SHARE = 0.01
_FINS = 24
_FIN_HEIGHT = 0.3
"""Of a triangle's longest edge."""


def edit_scan(path: Path, change: Callable[[FileMesh], FileMesh]) -> None:
    """Rewrite a scan in its own format, with its material or texture named as before."""
    obj = path.suffix.lower() == ".obj"
    mesh = change((parse_obj if obj else parse_ply)(path.read_bytes(), path))
    path.write_bytes(_obj(mesh) if obj else _ply(mesh))


def _obj(mesh: FileMesh) -> bytes:
    lines = [f"mtllib {mesh.material}", "usemtl scan"] if mesh.material else []
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices.tolist()]
    faces = (mesh.faces + 1).tolist()
    if mesh.uv is None or mesh.uv_faces is None:
        lines += [f"f {a} {b} {c}" for a, b, c in faces]
    else:
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.uv.tolist()]
        rows = zip(faces, (mesh.uv_faces + 1).tolist(), strict=True)
        lines += [f"f {a}/{ta} {b}/{tb} {c}/{tc}" for (a, b, c), (ta, tb, tc) in rows]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _ply(mesh: FileMesh) -> bytes:
    textured = mesh.uv is not None and mesh.uv_faces is not None
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment TextureFile {mesh.texture}"] if mesh.texture else []
    header += [f"element vertex {len(mesh.vertices)}", *(f"property double {axis}" for axis in "xyz")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    header += ["property list uchar float texcoord"] if textured else []
    columns = [("n", "u1"), ("corners", "<i4", 3), *([("m", "u1"), ("uv", "<f4", 6)] if textured else [])]
    faces = np.zeros(len(mesh.faces), dtype=columns)
    faces["n"], faces["corners"] = 3, mesh.faces
    if mesh.uv is not None and mesh.uv_faces is not None:
        faces["m"], faces["uv"] = 6, mesh.uv[mesh.uv_faces].reshape(-1, 6)
    head = "\n".join([*header, "end_header"]) + "\n"
    return head.encode("utf-8") + mesh.vertices.astype("<f8").tobytes() + faces.tobytes()


def _truncated(scene: Scene) -> Planted:
    path = scene.scan
    cut_short(path)
    return Planted((scene.name(path),), Reason(source=scene.name(path), field="", expected="", found=""))


def _empty(scene: Scene) -> Planted:
    path = scene.scan
    edit_scan(path, _without_faces)
    reason = Reason(source=scene.name(path), field="mesh", expected="vertices and faces", found="0 and 0")
    return Planted((scene.name(path),), reason)


def _without_faces(mesh: FileMesh) -> FileMesh:
    none = np.zeros((0, 3), dtype=np.int64)
    return replace(mesh, vertices=np.zeros((0, 3)), faces=none, uv=None, uv_faces=None)


def _not_finite(scene: Scene) -> Planted:
    path, first = scene.scan, 0

    def change(mesh: FileMesh) -> FileMesh:
        nonlocal first
        count = len(mesh.vertices)
        first = count // 3
        vertices = mesh.vertices.copy()
        vertices[first : first + max(1, round(_NAN_SHARE * count))] = np.nan
        return replace(mesh, vertices=vertices)

    edit_scan(path, change)
    reason = Reason(source=scene.name(path), field=f"vertex {first}", expected="finite coordinates", found="nan")
    return Planted((scene.name(path),), reason)


def _doubled(scene: Scene) -> Planted:
    """The capture's images and scan once more, under the next frame number."""
    files, again = scene.files, scene.capture.raw_frame + 1
    old, new = (f"{scene.capture.gesture}.{frame:06d}" for frame in (scene.capture.raw_frame, again))
    added = []
    for path in (*files.scans, *(path for paths in files.images.values() for path in paths)):
        copy = path.with_name(new + path.name.removeprefix(old))
        shutil.copyfile(path, copy)
        added.append(copy)
    scan = next(path for path in added if path.suffix == scene.scan.suffix and path.stem == new)
    found = f"that of {scene.capture.gesture} {scene.capture.raw_frame}"
    reason = Reason(source=scene.name(scan), field="content", expected="a scan of its own", found=found)
    return Planted(tuple(map(scene.name, added)), reason)


def _other_unit(scene: Scene) -> Planted:
    def change(mesh: FileMesh) -> FileMesh:
        factor = 1000.0 if np.ptp(mesh.vertices, axis=0).max() < _METRES_BELOW else 0.001
        return replace(mesh, vertices=mesh.vertices * factor)

    edit_scan(scene.scan, change)
    return Planted((scene.name(scene.scan),))


def _not_manifold(scene: Scene) -> Planted:
    edit_scan(scene.scan, _with_fins)
    return Planted((scene.name(scene.scan),))


def _with_fins(mesh: FileMesh) -> FileMesh:
    """Small triangles that stand on edges which have two triangles already."""
    rows = np.linspace(0, len(mesh.faces) - 1, _FINS).astype(int)
    corners = mesh.vertices[mesh.faces[rows]]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    tips = corners.mean(axis=1) + _FIN_HEIGHT * longest[:, None] * across
    fins = mesh.faces[rows].copy()
    fins[:, 2] = len(mesh.vertices) + np.arange(len(rows))
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, tips]),
        faces=np.concatenate([mesh.faces, fins]),
        uv_faces=None if mesh.uv_faces is None else np.concatenate([mesh.uv_faces, mesh.uv_faces[rows]]),
    )


def _half(scene: Scene) -> Planted:
    path = scene.scan
    edit_scan(path, _one_side)
    reason = Reason(source=scene.name(path), field="silhouette_iou", expected="", found="")
    return Planted((scene.name(path),), reason)


def _one_side(mesh: FileMesh) -> FileMesh:
    """What one side's cameras would have reconstructed: the hand cut along its length, across its breadth."""
    middle = np.median(mesh.vertices, axis=0)
    _, _, axes = np.linalg.svd(mesh.vertices - middle, full_matrices=False)
    # The sign of a singular vector is nobody's choice.
    breadth = axes[1] * (1.0 if axes[1][np.argmax(np.abs(axes[1]))] > 0 else -1.0)
    return _kept(mesh, ((mesh.vertices - middle) @ breadth < 0)[mesh.faces].all(axis=1))


def _kept(mesh: FileMesh, chosen: Bool[ndarray, " faces"]) -> FileMesh:
    """Some of the faces, and the vertices that they use."""
    used, faces = np.unique(mesh.faces[chosen], return_inverse=True)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=faces.reshape(-1, 3),
        uv_faces=None if mesh.uv_faces is None else mesh.uv_faces[chosen],
    )


def _texture_truncated(scene: Scene) -> Planted:
    texture = read_scan(scene.scan, limits=IngestSettings()).texture
    assert texture is not None, "scans of a simulated session have textures"  # noqa: S101
    size = cut_short(texture)
    found = f"{size} bytes: it is cut short"
    reason = Reason(source=scene.name(texture), field="length", expected="a whole file", found=found)
    return Planted((scene.name(texture),), reason)


SCAN_TRUNCATED = Fault(
    "scan_truncated", "A scan was cut short on its way.", Outcome.CAPTURE_SET_ASIDE, _truncated
)  # fmt: skip
SCAN_EMPTY = Fault("scan_empty", "A scan without a triangle.", Outcome.CAPTURE_SET_ASIDE, _empty)
SCAN_NOT_FINITE = Fault(
    "scan_not_finite", "Some vertices of a scan are not numbers.", Outcome.CAPTURE_SET_ASIDE, _not_finite
)
FRAME_DOUBLED = Fault(
    "frame_doubled", "A frame was delivered again under the next number.", Outcome.CAPTURE_SET_ASIDE, _doubled
)
SCAN_IN_OTHER_UNIT = Fault(
    "scan_in_other_unit", "A scan in millimetres among scans in metres, or the other way round.", Outcome.HANDLED,
    _other_unit,
)  # fmt: skip
SCAN_NOT_MANIFOLD = Fault(
    "scan_not_manifold", "Edges of a scan have three triangles.", Outcome.HANDLED, _not_manifold
)  # fmt: skip
SCAN_HALF = Fault("scan_half", "A scan shows one side of the hand only.", Outcome.CAPTURE_NAMED, _half)
TEXTURE_TRUNCATED = Fault(
    "texture_truncated", "A scan's texture was cut short on its way.", Outcome.FILE_SET_ASIDE, _texture_truncated
)
