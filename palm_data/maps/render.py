"""A scan's surface as one of our cameras sees it, with or without the lens's distortion."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.camera.pinhole import project
from palm_data.maps.surface import Surface
from palm_data.maps.zbuffer import Raster, projected_roi, rasterize
from schemas.camera import Camera, Distortion


def render_surface(surface: Surface, camera: Camera) -> Raster:
    """Depth, normals and triangle ids over the part of the image that the surface projects to.

    The raster covers its own region only; place it with `raster.roi.slices`. The camera's distortion is ignored:
    this is the picture of `undistorted(camera)`.
    """
    pose, intrinsics = camera.world_to_camera(), camera.intrinsics()
    in_camera = surface.vertices @ pose[:3, :3].T + pose[:3, 3]
    roi = projected_roi(in_camera, intrinsics, camera.width, camera.height)
    normals = surface.normals @ pose[:3, :3].T
    return rasterize(in_camera, surface.faces, intrinsics, camera.width, camera.height, roi=roi, vertex_normals=normals)


def project_mask(surface: Surface, camera: Camera) -> Bool[ndarray, "height width"]:
    """Where the surface lies in the camera's image, distorted as the lens does it.

    Each vertex is distorted exactly; edges between them stay straight, which at a scan's density is far below a pixel.
    """
    mask = np.zeros((camera.height, camera.width), dtype=bool)
    bent = _bent(surface.vertices, camera)
    intrinsics = camera.intrinsics()
    roi = projected_roi(bent, intrinsics, camera.width, camera.height)
    raster = rasterize(
        bent, surface.faces, intrinsics, camera.width, camera.height, roi=roi, vertex_normals=surface.normals
    )
    mask[roi.slices] = raster.face_id >= 0
    return mask


def _bent(vertices: Float[ndarray, "vertices 3"], camera: Camera) -> Float[ndarray, "vertices 3"]:
    """Points (camera axes, metres) that a pinhole sees where the distorting camera sees the vertices.

    A vertex without an image is put at the camera's centre, where the z-buffer leaves it out.
    """
    if camera.distortion == Distortion():
        pose = camera.world_to_camera()
        return vertices @ pose[:3, :3].T + pose[:3, 3]
    points_px, depth = project(camera, vertices)
    rays = (points_px - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    return np.nan_to_num(np.concatenate([rays * depth[:, None], depth[:, None]], axis=1) * _seen(points_px))


def _seen(points_px: Float[ndarray, "vertices 2"]) -> Float[ndarray, "vertices 1"]:
    return np.isfinite(points_px).all(axis=1, keepdims=True).astype(np.float64)
