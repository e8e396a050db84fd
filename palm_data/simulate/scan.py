"""The scan that the rig's own software would deliver: a noisy, holed, textured mesh of a captured hand."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from palm_data.colour import srgb_from_linear
from palm_data.simulate.chart import texture_chart
from palm_data.simulate.hand import CapturedHand
from palm_data.simulate.scan_defects import (
    add_noise,
    dropped_out,
    fragments,
    fused_fingers,
    largest_piece,
    seen_faces,
)
from palm_data.simulate.scan_surface import ScanSurface, coarse_surface, texture_coordinates
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.template import capture_template, vertex_normals

DEFAULT_FACES = 36_000
_MIN_PIECE_FACES = 200
_EYES = 14
_EYE_DISTANCE_M = 0.8
_LIGHTS = ((0.35, -0.7, 0.62, 0.62), (-0.8, 0.3, 0.5, 0.36), (0.75, 0.6, 0.2, 0.32))
"""Directions to the lights in the rig, and their strengths."""
_AMBIENT = 0.34


class ScanKind(StrEnum):
    """Which scan of a session it is."""

    PLAIN = "plain"
    FUSED = "fused"
    """Two neighbouring fingers grown together."""


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A scan before it is written to a file; world, metres."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    uv: Float[ndarray, "t 2"]
    """Origin at the texture's bottom left."""
    uv_faces: Int[ndarray, "f 3"]
    texture: UInt8[ndarray, "size size 3"]
    """sRGB; row 0 is v = 1."""

    def boundary_share(self) -> float:
        """Share of the edges that only one triangle has: the arm's cut, holes and fragments."""
        edges = np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        return float((counts == 1).mean())


def make_scan(
    captured: CapturedHand,
    textures: SkinTextures,
    rng: np.random.Generator,
    *,
    kind: ScanKind = ScanKind.PLAIN,
    eyes: Float[ndarray, "eyes 3"] | None = None,
    faces: int = DEFAULT_FACES,
) -> SimulatedScan:
    """A scan of the captured hand; its texture has the size of the given maps.

    Args:
        eyes: centres of the cameras that reconstruct, metres; None: a ring of them.
        faces: how many triangles the whole surface would have without holes.

    Raises:
        GeometryError: if fused fingers are asked of a hand that keeps its fingers apart.
    """
    whole = coarse_surface(captured, faces, rng)
    if kind is ScanKind.FUSED:
        whole = fused_fingers(whole)
    seen = seen_faces(whole, _ring_of_eyes() if eyes is None else eyes)
    body = largest_piece(whole.kept(seen & ~dropped_out(whole, rng)), _MIN_PIECE_FACES)
    pieces = [add_noise(body, rng), *fragments(body, rng)]
    placed = [texture_coordinates(captured, _on_truth(captured, piece), piece.faces) for piece in pieces]
    uv, uv_faces = _joined([uv for uv, _ in placed], [rows for _, rows in placed])
    vertices, triangles = _joined([piece.vertices for piece in pieces], [piece.faces for piece in pieces])
    order = rng.permutation(len(triangles))
    return SimulatedScan(
        vertices=vertices,
        faces=triangles[order].astype(np.int32),
        # The scanner's own layout: ours, turned by a quarter.
        uv=np.stack([uv[:, 1], 1.0 - uv[:, 0]], axis=1),
        uv_faces=uv_faces[order].astype(np.int32),
        texture=np.ascontiguousarray(np.rot90(_baked_texture(captured, textures, rng), k=-1)),
    )


def _on_truth(captured: CapturedHand, piece: ScanSurface) -> ndarray:
    """Where a piece lay before it came loose, near enough to look its colours up."""
    true = captured.vertices[piece.true_vertex]
    return piece.vertices - (piece.vertices - true).mean(axis=0)


def _joined(rows: list[ndarray], indices: list[ndarray]) -> tuple[ndarray, ndarray]:
    starts = np.cumsum([0, *[len(part) for part in rows[:-1]]])
    return np.concatenate(rows), np.concatenate([part + start for part, start in zip(indices, starts, strict=True)])


def _ring_of_eyes() -> Float[ndarray, "eyes 3"]:
    """Pairs of cameras all round, some above and some below."""
    azimuth = 2 * np.pi * (np.arange(_EYES) // 2) / (_EYES // 2)
    elevation = np.radians(np.where(np.arange(_EYES) % 2 == 0, 28.0, -8.0))
    outwards = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    return _EYE_DISTANCE_M * np.stack(outwards, axis=1)


def _baked_texture(captured: CapturedHand, textures: SkinTextures, rng: np.random.Generator) -> ndarray:
    """Albedo under soft light with a camera's noise, as the scanner stitches it from its photographs."""
    size = textures.albedo.shape[0]
    chart, template = texture_chart(size), capture_template()
    base = captured.vertices[: len(template.base_vertices)]
    normals = chart.interpolate(vertex_normals(base, template.base_faces))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    shade = np.full(len(normals), _AMBIENT)
    for *direction, strength in _LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        shade += strength * np.clip(normals @ towards, 0.0, None)
    image = textures.albedo * chart.image(shade)[..., None] * 1.5
    encoded = srgb_from_linear(image) + 0.008 * rng.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(encoded, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
