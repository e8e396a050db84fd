"""Scan meshes: read, validated, and never more than the file honestly holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from numpy import ndarray

from palm_data.capture.raw_files import read_bounded, referenced_file
from palm_data.capture.scan_obj import parse_obj
from palm_data.capture.scan_parts import FileMesh, malformed
from palm_data.capture.scan_ply import parse_ply
from schemas.errors import BadInputError
from schemas.settings import IngestSettings

SCAN_SUFFIXES = (".obj", ".ply")
_MAX_MATERIAL_BYTES = 1 << 20
_MAX_COORDINATE = 1e6
_MAX_UNUSED_SHARE = 0.25
_ZERO_AREA = 1e-12  # of the square of the longest edge


@dataclass(frozen=True)
class ScanMesh:
    """A validated scan in the file's own unit: finite, indices in range, no degenerate triangles."""

    vertices: Float[ndarray, "v 3"]
    faces: Int32[ndarray, "f 3"]
    uv: Float[ndarray, "t 2"] | None
    """Texture coordinates, origin at the image's bottom left."""
    uv_faces: Int32[ndarray, "f 3"] | None
    texture: Path | None
    """The texture image, if the scan names one that is there."""
    material: Path | None
    """The OBJ's material file, if it names one that is there."""
    degenerate_faces: int
    """Triangles without area that were dropped."""
    problems: tuple[BadInputError, ...]
    """What is wrong and could be done without: the mesh is whole, its texture may be missing."""


def read_scan(path: Path, *, limits: IngestSettings) -> ScanMesh:
    """Read and validate an OBJ or PLY scan, and find its texture.

    Raises:
        BadInputError: if the file is too large, breaks its format, lies about its counts, holds values that are not
            finite, indices out of range or fewer triangles than a hand needs, or names a file outside its folder.
        StoreError: if the disk would not give it.
    """
    suffix = path.suffix.lower()
    if suffix not in SCAN_SUFFIXES:
        raise malformed(path, "file name", " or ".join(SCAN_SUFFIXES), path.suffix)
    content = read_bounded(path, max_bytes=limits.max_scan_bytes)
    mesh = parse_obj(content, path) if suffix == ".obj" else parse_ply(content, path)
    del content
    _check_values(mesh, path)
    whole = _with_area(mesh)
    faces = mesh.faces[whole]
    if len(faces) < limits.min_scan_faces:
        raise malformed(path, "faces", f"{limits.min_scan_faces} triangles or more", len(faces))
    unused = 1.0 - used_vertices(mesh.faces, len(mesh.vertices)).mean()
    if unused > _MAX_UNUSED_SHARE:
        expected = f"a mesh that uses its vertices (at most {_MAX_UNUSED_SHARE:.0%} unused)"
        raise malformed(path, "faces", expected, f"{unused:.0%} unused: the file may be cut short")
    problems: list[BadInputError] = []
    material, texture = _companions(mesh, path, problems)
    return ScanMesh(
        vertices=mesh.vertices,
        faces=faces.astype(np.int32),
        uv=mesh.uv,
        uv_faces=None if mesh.uv_faces is None else mesh.uv_faces[whole].astype(np.int32),
        texture=texture,
        material=material,
        degenerate_faces=int(len(whole) - whole.sum()),
        problems=tuple(problems),
    )


def non_manifold_edges(faces: Int32[ndarray, "f 3"]) -> int:
    """How many edges belong to more than two triangles."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    keys = np.sort(edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]) if len(faces) else edges[:, 0]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return int((np.diff(starts, append=len(keys)) > 2).sum())


def used_vertices(faces: Int[ndarray, "f 3"], count: int) -> Bool[ndarray, "v"]:
    """Which of the vertices some face names."""
    used = np.zeros(count, dtype=bool)
    used[faces.ravel()] = True
    return used


def _check_values(mesh: FileMesh, path: Path) -> None:
    if not len(mesh.vertices) or not len(mesh.faces):
        raise malformed(path, "mesh", "vertices and faces", f"{len(mesh.vertices)} and {len(mesh.faces)}")
    if len(mesh.vertices) > np.iinfo(np.int32).max:
        raise malformed(path, "vertices", "fewer than 2³¹", len(mesh.vertices))
    bad = ~(np.abs(mesh.vertices) <= _MAX_COORDINATE).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise malformed(path, f"vertex {row}", f"finite coordinates up to {_MAX_COORDINATE:g}", mesh.vertices[row])
    _check_indices(mesh.faces, len(mesh.vertices), path, "vertex")
    if mesh.uv is not None and mesh.uv_faces is not None:
        if not np.isfinite(mesh.uv).all():
            raise malformed(path, "texture coordinates", "finite numbers", "others")
        _check_indices(mesh.uv_faces, len(mesh.uv), path, "texture coordinate")


def _check_indices(faces: Int[ndarray, "f 3"], count: int, path: Path, what: str) -> None:
    bad = ((faces < 0) | (faces >= count)).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        expected = f"{what} indices below {count} (counted from 0)"
        raise malformed(path, f"triangle {row}", expected, faces[row].tolist())


def _with_area(mesh: FileMesh) -> Bool[ndarray, "f"]:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    double_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    longest = np.max([((b - a) ** 2).sum(axis=1), ((c - b) ** 2).sum(axis=1), ((a - c) ** 2).sum(axis=1)], axis=0)
    return double_area > _ZERO_AREA * longest


def _companions(mesh: FileMesh, path: Path, problems: list[BadInputError]) -> tuple[Path | None, Path | None]:
    """The material file and the texture image, where they are there."""
    if mesh.partly_textured:
        problems.append(malformed(path, "texture coordinates", "on every face", "on some; left out"))
    material = texture = None
    name = mesh.texture
    if mesh.material is not None:
        material = _present(path, mesh.material, "mtllib", problems)
        name = _texture_name(material, problems) if material else None
    if name is not None:
        texture = _present(material or path, name, "texture", problems)
    return material, texture


def _present(source: Path, name: str, field: str, problems: list[BadInputError]) -> Path | None:
    found = referenced_file(source, name, field=field)
    if found.is_file():
        return found
    problems.append(malformed(source, field, f"the file {name}", "none"))
    return None


def _texture_name(material: Path, problems: list[BadInputError]) -> str | None:
    """The image of the first `map_Kd`; options in front of it are passed over."""
    try:
        content = read_bounded(material, max_bytes=_MAX_MATERIAL_BYTES)
    except BadInputError as error:
        problems.append(error)
        return None
    for raw in content.splitlines():
        words = raw.decode("utf-8", errors="replace").strip().split(maxsplit=1)
        if len(words) == 2 and words[0].lower() == "map_kd":
            return words[1].split()[-1] if words[1].startswith("-") else words[1]
    return None
