"""Scan files as the rig's software writes them: OBJ with material and texture, or PLY with a texture comment."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from palm_data.camera.tsai import project_tsai
from palm_data.simulate.image_files import write_png
from palm_data.simulate.rig import SimulatedRig
from palm_data.simulate.scan import SimulatedScan

ScanFormat = Literal["obj", "ply"]

_MARGIN_SHARE = 0.008
_BLIND_CAMERAS = 1


def working_volume(scan: SimulatedScan, rig: SimulatedRig) -> SimulatedScan:
    """The part of a scan inside the volume that the rig measures: what all cameras but one have in their frame."""
    seen = np.zeros(len(scan.vertices), dtype=int)
    for camera in rig.cameras:
        pixels = project_tsai(camera, scan.vertices)
        size = np.array(camera.image_size_px)
        margin = _MARGIN_SHARE * size.max()
        seen += ((pixels > margin) & (pixels < size - margin)).all(axis=1)
    return _kept(scan, (seen >= len(rig.cameras) - _BLIND_CAMERAS)[scan.faces].all(axis=1))


def _kept(scan: SimulatedScan, chosen: Bool[ndarray, "faces"]) -> SimulatedScan:
    """Some of the faces, and what they use."""
    used, faces = np.unique(scan.faces[chosen], return_inverse=True)
    used_uv, uv_faces = np.unique(scan.uv_faces[chosen], return_inverse=True)
    return SimulatedScan(
        vertices=scan.vertices[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=scan.uv[used_uv],
        uv_faces=uv_faces.reshape(-1, 3).astype(np.int32),
        texture=scan.texture,
    )


def pieces_of(scan: SimulatedScan) -> int:
    """How many separate pieces the scan has."""
    pairs = scan.faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    size = len(scan.vertices)
    edges = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return int(connected_components(edges, directed=False)[0])


def write_scan(stem: Path, scan: SimulatedScan, scan_format: ScanFormat, *, units_per_metre: float) -> None:
    """Write `<stem>.obj` with `<stem>.mtl`, or `<stem>.ply`, and the texture `<stem>.png`."""
    picture = stem.with_name(f"{stem.name}.png")
    if scan_format == "obj":
        _write_obj(stem, scan, picture.name, units_per_metre)
    else:
        _write_ply(stem, scan, picture.name, units_per_metre)
    write_png(picture, scan.texture)


def _write_obj(stem: Path, scan: SimulatedScan, picture: str, units_per_metre: float) -> None:
    material = stem.with_name(f"{stem.name}.mtl")
    material.write_text(f"newmtl scan\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nmap_Kd {picture}\n", encoding="ascii")
    lines = [f"mtllib {material.name}", "usemtl scan"]
    lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in (scan.vertices * units_per_metre).tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in scan.uv.tolist()]
    rows = zip((scan.faces + 1).tolist(), (scan.uv_faces + 1).tolist(), strict=True)
    lines += [f"f {a}/{ta} {b}/{tb} {c}/{tc}" for (a, b, c), (ta, tb, tc) in rows]
    stem.with_name(f"{stem.name}.obj").write_text("\n".join(lines) + "\n", encoding="ascii")


def _write_ply(stem: Path, scan: SimulatedScan, picture: str, units_per_metre: float) -> None:
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment TextureFile {picture}\n"
        f"element vertex {len(scan.vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(scan.faces)}\n"
        "property list uchar int vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    )
    faces = np.zeros(
        len(scan.faces), dtype=[("corners", "u1"), ("vertex", "<i4", 3), ("values", "u1"), ("uv", "<f4", 6)]
    )
    faces["corners"], faces["vertex"] = 3, scan.faces
    faces["values"], faces["uv"] = 6, scan.uv[scan.uv_faces].reshape(-1, 6)
    vertices = (scan.vertices * units_per_metre).astype("<f4")
    stem.with_name(f"{stem.name}.ply").write_bytes(header.encode("ascii") + vertices.tobytes() + faces.tobytes())
