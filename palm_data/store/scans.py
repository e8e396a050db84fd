"""Scans in a subject's group: concatenated over captures, with offsets.

    scan/vertices  (rows, 3) float32   metres, world         scan/vertex_offsets   (captures + 1,) int64
    scan/faces     (rows, 3) int32     rows of the capture's vertices                scan/face_offsets
    scan/uv        (rows, 2) float32   v up, (0, 0) = lower left corner of the texture    scan/uv_offsets
    scan/uv_faces  (rows, 3) int32     rows of the capture's uv; no rows without uv       scan/uv_face_offsets
    scan/texture   (captures, 1, height, width, 3) uint8 sRGB, top left aligned in the largest texture's frame
    scan/texture_sizes (captures, 2) int32   height and width; 0, 0 = no texture

Rows [offsets[i], offsets[i + 1]) belong to capture i. There is no `scan/texture` if no capture has a texture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy import ndarray

from palm_data.capture.image_headers import read_header
from palm_data.capture.images import decode_image
from palm_data.capture.scan import read_scan
from palm_data.store.arrays import create_image_array, create_row_array, write_frame
from palm_data.store.sources import ingested
from schemas.arrays import ARRAYS, OFFSETS
from schemas.capture import CaptureRecord
from schemas.errors import BadInputError
from schemas.settings import Settings


@dataclass(frozen=True)
class ScanSize:
    """How much surface a released scan has."""

    vertices: int
    faces: int


def write_scans(
    group: zarr.Group, captures: Sequence[CaptureRecord], raw: Path, settings: Settings
) -> tuple[ScanSize, ...]:
    """Write the scans of the captures, in their order; the sizes written.

    Raises:
        BadInputError: if a raw file is not the one that was ingested.
    """
    parts = [_released(capture, raw, settings) for capture in captures]
    for position, (name, offsets) in enumerate(OFFSETS.items()):
        blocks = [part[position] for part in parts]
        bounds = np.cumsum([0, *(len(block) for block in blocks)], dtype=np.int64)
        create_row_array(group, name, np.concatenate(blocks), attributes=ARRAYS[name].attributes())
        create_row_array(group, offsets, bounds, attributes=ARRAYS[offsets].attributes())
    _write_textures(group, captures, raw, settings)
    return tuple(ScanSize(vertices=len(part[0]), faces=len(part[1])) for part in parts)


def _released(capture: CaptureRecord, raw: Path, settings: Settings) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Vertices (m, world), faces, uv and uv faces of a capture's scan."""
    for file in (capture.scan.mesh, capture.scan.material):
        if file is not None:
            ingested(raw, file)
    mesh = read_scan(raw / capture.scan.mesh.path, limits=settings.ingest)
    if len(mesh.vertices) != capture.scan.vertices or len(mesh.faces) != capture.scan.faces:
        raise BadInputError(
            capture.scan.mesh.path, field="mesh", hint="Ingest the subject again.",
            expected=f"{capture.scan.vertices} vertices and {capture.scan.faces} triangles, as at ingest",
            found=f"{len(mesh.vertices)} and {len(mesh.faces)}",
        )  # fmt: skip
    vertices = (mesh.vertices * capture.scan.metres_per_unit).astype(np.float32)
    uv = np.zeros((0, 2), np.float32) if mesh.uv is None else mesh.uv.astype(np.float32)
    uv_faces = np.zeros((0, 3), np.int32) if mesh.uv_faces is None else mesh.uv_faces.astype(np.int32)
    return vertices, mesh.faces.astype(np.int32), uv, uv_faces


def _write_textures(group: zarr.Group, captures: Sequence[CaptureRecord], raw: Path, settings: Settings) -> None:
    """Write the textures, one capture in memory at a time: their sizes are in the files' headers."""
    sizes = np.array([_texture_size(capture, raw) for capture in captures], dtype=np.int32)
    create_row_array(group, "scan/texture_sizes", sizes, attributes=ARRAYS["scan/texture_sizes"].attributes())
    height, width = sizes.max(axis=0).tolist()
    if not height:
        return
    array = create_image_array(
        group, "scan/texture", (len(captures), 1, height, width, 3), np.uint8, tile_px=settings.shard.tile_px,
        attributes=ARRAYS["scan/texture"].attributes(),
    )  # fmt: skip
    for row, pixels in _textures(captures, raw, settings):
        frame = np.zeros(array.shape[1:], dtype=np.uint8)
        frame[0, : pixels.shape[0], : pixels.shape[1]] = pixels
        write_frame(array, row, frame)


def _texture_size(capture: CaptureRecord, raw: Path) -> tuple[int, int]:
    file = capture.scan.texture
    if file is None:
        return 0, 0
    header = read_header(ingested(raw, file), Path(file.path))
    return header.height, header.width


def _textures(captures: Sequence[CaptureRecord], raw: Path, settings: Settings) -> Iterator[tuple[int, ndarray]]:
    """Each capture's row and texture (h, w, 3), grey spread over three channels; black where there is none."""
    for row, capture in enumerate(captures):
        file = capture.scan.texture
        if file is None:
            yield row, np.zeros((0, 0, 3), dtype=np.uint8)
            continue
        pixels = decode_image(ingested(raw, file), Path(file.path), max_pixels=settings.ingest.max_image_pixels)
        yield row, np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
