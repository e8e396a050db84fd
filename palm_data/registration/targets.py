"""What a frame is fitted to."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

from palm_data.maps.surface import Surface


@dataclass(frozen=True)
class FrameTarget:
    """One capture's measurements. Detections and cameras are undistorted; metres and pixels."""

    scan: Surface
    keypoints: Float[ndarray, "21 3"]
    """Triangulated joints; NaN = missing."""
    keypoint_covariance: Float[ndarray, "21 3 3"]
    """m²; NaN = missing."""
    detections_px: Float[ndarray, "views 21 2"]
    confidence: Float[ndarray, "views 21"]
    """0 = not detected, or not agreed on by the other views."""
    intrinsics: Float[ndarray, "views 3 3"]
    world_to_camera: Float[ndarray, "views 4 4"]
    seed: int
    """Chooses the scan points that are compared; the frame number will do."""
