"""Scan files as a rig writes them: OBJ with material and texture, PLY with a texture comment."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.testing.shapes import Surface


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
