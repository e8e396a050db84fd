"""The readable twin of the z-buffer's compiled kernels: the same rules in plain numpy, one triangle at a time."""

import numpy as np
from jaxtyping import Float, Integer
from numpy import ndarray

from palm_data.maps.surface import vertex_normals as area_weighted_normals
from palm_data.maps.zbuffer import NEAR_M, SUBPIXELS, Raster, Roi, check_inputs, project_to_subpixels


def rasterize_reference(
    vertices_camera: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    intrinsics: Float[ndarray, "3 3"],
    width: int,
    height: int,
    *,
    roi: Roi | None = None,
) -> Raster:
    """What `rasterize` gives, slowly.

    Raises:
        GeometryError: if a shape, an index, a coordinate or the region is not usable.
    """
    region = Roi(0, 0, width, height) if roi is None else roi
    check_inputs(vertices_camera, faces, intrinsics, (width, height), region)
    triangles = faces.astype(np.int32)
    normals = area_weighted_normals(vertices_camera, triangles)
    fixed, inverse_depth, drawable = project_to_subpixels(vertices_camera, intrinsics, region, NEAR_M)
    rows, columns = region.bottom - region.top, region.right - region.left
    samples = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) * SUBPIXELS
    face_id = np.full((rows, columns), -1, dtype=np.int32)
    nearest = np.zeros((rows, columns))
    dropped = 0
    for face, corners in enumerate(triangles):
        if not drawable[corners].all():
            dropped += 1
            continue
        inside, inverse = _covered(samples, fixed[corners], inverse_depth[corners])
        wins = inside & (inverse > nearest)
        face_id[wins] = face
        nearest[wins] = inverse[wins]
    seen = face_id >= 0
    barycentric = np.zeros((rows, columns, 3))
    depth = np.zeros((rows, columns))
    winners = triangles[face_id[seen]]
    barycentric[seen], depth[seen] = _weights(samples[seen], fixed[winners], inverse_depth[winners])
    normal = np.zeros((rows, columns, 3))
    normal[seen] = np.einsum("pc,pcx->px", barycentric[seen], normals[winners]) * _side(fixed[winners])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    return Raster(
        roi=region,
        face_id=face_id,
        depth=depth.astype(np.float32),
        normal=normal.astype(np.float32),
        barycentric=barycentric.astype(np.float32),
        dropped=dropped,
    )


def _cross(u: ndarray, v: ndarray) -> ndarray:
    return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])


def _covered(
    samples: Integer[ndarray, "rows columns 2"], corners: Integer[ndarray, "3 2"], inverse_depth: Float[ndarray, " 3"]
) -> tuple[ndarray, ndarray]:
    """Which samples the triangle covers, and its 1/z there."""
    area = int(_cross(corners[1] - corners[0], corners[2] - corners[0]))
    if area == 0:
        return np.zeros(samples.shape[:2], dtype=bool), np.zeros(samples.shape[:2])
    if area < 0:
        corners, inverse_depth, area = corners[[0, 2, 1]], inverse_depth[[0, 2, 1]], -area
    edges = []
    for start, end in ((1, 2), (2, 0), (0, 1)):
        direction = corners[end] - corners[start]
        owns_edge = direction[1] < 0 or (direction[1] == 0 and direction[0] > 0)
        edges.append(_cross(direction, samples - corners[start]) - (0 if owns_edge else 1))
    slope_b, slope_c = (inverse_depth[1] - inverse_depth[0]) / area, (inverse_depth[2] - inverse_depth[0]) / area
    inside = (edges[0] >= 0) & (edges[1] >= 0) & (edges[2] >= 0)
    return inside, inverse_depth[0] + edges[1] * slope_b + edges[2] * slope_c


def _side(corners: Integer[ndarray, "pixels 3 2"]) -> Float[ndarray, "pixels 1"]:
    """1 where the triangle is seen from its front, -1 from behind."""
    return -np.sign(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))[:, None].astype(np.float64)


def _weights(
    samples: Integer[ndarray, "pixels 2"],
    corners: Integer[ndarray, "pixels 3 2"],
    inverse_depth: Float[ndarray, "pixels 3"],
) -> tuple[ndarray, ndarray]:
    """Perspective-correct barycentrics and depth: linear in 1/z on the image, weighted back."""
    towards = corners - samples[:, None]
    weights = np.stack([_cross(towards[:, i], towards[:, j]) for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)
    scaled = weights * inverse_depth
    total = scaled.sum(axis=1, keepdims=True)
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return scaled / total, area / total[:, 0]
