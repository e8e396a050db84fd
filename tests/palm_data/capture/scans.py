"""Scan files for tests."""

from pathlib import Path

import numpy as np

from palm_data.testing.scan_files import write_obj_scan, write_ply_scan
from palm_data.testing.shapes import Surface, lobed_surface
from schemas.settings import IngestSettings

SURFACE = lobed_surface(spread=0.5, turn_rad=0.2)
TEXTURE = np.full((4, 4, 3), 90, dtype=np.uint8)
TINY = IngestSettings(min_scan_faces=1)
"""Limits that let a single triangle pass."""

TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
TETRAHEDRON_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def written_obj(folder: Path, surface: Surface = SURFACE) -> Path:
    path = folder / "scan.obj"
    write_obj_scan(path, surface, TEXTURE, units_per_metre=1.0)
    return path


def written_ply(folder: Path, surface: Surface = SURFACE) -> Path:
    path = folder / "scan.ply"
    write_ply_scan(path, surface, TEXTURE, units_per_metre=1.0)
    return path


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
