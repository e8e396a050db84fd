"""The z-buffer: which triangle a camera sees at each pixel, how far away, and which way it faces.

A scan has more triangles than a ray caster likes and most cover a few pixels, so each triangle is scanned over its
own bounding box (as Pineda 1988, "A parallel algorithm for polygon rasterization") and only the winners are shaded.

- Vertices are projected to K's pixel coordinates, integers at pixel corners; a pixel is sampled at its centre, +0.5.
- Projections are rounded to 2⁻¹⁴ px, and the edge functions are evaluated in integers with the top-left rule, so
  that a pixel on a shared edge belongs to exactly one of the two triangles: no crack, no double cover.
- Depth (camera z) and barycentrics are perspective-correct. Among equal depths the lower face index wins.
- Both sides of a triangle are drawn. Normals are interpolated vertex normals of the side that is seen: they point
  towards the camera, but for the outermost pixels of an outline, where interpolation may turn them past it.
- A triangle with a vertex nearer than the near plane, or projected more than 32,768 px from the image's corner, is left out
  whole and counted in `dropped`; scans stand well inside both limits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Integer
from numpy import ndarray

from palm_data.maps.kernels import compiled
from palm_data.maps.surface import vertex_normals as area_weighted_normals
from schemas.errors import GeometryError

SUBPIXELS = 1 << 14
GUARD_PX = 32_768.0
NEAR_M = 0.01


class Roi(NamedTuple):
    """A rectangle of pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rectangle as (rows, columns) of the whole image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True)
class Raster:
    """What a camera sees of a mesh, over a region of its image."""

    roi: Roi
    face_id: Int32[ndarray, "height width"]
    """Index of the triangle seen; -1 where there is none."""
    depth: Float32[ndarray, "height width"]
    """Camera z, metres; 0 where there is none."""
    normal: Float32[ndarray, "height width 3"]
    """Unit normal of the side that is seen, in camera axes; 0 where there is none."""
    barycentric: Float32[ndarray, "height width 3"]
    """Perspective-correct weights of the triangle's corners; 0 where there is none."""
    dropped: int
    """Triangles left out at the near plane or the guard band."""


class _Mesh(NamedTuple):
    """What the kernels read."""

    fixed: ndarray
    inverse_depth: ndarray
    drawable: ndarray
    faces: ndarray
    normals: ndarray


class _Pixels(NamedTuple):
    """What the kernels write."""

    face_id: ndarray
    depth: ndarray
    normal: ndarray
    barycentric: ndarray


def rasterize(
    vertices_camera: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    intrinsics: Float[ndarray, "3 3"],
    width: int,
    height: int,
    *,
    roi: Roi | None = None,
    vertex_normals: Float[ndarray, "vertices 3"] | None = None,
    near_m: float = NEAR_M,
) -> Raster:
    """The nearest triangle, its depth and its smooth normal at every pixel centre of the region.

    The arrays cover the region only and equal that crop of the whole image's. Single-threaded and deterministic.

    Args:
        vertices_camera: metres, OpenCV camera axes.
        intrinsics: K without skew, px, integers at pixel corners.
        roi: region to draw, the whole image by default.
        vertex_normals: unit normals in camera axes, as the triangles are wound; area-weighted means of the face normals by default.

    Raises:
        GeometryError: if a shape, an index, a coordinate or the region is not usable.
    """
    region = Roi(0, 0, width, height) if roi is None else roi
    check_inputs(vertices_camera, faces, intrinsics, (width, height), region)
    vertices = np.ascontiguousarray(vertices_camera, dtype=np.float64)
    triangles = np.ascontiguousarray(faces, dtype=np.int32)
    normals = area_weighted_normals(vertices, triangles) if vertex_normals is None else vertex_normals
    fixed, inverse_depth, drawable = project_to_subpixels(vertices, intrinsics, region, near_m)
    mesh = _Mesh(fixed, inverse_depth, drawable, triangles, np.ascontiguousarray(normals, dtype=np.float64))
    shape = (region.bottom - region.top, region.right - region.left)
    pixels = _Pixels(
        face_id=np.full(shape, -1, dtype=np.int32),
        depth=np.zeros(shape, dtype=np.float32),
        normal=np.zeros((*shape, 3), dtype=np.float32),
        barycentric=np.zeros((*shape, 3), dtype=np.float32),
    )
    dropped = _cover(mesh, pixels.face_id, np.zeros(shape))
    _shade(mesh, pixels)
    return Raster(region, *pixels, dropped=int(dropped))


