"""The true skin as a camera sees it: which pixels show the hand, with which albedo, normal and depth."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from palm_data.maps.surface import vertex_normals
from palm_data.maps.zbuffer import Raster, rasterize
from schemas.camera import Camera

_HAND = 0
"""The hand's number in the true surface's `part`."""


@dataclass(frozen=True, eq=False)
class Skin:
    """What is true of the hand's skin at each pixel; 0 where none is seen."""

    seen: Bool[ndarray, "height width"]
    albedo: Float32[ndarray, "height width 3"]
    normal: Float32[ndarray, "height width 3"]
    depth: Float32[ndarray, "height width"]


def look_at_skin(
    surface: dict[str, ndarray], albedo: Float[ndarray, "size size 3"], camera: Camera, supersample: int
) -> Skin:
    """The skin of the hand in one view; the forearm hides what is behind it and is not shown.

    Albedo and normal are means over supersample² places of each pixel, those of them that show the hand.

    Args:
        surface: a capture's `surface.npz`.
        albedo: linear, row 0 is v = 1.
        camera: without distortion.
    """
    factor = supersample
    fine = rendered(surface["vertices"], surface["faces"], camera, factor)
    on_hand = (fine.face_id >= 0) & (surface["part"][fine.face_id] == _HAND)
    centre = rendered(surface["vertices"], surface["faces"], camera, 1)
    seen = (centre.face_id >= 0) & (surface["part"][centre.face_id] == _HAND)
    weight = pooled(on_hand[..., None].astype(np.float32), factor)
    colour = np.zeros((*on_hand.shape, 3), np.float32)
    colour[on_hand] = _texels(surface, albedo, fine, on_hand)
    normal = np.where(on_hand[..., None], fine.normal @ np.asarray(camera.rotation, np.float32), 0.0)
    mean_normal = pooled(normal.astype(np.float32), factor)
    length = np.linalg.norm(mean_normal, axis=2, keepdims=True)
    inside = seen[..., None] & (weight > 0)
    return Skin(
        seen=inside[..., 0],
        albedo=np.where(inside, pooled(colour, factor) / np.maximum(weight, 1e-9), 0.0).astype(np.float32),
        normal=np.where(inside, mean_normal / np.maximum(length, 1e-9), 0.0).astype(np.float32),
        depth=np.where(inside[..., 0], centre.depth, 0.0).astype(np.float32),
    )


def rendered(
    vertices: Float[ndarray, "v 3"], faces: ndarray, camera: Camera, factor: int = 1, normals: ndarray | None = None
) -> Raster:
    """The z-buffer of a mesh (world, metres) in the whole image of an undistorted camera, `factor` times as fine."""
    pose, intrinsics = camera.world_to_camera(), camera.intrinsics()
    intrinsics[:2] *= factor
    turned = vertex_normals(vertices, faces) if normals is None else normals
    return rasterize(
        np.asarray(vertices, np.float64) @ pose[:3, :3].T + pose[:3, 3], faces, intrinsics,
        camera.width * factor, camera.height * factor, vertex_normals=turned @ pose[:3, :3].T,
    )  # fmt: skip


def _texels(surface: dict[str, ndarray], image: ndarray, raster: Raster, where: ndarray) -> Float[ndarray, "n 3"]:
    """The texture at the places seen, bilinear."""
    corners = surface["uv"][surface["uv_faces"][raster.face_id[where]]]
    uv = np.einsum("nc,nci->ni", raster.barycentric[where], corners)
    height, width = image.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1.0 - uv[:, 1]) * height - 0.5
    source, found = np.ascontiguousarray(image, np.float32), np.empty((len(uv), 3), np.float32)
    step = 16_384  # cv2.remap takes pictures of fewer than 32,768 px a side
    for start in range(0, len(uv), step):
        part = slice(start, start + step)
        columns, rows = (one[part, None].astype(np.float32) for one in (x, y))
        found[part] = cv2.remap(source, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return found


def pooled(image: Float32[ndarray, "fine_height fine_width channels"], factor: int) -> ndarray:
    """Means over squares of factor² pixels."""
    height, width, channels = image.shape
    return image.reshape(height // factor, factor, width // factor, factor, channels).mean(axis=(1, 3))
