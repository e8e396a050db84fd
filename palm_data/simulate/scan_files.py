"""Scans as files: OBJ with its material, or binary PLY; the texture as PNG beside either."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy import ndarray

from palm_data.simulate.scan import SimulatedScan
from schemas.errors import StoreError

ScanFormat = Literal["obj", "ply"]


def write_scan(
    folder: Path, stem: str, scan: SimulatedScan, *, file_format: ScanFormat, units_per_metre: float
) -> None:
    """Write the mesh, its texture and what ties them together; `stem` is the files' name without ending."""
    texture = f"{stem}.texture.png"
    write_image(folder / texture, scan.texture)
    if file_format == "obj":
        _write_obj(folder, stem, scan, texture, units_per_metre)
    else:
        _write_ply(folder / f"{stem}.ply", scan, texture, units_per_metre)


def write_image(path: Path, pixels: ndarray, *, jpeg_quality: int = 98) -> None:
    """Write uint8 RGB or grey pixels as PNG or JPEG, by the path's ending, with no metadata.

    Raises:
        StoreError: if the file cannot be written.
    """
    ordered = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    if not cv2.imwrite(str(path), ordered, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, cv2.IMWRITE_PNG_COMPRESSION, 3]):
        raise StoreError(f"{path}: expected to write an image, found that OpenCV could not. Check space and rights.")


def _write_obj(folder: Path, stem: str, scan: SimulatedScan, texture: str, units_per_metre: float) -> None:
    corners = np.stack([scan.faces + 1, scan.uv_faces + 1], axis=2).reshape(-1, 6)
    with (folder / f"{stem}.obj").open("w", newline="\n") as stream:
        stream.write(f"mtllib {stem}.mtl\n")
        np.savetxt(stream, scan.vertices * units_per_metre, fmt="v %.7f %.7f %.7f")
        np.savetxt(stream, scan.uv, fmt="vt %.6f %.6f")
        stream.write("usemtl skin\n")
        np.savetxt(stream, corners, fmt="f %d/%d %d/%d %d/%d")
    (folder / f"{stem}.mtl").write_text(f"newmtl skin\nKd 1 1 1\nmap_Kd {texture}\n")


def _write_ply(path: Path, scan: SimulatedScan, texture: str, units_per_metre: float) -> None:
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment TextureFile {texture}\n"
        f"element vertex {len(scan.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(scan.faces)}\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
        "end_header\n"
    )
    row = np.dtype([("n", "u1"), ("corners", "<i4", 3), ("m", "u1"), ("uv", "<f4", 6)])
    faces = np.zeros(len(scan.faces), dtype=row)
    faces["n"], faces["m"] = 3, 6
    faces["corners"], faces["uv"] = scan.faces, scan.uv[scan.uv_faces].reshape(-1, 6)
    with path.open("wb") as stream:
        stream.write(header.encode())
        stream.write((scan.vertices * units_per_metre).astype("<f4").tobytes())
        stream.write(faces.tobytes())