def projected_roi(
    vertices_camera: Float[ndarray, "vertices 3"],
    intrinsics: Float[ndarray, "3 3"],
    width: int,
    height: int,
    *,
    margin_px: int = 1,
) -> Roi:
    """The smallest region of the image that holds the projected vertices and a margin; empty if none projects inside."""
    front = vertices_camera[vertices_camera[:, 2] > NEAR_M]
    if len(front) == 0:
        return Roi(0, 0, 0, 0)
    x = front[:, 0] / front[:, 2] * intrinsics[0, 0] + intrinsics[0, 2]
    y = front[:, 1] / front[:, 2] * intrinsics[1, 1] + intrinsics[1, 2]
    left, right = np.clip([np.floor(x.min()) - margin_px, np.ceil(x.max()) + margin_px], 0, width)
    top, bottom = np.clip([np.floor(y.min()) - margin_px, np.ceil(y.max()) + margin_px], 0, height)
    return Roi(int(left), int(top), int(right), int(bottom))


def check_inputs(vertices: ndarray, faces: ndarray, intrinsics: ndarray, size: tuple[int, int], roi: Roi) -> None:
    """Refuse what the kernels would read outside of an array.

    Raises:
        GeometryError: if a shape, an index, a coordinate or the region is not usable.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise GeometryError(f"z-buffer: expected (N, 3) vertices and faces, found {vertices.shape}, {faces.shape}.")
    if intrinsics.shape != (3, 3) or intrinsics[0, 1] != 0:
        raise GeometryError(f"z-buffer: expected a 3×3 K without skew, found {intrinsics.tolist()}.")
    if not np.isfinite(vertices).all() or not np.isfinite(intrinsics).all():
        raise GeometryError("z-buffer: expected finite vertices and K, found NaN or infinity.")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise GeometryError(
            f"z-buffer: expected face indices in 0..{len(vertices) - 1}, found {faces.min()}..{faces.max()}."
        )
    if max(size) > GUARD_PX:  # the integers of the edge functions would overflow
        raise GeometryError(f"z-buffer: expected an image of at most {GUARD_PX:.0f} px a side, found {size}.")
    if not (0 <= roi.left <= roi.right <= size[0] and 0 <= roi.top <= roi.bottom <= size[1]):
        raise GeometryError(f"z-buffer: expected a region inside {size[0]}×{size[1]} px, found {tuple(roi)}.")


def project_to_subpixels(
    vertices: Float[ndarray, "vertices 3"], intrinsics: Float[ndarray, "3 3"], roi: Roi, near_m: float
) -> tuple[ndarray, ndarray, ndarray]:
    """Vertices in 1/16,384 px from the region's first pixel centre (int64), their 1/z, and which may be drawn."""
    drawable = vertices[:, 2] > near_m
    inverse_depth = 1.0 / np.where(drawable, vertices[:, 2], 1.0)
    scale = intrinsics[[0, 1], [0, 1]]
    points_px = vertices[:, :2] * inverse_depth[:, None] * scale + intrinsics[:2, 2] - 0.5
    drawable &= np.abs(points_px).max(axis=1, initial=0.0) < GUARD_PX
    points_px = np.where(drawable[:, None], points_px, 0.0)
    # Rounded before the region's corner is subtracted, so that every region samples the same points.
    fixed = np.rint(points_px * SUBPIXELS).astype(np.int64) - np.array([roi.left, roi.top], dtype=np.int64) * SUBPIXELS
    return fixed, inverse_depth, drawable


