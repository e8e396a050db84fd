"""Scan files as a rig writes them: OBJ with material and texture, PLY with a texture comment."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.testing.shapes import Surface

TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
TETRAHEDRON_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def write_obj_scan(path: Path, surface: Surface, texture: UInt8[ndarray, "h w 3"], *, units_per_metre: float) -> None:
    """Write `<name>.obj`, `<name>.mtl` and `<name>_tex.png` beside each other."""
    picture = f"{path.stem}_tex.png"
    material = path.with_suffix(".mtl")
    material.write_text(f"newmtl scan\nKa 0 0 0\nKd 1 1 1\nmap_Kd {picture}\n", encoding="ascii")
    lines = ["# made for tests", f"mtllib {material.name}", "usemtl scan"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in surface.vertices * units_per_metre]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in surface.uv]
    lines += [
        f"f {a}/{ta} {b}/{tb} {c}/{tc}"
        for (a, b, c), (ta, tb, tc) in zip((surface.faces + 1).tolist(), (surface.uv_faces + 1).tolist(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    _write_texture(path.parent / picture, texture)


def write_ply_scan(path: Path, surface: Surface, texture: UInt8[ndarray, "h w 3"], *, units_per_metre: float) -> None:
    """Write a binary little-endian `<name>.ply` with texture coordinates per face, and `<name>_tex.png`."""
    picture = f"{path.stem}_tex.png"
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment TextureFile {picture}\n"
        f"element vertex {len(surface.vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(surface.faces)}\n"
        "property list uchar int vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    )
    row = np.dtype([("n", "u1"), ("corners", "<i4", 3), ("m", "u1"), ("uv", "<f4", 6)])
    faces = np.zeros(len(surface.faces), dtype=row)
    faces["n"], faces["corners"] = 3, surface.faces
    faces["m"], faces["uv"] = 6, surface.uv[surface.uv_faces].reshape(-1, 6)
    vertices = (surface.vertices * units_per_metre).astype("<f4")
    path.write_bytes(header.encode("ascii") + vertices.tobytes() + faces.tobytes())
    _write_texture(path.parent / picture, texture)


def _write_texture(path: Path, texture: UInt8[ndarray, "h w 3"]) -> None:
    _, encoded = cv2.imencode(".png", texture[..., ::-1])
    path.write_bytes(encoded.tobytes())


def ply_bytes(
    order: str, *, index_type: str = "int", extra_element: bool = False, polygons: list[list[int]] | None = None
) -> bytes:
    """A tetrahedron as PLY, in `ascii`, `binary_little_endian` or `binary_big_endian`."""
    polygons = TETRAHEDRON_FACES.tolist() if polygons is None else polygons
    header = f"ply\nformat {order} 1.0\ncomment made for tests\n"
    if extra_element:
        header += "element camera 2\nproperty double f\nproperty list uchar short bits\n"
    header += "element vertex 4\nproperty float x\nproperty float y\nproperty float z\nproperty uchar red\n"
    header += f"element face {len(polygons)}\nproperty list uchar {index_type} vertex_indices\nend_header\n"
    if order == "ascii":
        lines = ["1.5 2 7 8", "2.5 1 9"] if extra_element else []
        lines += [f"{x} {y} {z} 200" for x, y, z in TETRAHEDRON.tolist()]
        lines += [" ".join(map(str, [len(polygon), *polygon])) for polygon in polygons]
        return (header + "\n".join(lines) + "\n").encode()
    sign = "<" if order == "binary_little_endian" else ">"
    body = b""
    if extra_element:
        body += np.array(1.5, f"{sign}f8").tobytes() + b"\x02" + np.array([7, 8], f"{sign}i2").tobytes()
        body += np.array(2.5, f"{sign}f8").tobytes() + b"\x01" + np.array([9], f"{sign}i2").tobytes()
    for point in TETRAHEDRON:
        body += point.astype(f"{sign}f4").tobytes() + b"\xc8"
    code = {"int": "i4", "uint": "u4", "ushort": "u2", "uchar": "u1"}[index_type]
    for polygon in polygons:
        body += bytes([len(polygon)]) + np.array(polygon, f"{sign}{code}").tobytes()
    return header.encode() + body
