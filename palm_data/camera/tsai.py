"""Tsai's camera, as `.tka` files state it, exactly; and its conversion to ours.

On the sensor, in millimetres from the principal point: x_u = x_d (1 + K r_d² + K2 r_d⁴), from distorted to
undistorted. On normalised coordinates the coefficients become k1 = K f², k2 = K2 f⁴. OpenCV's model goes the other
way, so its coefficients are fitted, not copied.

R. Y. Tsai, "A versatile camera calibration technique…", IEEE J. Robotics and Automation 3(4), 1987.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.camera.fold import smallest_positive_root
from schemas.camera import Camera, Distortion, PixelOrigin, Row3, TsaiCamera
from schemas.errors import BadInputError, GeometryError
from schemas.ids import CalibrationId, CameraId

MAX_FIT_ERROR_PX = 0.05
_FIT_RADII = 512
_NEWTON_STEPS = 12
_RANGES = {
    "centre_mm": (0.0, 1e7), "focal_mm": (0.1, 1e4), "pixel_size_mm": (1e-5, 10.0), "scale": (0.01, 100.0),
    "principal_point_px": (0.0, 1e6), "radial_k": (0.0, 1e6), "radial_k2": (0.0, 1e6),
}  # fmt: skip
"""Magnitudes far beyond any lens and sensor, which still leave all arithmetic finite."""


def _coefficients(camera: TsaiCamera) -> tuple[float, float]:
    """K and K2 on normalised coordinates."""
    return camera.radial_k * camera.focal_mm**2, camera.radial_k2 * camera.focal_mm**4


def _no_skew(camera: TsaiCamera) -> None:
    if camera.skew != 0:
        raise BadInputError(
            f"{camera.raw_name}.tka",
            field="%c",
            expected="0 (the format does not say in which unit skew is)",
            found=camera.skew,
        )


def _plausible(camera: TsaiCamera) -> None:
    """Refuse what no camera has, so that what is computed from it stays finite.

    Raises:
        GeometryError: if a value is out of its range.
    """
    for name, (least, most) in _RANGES.items():
        values = np.abs(np.ravel(getattr(camera, name)))
        if not ((values >= least) & (values <= most)).all():
            raise GeometryError(
                f"{camera.raw_name}.tka: {name}: expected magnitudes from {least:g} to "
                f"{most:g}, found {getattr(camera, name)}. Export the calibration from the rig again."
            )


def _focal_px(camera: TsaiCamera) -> tuple[float, float]:
    pitch_x, pitch_y = camera.pixel_size_mm
    return camera.scale * camera.focal_mm / pitch_x, camera.focal_mm / pitch_y


def _principal_point_px(camera: TsaiCamera, origin: PixelOrigin) -> tuple[float, float]:
    """The principal point with integers at pixel corners."""
    shift = 0.5 if origin is PixelOrigin.CENTRE else 0.0
    a, b = camera.principal_point_px
    return a + shift, b + shift


def _undistorted_radius(radius: ndarray, k1: float, k2: float) -> ndarray:
    squared = radius * radius
    return radius * (1.0 + squared * (k1 + squared * k2))


def _fold_radius(k1: float, k2: float) -> float:
    """The distorted radius at which r (1 + k1 r² + k2 r⁴) stops growing; infinite if it never does."""
    return smallest_positive_root([5.0 * k2, 3.0 * k1, 1.0]) ** 0.5


def _distorted_radius(radius: ndarray, k1: float, k2: float) -> ndarray:
    """The r_d whose undistorted radius is `radius`; NaN past the fold.

    Newton from below or above inside the monotone branch, kept there by bisection bounds.
    """
    fold = _fold_radius(k1, k2)
    top = np.inf if np.isinf(fold) else float(_undistorted_radius(np.array([fold]), k1, k2)[0])
    inside = radius < top
    target = np.where(inside, radius, 0.0)
    low = np.zeros_like(target)
    high = np.full_like(target, fold) if np.isfinite(fold) else np.maximum(2.0 * target, 1.0)
    while np.isinf(fold) and (_undistorted_radius(high, k1, k2) < target).any():
        high = high * 2.0
    value = np.minimum(target, 0.5 * (low + high))
    for _ in range(60 if np.isfinite(fold) else _NEWTON_STEPS * 5):
        error = _undistorted_radius(value, k1, k2) - target
        low, high = np.where(error <= 0, value, low), np.where(error > 0, value, high)
        squared = value * value
        slope = 1.0 + squared * (3.0 * k1 + 5.0 * k2 * squared)
        step = value - error / np.where(np.abs(slope) > 1e-12, slope, 1.0)
        following = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        if np.abs(following - value).max(initial=0.0) < 1e-15:
            value = following
            break
        value = following
    return np.where(inside, value, np.nan)


def project_tsai(
    camera: TsaiCamera, points_m: Float[ndarray, "n 3"], origin: PixelOrigin = PixelOrigin.CORNER
) -> Float[ndarray, "n 2"]:
    """Project world points (m) to pixels of the raw image, integers at pixel corners; NaN for points without image.

    A point behind the camera has no image, and neither has one past the radius at which the distortion folds back.

    Args:
        origin: where the calibration puts (0, 0).

    Raises:
        BadInputError: if the camera has skew.
    """
    _no_skew(camera)
    centre_m = np.asarray(camera.centre_mm) / 1000.0
    in_camera = (np.asarray(points_m, dtype=np.float64) - centre_m) @ np.asarray(camera.rotation).T
    depth = np.where(in_camera[:, 2] > 0, in_camera[:, 2], np.nan)
    undistorted = in_camera[:, :2] / depth[:, None]
    radius = np.linalg.norm(undistorted, axis=1)
    seen = np.isfinite(radius)
    ratio = np.full(radius.shape, np.nan)
    distorted_radius = _distorted_radius(radius[seen], *_coefficients(camera))
    ratio[seen] = np.where(radius[seen] > 0, distorted_radius / np.where(radius[seen] > 0, radius[seen], 1.0), 1.0)
    return undistorted * ratio[:, None] * _focal_px(camera) + _principal_point_px(camera, origin)


def undistort_tsai_points(
    camera: TsaiCamera, points_px: Float[ndarray, "n 2"], origin: PixelOrigin = PixelOrigin.CORNER
) -> Float[ndarray, "n 2"]:
    """Undistorted normalised coordinates (x/z, y/z) of pixels of the raw image, integers at pixel corners.

    Raises:
        BadInputError: if the camera has skew.
    """
    _no_skew(camera)
    distorted = (np.asarray(points_px, dtype=np.float64) - _principal_point_px(camera, origin)) / _focal_px(camera)
    k1, k2 = _coefficients(camera)
    squared = (distorted**2).sum(axis=1, keepdims=True)
    return distorted * (1.0 + squared * (k1 + squared * k2))


def _frame_radius(camera: TsaiCamera, origin: PixelOrigin) -> float:
    """Distorted radius, normalised, of the frame's farthest corner."""
    width, height = camera.image_size_px
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    distorted = (corners - _principal_point_px(camera, origin)) / _focal_px(camera)
    return float(np.linalg.norm(distorted, axis=1).max())