@compiled
def _cover(mesh: _Mesh, face_id: ndarray, nearest: ndarray) -> int:
    """Fill `face_id` with the nearest triangle of each pixel; return how many triangles were left out."""
    fixed, inverse_depth, drawable, faces = mesh.fixed, mesh.inverse_depth, mesh.drawable, mesh.faces
    height, width = face_id.shape
    dropped = 0
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if not (drawable[a] and drawable[b] and drawable[c]):
            dropped += 1
            continue
        ax, ay, bx, by, cx, cy = fixed[a, 0], fixed[a, 1], fixed[b, 0], fixed[b, 1], fixed[c, 0], fixed[c, 1]
        first_x = max(-((-min(ax, bx, cx)) // SUBPIXELS), 0)
        last_x = min(max(ax, bx, cx) // SUBPIXELS, width - 1)
        first_y = max(-((-min(ay, by, cy)) // SUBPIXELS), 0)
        last_y = min(max(ay, by, cy) // SUBPIXELS, height - 1)
        if first_x > last_x or first_y > last_y:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        za, zb, zc = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        if area < 0:  # seen from behind: walk it the other way round
            area = -area
            bx, by, cx, cy = cx, cy, bx, by
            zb, zc = zc, zb
        # Edge functions at the first pixel, their steps, and the top-left rule as a bias of one unit.
        step_ax, step_ay = by - cy, cx - bx
        step_bx, step_by = cy - ay, ax - cx
        step_cx, step_cy = ay - by, bx - ax
        x, y = first_x * SUBPIXELS, first_y * SUBPIXELS
        row_a = step_ax * (x - bx) + step_ay * (y - by)
        row_b = step_bx * (x - cx) + step_by * (y - cy)
        row_c = step_cx * (x - ax) + step_cy * (y - ay)
        row_a -= 0 if step_ax > 0 or (step_ax == 0 and step_ay > 0) else 1
        row_b -= 0 if step_bx > 0 or (step_bx == 0 and step_by > 0) else 1
        row_c -= 0 if step_cx > 0 or (step_cx == 0 and step_cy > 0) else 1
        slope_b, slope_c = (zb - za) / area, (zc - za) / area
        for row in range(first_y, last_y + 1):
            edge_a, edge_b, edge_c = row_a, row_b, row_c
            for column in range(first_x, last_x + 1):
                if (edge_a | edge_b | edge_c) >= 0:
                    inverse = za + edge_b * slope_b + edge_c * slope_c
                    if inverse > nearest[row, column]:
                        nearest[row, column] = inverse
                        face_id[row, column] = face
                edge_a += step_ax * SUBPIXELS
                edge_b += step_bx * SUBPIXELS
                edge_c += step_cx * SUBPIXELS
            row_a += step_ay * SUBPIXELS
            row_b += step_by * SUBPIXELS
            row_c += step_cy * SUBPIXELS
    return dropped


@compiled
def _shade(mesh: _Mesh, pixels: _Pixels) -> None:
    """Fill depth, normal and barycentrics of the pixels that `face_id` gave a triangle."""
    fixed, inverse_depth, faces, normals = mesh.fixed, mesh.inverse_depth, mesh.faces, mesh.normals
    face_id, depth, normal, barycentric = pixels.face_id, pixels.depth, pixels.normal, pixels.barycentric
    height, width = face_id.shape
    for row in range(height):
        for column in range(width):
            face = face_id[row, column]
            if face < 0:
                continue
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            x, y = column * SUBPIXELS, row * SUBPIXELS
            ax, ay, bx, by, cx, cy = fixed[a, 0], fixed[a, 1], fixed[b, 0], fixed[b, 1], fixed[c, 0], fixed[c, 1]
            weight_a = float((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse_depth[a]
            weight_b = float((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse_depth[b]
            weight_c = float((ax - x) * (by - y) - (ay - y) * (bx - x)) * inverse_depth[c]
            area = float((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            total = weight_a + weight_b + weight_c
            depth[row, column] = area / total
            weight_a, weight_b, weight_c = weight_a / total, weight_b / total, weight_c / total
            nx = weight_a * normals[a, 0] + weight_b * normals[b, 0] + weight_c * normals[c, 0]
            ny = weight_a * normals[a, 1] + weight_b * normals[b, 1] + weight_c * normals[c, 1]
            nz = weight_a * normals[a, 2] + weight_b * normals[b, 2] + weight_c * normals[c, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if area > 0:  # seen from behind
                length = -length
            if length != 0:
                normal[row, column, 0] = nx / length
                normal[row, column, 1] = ny / length
                normal[row, column, 2] = nz / length
            barycentric[row, column, 0] = weight_a
            barycentric[row, column, 1] = weight_b
            barycentric[row, column, 2] = weight_c
