"""Cameras: the rig's own calibration, and ours.

Ours is a pinhole with OpenCV distortion. Pixel coordinates put integers at pixel **corners**: the centre of the
first pixel is (0.5, 0.5). `world_to_camera` maps metres in the rig's frame to metres in the camera's
(x right, y down, z forward).
"""

from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import CalibrationId, CameraId

Row3 = tuple[float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Turn = Literal[0, 90, 180, 270]


class PixelOrigin(StrEnum):
    """Where a calibration file puts the coordinates (0, 0)."""

    CORNER = "corner"
    CENTRE = "centre"


class TsaiCamera(BaseModel):
    """A `.tka` file, value for value: Tsai's model, distorted → undistorted in millimetres on the sensor.

    x_u = x_d (1 + K r_d² + K2 r_d⁴), r_d in mm from the principal point.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    raw_name: Annotated[str, Field(pattern=r"^\d{2}_[ABC]$", description="The rig's camera name, NN_A, NN_B or NN_C.")]
    rotation: Annotated[Matrix3, Field(description="R, world → camera, rows.")]
    centre_mm: Annotated[Row3, Field(description="Camera centre C in the world, mm; t = −R·C.")]
    focal_mm: Annotated[float, Field(gt=0, description="Focal length, mm.")]
    radial_k: Annotated[float, Field(description="Tsai K, mm⁻².")]
    radial_k2: Annotated[float, Field(description="Tsai K2, mm⁻⁴.")]
    scale: Annotated[float, Field(gt=0, description="Tsai's horizontal scale factor %S.")] = 1.0
    pixel_size_mm: Annotated[tuple[float, float], Field(description="Pixel pitch (x, y), mm.")]
    principal_point_px: Annotated[
        tuple[float, float], Field(description="Principal point (a, b), px, in the file's convention.")
    ]
    image_size_px: Annotated[tuple[int, int], Field(description="Width and height, px.")]
    skew: float = 0.0


class Distortion(BaseModel):
    """OpenCV's (k1, k2, p1, p2, k3), on normalised coordinates."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    def opencv(self) -> np.ndarray:
        """The coefficients in OpenCV's order, shape (5,)."""
        return np.array([self.k1, self.k2, self.p1, self.p2, self.k3])


class Camera(BaseModel):
    """One calibrated camera, in the orientation its images are stored in."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    camera_id: CameraId
    calibration_id: CalibrationId
    width: Annotated[int, Field(gt=0, description="Stored image width, px.")]
    height: Annotated[int, Field(gt=0, description="Stored image height, px.")]
    fx: Annotated[float, Field(gt=0, description="Focal length along x, px.")]
    fy: Annotated[float, Field(gt=0, description="Focal length along y, px.")]
    cx: Annotated[float, Field(description="Principal point x, px; integer coordinates at pixel corners.")]
    cy: Annotated[float, Field(description="Principal point y, px; integer coordinates at pixel corners.")]
    rotation: Annotated[Matrix3, Field(description="Rotation of world_to_camera, rows.")]
    translation: Annotated[Row3, Field(description="Translation of world_to_camera, metres.")]
    distortion: Annotated[Distortion, Field(description="Zero for released (undistorted) images.")] = Distortion()
    turn_deg: Annotated[
        Turn, Field(description="Clockwise turn applied to the rig's image to get the stored one, degrees.")
    ] = 0

    def intrinsics(self) -> np.ndarray:
        """K, shape (3, 3), pixel corners at integers."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def world_to_camera(self) -> np.ndarray:
        """[R|t; 0 0 0 1], shape (4, 4), metres."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation
        pose[:3, 3] = self.translation
        return pose

    def centre(self) -> np.ndarray:
        """Camera centre in the world, shape (3,), metres."""
        return -np.asarray(self.rotation).T @ np.asarray(self.translation)

    def projection(self) -> np.ndarray:
        """K [R|t], shape (3, 4): world metres to homogeneous pixels (before distortion)."""
        return self.intrinsics() @ self.world_to_camera()[:3]