def _fit_distortion(camera: TsaiCamera, origin: PixelOrigin) -> Distortion:
    """OpenCV's k1, k2, k3 whose forward model inverts Tsai's over the frame, least squares in pixels.

    Raises:
        GeometryError: if the Tsai polynomial folds inside the frame, or no coefficients come close enough.
    """
    k1, k2 = _coefficients(camera)
    limit = _frame_radius(camera, origin)
    if _fold_radius(k1, k2) <= limit:
        raise GeometryError(
            f"{camera.raw_name}.tka: expected a distortion that grows over the frame, found K={camera.radial_k}, "
            f"K2={camera.radial_k2}, which folds at {_fold_radius(k1, k2) / limit:.2f} of the frame's radius."
        )
    distorted = np.linspace(0.0, limit, _FIT_RADII + 1)[1:]
    undistorted = _undistorted_radius(distorted, k1, k2)
    reach = undistorted[-1]  # powers of radii up to 1 keep the system well conditioned
    unit = undistorted / reach
    powers = unit[:, None] ** np.array([3, 5, 7])
    scale_px = max(_focal_px(camera))
    weights = np.ones(_FIT_RADII)
    solution = np.zeros(3)
    for _ in range(20):  # Lawson's weights pull the least-squares fit towards the least maximum
        rooted = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(powers * rooted, (distorted - undistorted) * rooted[:, 0], rcond=None)[0]
        error = np.abs(undistorted + powers @ solution - distorted) * scale_px
        if error.max() < 1e-9:
            break
        weights = weights * error
        weights = weights / weights.mean()
    worst = float(error.max())
    if worst > MAX_FIT_ERROR_PX:
        raise GeometryError(
            f"{camera.raw_name}.tka: expected a distortion that OpenCV's k1, k2, k3 follow within {MAX_FIT_ERROR_PX} px, "
            f"found {worst:.3g} px (K={camera.radial_k}, K2={camera.radial_k2})."
        )
    fitted = solution / reach ** np.array([3, 5, 7])
    return Distortion(k1=float(fitted[0]), k2=float(fitted[1]), k3=float(fitted[2]))


def camera_from_tsai(
    tsai: TsaiCamera, *, camera_id: CameraId, calibration_id: CalibrationId, origin: PixelOrigin = PixelOrigin.CORNER
) -> Camera:
    """Our camera for the rig's, in the raw orientation; the two agree within 0.05 px over the whole frame.

    Raises:
        BadInputError: if the camera has skew.
        GeometryError: if a value is beyond any lens or sensor, or OpenCV's model cannot follow the distortion.
    """
    _no_skew(tsai)
    _plausible(tsai)
    fx, fy = _focal_px(tsai)
    cx, cy = _principal_point_px(tsai, origin)
    x, y, z = -np.asarray(tsai.rotation) @ (np.asarray(tsai.centre_mm) / 1000.0)
    translation: Row3 = (float(x), float(y), float(z))
    width, height = tsai.image_size_px
    return Camera(
        camera_id=camera_id,
        calibration_id=calibration_id,
        width=width,
        height=height,
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        rotation=tsai.rotation,
        translation=translation,
        distortion=_fit_distortion(tsai, origin),
    )
