"""Our camera at work: projection with OpenCV distortion, rays of pixels, undistortion of points and images.

Integer pixel coordinates are pixel corners. OpenCV's image functions put integers at centres; `undistortion_maps`
is where the half pixel is given.
"""

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.camera.fold import smallest_positive_root
from schemas.camera import Camera, Distortion
from schemas.errors import GeometryError

_UNDISTORT_STEPS = 20
_UNDISTORT_TOLERANCE = 1e-12
_ROWS_AT_ONCE = 16


def _distort(points: ndarray, distortion: Distortion) -> ndarray:
    """OpenCV's forward model on normalised coordinates (n, 2)."""
    x, y = points[:, 0], points[:, 1]
    squared = x * x + y * y
    radial = 1.0 + squared * (distortion.k1 + squared * (distortion.k2 + squared * distortion.k3))
    shift_x = 2.0 * distortion.p1 * x * y + distortion.p2 * (squared + 2.0 * x * x)
    shift_y = distortion.p1 * (squared + 2.0 * y * y) + 2.0 * distortion.p2 * x * y
    return np.stack([x * radial + shift_x, y * radial + shift_y], axis=1)


def _fold_radius(distortion: Distortion) -> float:
    """The radius at which r (1 + k1 r² + k2 r⁴ + k3 r⁶) stops growing; infinite if it never does."""
    return smallest_positive_root([7.0 * distortion.k3, 5.0 * distortion.k2, 3.0 * distortion.k1, 1.0]) ** 0.5


