"""The projected contour against the edges of the image: how far apart, and which motion would bring them together."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from scipy.ndimage import maximum_filter1d

from palm_data.calibration.morphology import grown, shrunk

FULL_SIZE_PX = 2448
"""The image side that lengths in pixels are stated for."""
_REACH_PX = 48.0
_MIN_REACH_PX = 4.0
_MIN_POINTS = 20
_MAX_POINTS = 1500
_STEP_PX = 0.25
_ROUNDS = 12


@dataclass(frozen=True)
class ContourFit:
    """Distances from a projected contour to the image's edges, and what they have in common."""

    offset_px: float
    """Median of the distances."""
    shift_px: tuple[float, float]
    """Shift (x, y) of the image's edges against the contour."""
    roll_deg: float
    """Their turn about the contour's middle, clockwise in the image."""
    scale: float
    """Their size relative to the contour's."""
    radius_px: float
    """Root mean square distance of the contour from its middle."""

    @property
    def motion_px(self) -> float:
        """Root mean square of what shift, roll and scale move the contour by: the part a wrong camera explains."""
        return motion_px(self.shift_px, self.roll_deg, self.scale, self.radius_px)


def motion_px(shift_px: tuple[float, float], roll_deg: float, scale: float, radius_px: float) -> float:
    """Root mean square displacement of a contour of that radius under a small similarity motion about its middle."""
    return float(np.hypot(np.hypot(*shift_px), radius_px * np.hypot(np.radians(roll_deg), scale - 1.0)))


def edge_reach_px(width: int, height: int) -> float:
    """How far from a contour to look for the image's edge, at an image size."""
    return max(_REACH_PX * max(width, height) / FULL_SIZE_PX, _MIN_REACH_PX)


def fit_contour(
    image: UInt8[ndarray, "height width *channels"],
    hand_probability: Float32[ndarray, "height width"],
    projected: Bool[ndarray, "height width"],
    excluded: Bool[ndarray, "height width"],
    reach_px: float,
) -> ContourFit | None:
    """Compare the mask's outline with the image's edges along its normals; None if too little can be judged.

    Shift, roll and scale are the small similarity motion whose normal component fits the distances best, with
    Cauchy's weights, so that edges found elsewhere than on the hand count little.
    """
    points, normals = outline(projected, excluded, reach_px)
    if len(points) < _MIN_POINTS:
        return None
    distances, found = edge_distances(image, hand_probability, points, normals, reach_px)
    if np.count_nonzero(found) < _MIN_POINTS:
        return None
    points, normals, distances = points[found], normals[found], distances[found]
    from_middle = points - points.mean(axis=0)
    turning = np.stack([-from_middle[:, 1], from_middle[:, 0]], axis=1)
    design = np.stack(
        [normals[:, 0], normals[:, 1], (normals * turning).sum(axis=1), (normals * from_middle).sum(axis=1)], axis=1
    )
    motion = _robust_fit(design, distances)
    return ContourFit(
        offset_px=float(np.median(np.abs(distances))),
        shift_px=(float(motion[0]), float(motion[1])),
        roll_deg=float(np.degrees(motion[2])),
        scale=float(1.0 + motion[3]),
        radius_px=float(np.sqrt((from_middle**2).sum(axis=1).mean())),
    )


def edge_distances(
    image: UInt8[ndarray, "height width *channels"],
    hand_probability: Float32[ndarray, "height width"],
    points: Float[ndarray, "points 2"],
    normals: Float[ndarray, "points 2"],
    reach_px: float,
) -> tuple[Float[ndarray, " points"], Bool[ndarray, " points"]]:
    """Signed distance along each normal to where the hand ends, to a fraction of a pixel; and where an end was found.

    That is the strongest edge of the image, weighted by how much less likely hand is beyond it than before it: a
    shadow on the hand is an edge too, and so is the next finger. Points are (x, y) with integers at pixel centres.
    """
    steps = np.arange(-reach_px - 1.0, reach_px + 1.0 + 1e-9, _STEP_PX)
    sampled = points[:, None] + steps[:, None] * normals[:, None]
    x, y = (np.ascontiguousarray(sampled[..., axis], dtype=np.float32) for axis in (0, 1))
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(0.7, reach_px / 24.0))
    profiles = cv2.remap(smooth, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).reshape(*x.shape, -1)
    likely = cv2.remap(hand_probability, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    near, far = round(0.5 / _STEP_PX), round(1.0 / _STEP_PX)
    count = len(steps)
    middle = slice(far, count - far)
    rise = profiles[:, far + near : count - far + near] - profiles[:, far - near : count - far - near]
    ending = np.maximum(likely[:, : -2 * far] - likely[:, 2 * far :], 0.0)
    # The probability says which edge, the image where: its drop counts for a pixel around, or it would pull the maximum.
    score = np.linalg.norm(rise, axis=-1) * maximum_filter1d(ending, 2 * far + 1, axis=1)
    return steps[middle][np.argmax(score, axis=1)], score.max(axis=1) > 0


def outline(
    projected: Bool[ndarray, "height width"], excluded: Bool[ndarray, "height width"], reach_px: float
) -> tuple[Float[ndarray, "points 2"], Float[ndarray, "points 2"]]:
    """Points on the mask's outline (x, y; integers at pixel centres) and the outward unit normals there.

    Left out: what is nearer to an excluded pixel or to the frame than the reach, and tips and crotches, which have
    no one normal.
    """
    away = cv2.distanceTransform((~projected).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(projected.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    smooth = cv2.GaussianBlur(away - inside, (0, 0), 1.5)
    rim = projected & ~shrunk(projected, 1.0) & ~grown(excluded, reach_px)
    border = int(np.ceil(reach_px)) + 2
    rim[:border], rim[-border:], rim[:, :border], rim[:, -border:] = False, False, False, False
    rows, columns = np.nonzero(rim)
    every = max(1, len(rows) // _MAX_POINTS)
    rows, columns = rows[::every], columns[::every]
    gradient = np.stack(
        [smooth[rows, columns + 1] - smooth[rows, columns - 1], smooth[rows + 1, columns] - smooth[rows - 1, columns]],
        axis=1,
    )
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    clear = length[:, 0] > 1.0  # two on a straight outline
    normals = gradient[clear] / length[clear]
    # The outermost pixels of the mask lie half a pixel inside its outline.
    return np.stack([columns, rows], axis=1)[clear] + 0.5 * normals, normals


def _robust_fit(design: Float[ndarray, "points 4"], distances: Float[ndarray, " points"]) -> Float[ndarray, "4"]:
    """Least squares with Cauchy's weights, the scale taken from the residuals' median."""
    size = np.abs(design).max(axis=0) + 1e-12
    weights = np.ones(len(distances))
    motion = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        rooted = np.sqrt(weights)
        motion = np.linalg.lstsq(design / size * rooted[:, None], distances * rooted, rcond=None)[0] / size
        residual = np.abs(distances - design @ motion)
        weights = 1.0 / (1.0 + (residual / (1.48 * np.median(residual) + 0.1)) ** 2)
    return motion
