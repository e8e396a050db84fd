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


def written_obj(folder: Path, surface: Surface = SURFACE) -> Path:
    path = folder / "scan.obj"
    write_obj_scan(path, surface, TEXTURE, units_per_metre=1.0)
    return path


def written_ply(folder: Path, surface: Surface = SURFACE) -> Path:
    path = folder / "scan.ply"
    write_ply_scan(path, surface, TEXTURE, units_per_metre=1.0)
    return path