def project(camera: Camera, points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n 2"], Float[ndarray, "n"]]:
    """Pixels and depths (m) of world points (m); pixels are NaN where a point has no image.

    Points at or behind the camera's plane have none, nor have those past the radius at which the distortion folds
    back (the polynomial would put them inside the frame). Depth is always given.
    """
    pose = camera.world_to_camera()
    in_camera = np.asarray(points, dtype=np.float64) @ pose[:3, :3].T + pose[:3, 3]
    depth = in_camera[:, 2]
    normalised = in_camera[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
    if camera.distortion != Distortion():
        fold = _fold_radius(camera.distortion)
        folded = ~((normalised**2).sum(axis=1) < fold**2)
        normalised = _distort(normalised, camera.distortion)
        normalised[folded] = np.nan
    return normalised * (camera.fx, camera.fy) + (camera.cx, camera.cy), depth


def undistorted(camera: Camera) -> Camera:
    """The camera of the undistorted image: same K, size and pose, no distortion."""
    return camera.model_copy(update={"distortion": Distortion()})


def undistort_points(camera: Camera, points_px: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
    """Undistorted normalised coordinates (x/z, y/z) of pixels of the distorted image.

    Newton's method on OpenCV's forward model, to 1e-12.

    Raises:
        GeometryError: if a pixel has no undistorted position (the distortion folds before it).
    """
    target = (np.asarray(points_px, dtype=np.float64) - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    distortion = camera.distortion
    if distortion == Distortion():
        return target
    points = target.copy()
    for _ in range(_UNDISTORT_STEPS):
        error = _distort(points, distortion) - target
        if np.abs(error).max(initial=0.0) < _UNDISTORT_TOLERANCE:
            return points
        points = points - _solve(_distort_jacobian(points, distortion), error)
    raise GeometryError(
        f"camera {camera.camera_id}: expected a distortion that can be undone over the given pixels, found {distortion}."
    )


def _distort_jacobian(points: ndarray, distortion: Distortion) -> tuple[ndarray, ndarray, ndarray]:
    """Derivatives of the forward model: ∂x_d/∂x, ∂x_d/∂y = ∂y_d/∂x, ∂y_d/∂y."""
    x, y = points[:, 0], points[:, 1]
    squared = x * x + y * y
    radial = 1.0 + squared * (distortion.k1 + squared * (distortion.k2 + squared * distortion.k3))
    slope = 2.0 * (distortion.k1 + squared * (2.0 * distortion.k2 + squared * 3.0 * distortion.k3))
    xx = radial + x * x * slope + 2.0 * distortion.p1 * y + 6.0 * distortion.p2 * x
    xy = x * y * slope + 2.0 * distortion.p1 * x + 2.0 * distortion.p2 * y
    yy = radial + y * y * slope + 6.0 * distortion.p1 * y + 2.0 * distortion.p2 * x
    return xx, xy, yy


def _solve(jacobian: tuple[ndarray, ndarray, ndarray], error: ndarray) -> ndarray:
    """Solve the symmetric 2×2 systems, one a point."""
    xx, xy, yy = jacobian
    determinant = xx * yy - xy * xy
    determinant = np.where(np.abs(determinant) > 1e-12, determinant, 1.0)
    x = (yy * error[:, 0] - xy * error[:, 1]) / determinant
    y = (xx * error[:, 1] - xy * error[:, 0]) / determinant
    return np.stack([x, y], axis=1)


def _pixel_centres(camera: Camera) -> Float[ndarray, "hw 2"]:
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def pixel_rays(camera: Camera) -> tuple[Float[ndarray, "3"], Float[ndarray, "h w 3"]]:
    """The camera's centre (m) and the unit direction through each pixel's centre, in the world.

    Raises:
        GeometryError: if the distortion cannot be undone over the frame.
    """
    normalised = undistort_points(camera, _pixel_centres(camera))
    in_camera = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)
    directions = in_camera @ np.asarray(camera.rotation)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return camera.centre(), directions.reshape(camera.height, camera.width, 3)


def undistortion_maps(camera: Camera) -> tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]]:
    """Where each pixel of the undistorted image lies in the distorted one, for `cv2.remap` (float32, centres at
    integers). Worth keeping when a camera has many images.
    """
    map_x = np.empty((camera.height, camera.width), dtype=np.float32)
    map_y = np.empty_like(map_x)
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    for top in range(0, camera.height, _ROWS_AT_ONCE):  # few enough to stay in the processor's cache
        rows = slice(top, min(top + _ROWS_AT_ONCE, camera.height))
        y = (np.arange(rows.start, rows.stop) + 0.5 - camera.cy) / camera.fy
        points = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
        distorted = _distort(points, camera.distortion).reshape(len(y), camera.width, 2)
        map_x[rows] = distorted[..., 0] * camera.fx + (camera.cx - 0.5)
        map_y[rows] = distorted[..., 1] * camera.fy + (camera.cy - 0.5)
    return map_x, map_y


def undistort_image(
    image: ndarray, camera: Camera, maps: tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]] | None = None
) -> ndarray:
    """The image (H, W) or (H, W, C) as `undistorted(camera)` sees it: same size, same K, full frame.

    Lanczos interpolation over 8×8 pixels; pixels whose source lies outside the distorted image are 0. Without
    distortion the pixels come back unchanged. `docs/undistortion.md` says why, and what it costs.

    Args:
        maps: `undistortion_maps(camera)`, if the caller kept them.

    Raises:
        GeometryError: if the image is not of the camera's size.
    """
    if image.shape[:2] != (camera.height, camera.width):
        raise GeometryError(
            f"camera {camera.camera_id}: expected an image of {camera.width}×{camera.height}, "
            f"found {image.shape[1]}×{image.shape[0]}."
        )
    if camera.distortion == Distortion():
        return image.copy()
    map_x, map_y = undistortion_maps(camera) if maps is None else maps
    # Replicated borders keep the outermost pixels from fading into black; what lies outside is cut off after.
    turned_back = cv2.remap(image, map_x, map_y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    inside = (map_x >= -0.5) & (map_x <= camera.width - 0.5) & (map_y >= -0.5) & (map_y <= camera.height - 0.5)
    turned_back[~inside] = 0
    return turned_back
