"""What a fit solves for, and the settings of its phases."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from palm_data.hand.model import POSE_SIZE, SHAPE_COMPONENTS

ORIENT = slice(0, 3)
POSE = slice(3, 3 + POSE_SIZE)
TRANSL = slice(POSE.stop, POSE.stop + 3)
FRAME_SIZE = TRANSL.stop
SHAPE = slice(FRAME_SIZE, FRAME_SIZE + SHAPE_COMPONENTS)
TOTAL_SIZE = SHAPE.stop


@dataclass(frozen=True)
class HandFit:
    """A subject's shape and the pose of each of some frames."""

    betas: Float[ndarray, "10"]
    frames: Float[ndarray, "frames 51"]
    """global_orient (3), hand_pose (45) and transl (3), radians and metres; flat_hand_mean = False."""
    objective: Float[ndarray, " frames"]
    """Value of the last phase's objective per frame, mm²."""

    @property
    def global_orient(self) -> Float[ndarray, "frames 3"]:
        """Axis-angle about the rest wrist joint, radians."""
        return self.frames[:, ORIENT]

    @property
    def hand_pose(self) -> Float[ndarray, "frames 45"]:
        """Axis-angle offsets from the model's mean pose, radians."""
        return self.frames[:, POSE]

    @property
    def transl(self) -> Float[ndarray, "frames 3"]:
        """Metres, added after posing."""
        return self.frames[:, TRANSL]


class Phase(BaseModel):
    """One leg of the optimisation: how often, with which weights, how forgiving."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: Annotated[int, Field(gt=0, description="Levenberg–Marquardt steps.")]
    gate_mm: Annotated[float, Field(gt=0, description="Geman–McClure scale of surface distances, mm.")] = 10.0
    keypoints_3d: Annotated[float, Field(ge=0, description="Weight of joints against triangulated keypoints.")] = 0.0
    keypoints_2d: Annotated[float, Field(ge=0, description="Weight of reprojected joints against detections.")] = 0.0
    model_to_scan: Annotated[
        float, Field(ge=0, description="Weight of vertices against their closest scan points.")
    ] = 0.0
    scan_to_model: Annotated[
        float, Field(ge=0, description="Weight of scan points against their closest model points.")
    ] = 0.0
    silhouette: Annotated[float, Field(ge=0, description="Weight of the soft silhouette against the scan's.")] = 0.0
    pose_prior: Annotated[float, Field(ge=0, description="Weight of the pose's distance from the mean pose.")] = 0.05
    limits: Annotated[float, Field(ge=0, description="Weight of going beyond the anatomical limits.")] = 1.0
    shape_prior: Annotated[float, Field(ge=0, description="Weight of the shape's distance from the mean shape.")] = 0.02


class RegistrationSettings(BaseModel):
    """How hands are fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scan_samples: Annotated[int, Field(gt=0, description="Scan points compared with the model, per frame.")] = 2000
    keypoint_floor_mm: Annotated[
        float,
        Field(
            gt=0,
            description="Joints of the model and of people differ by about this; added to the keypoints' covariance, mm.",
        ),
    ] = 4.0
    detection_floor_px: Annotated[float, Field(gt=0, description="Smallest standard deviation of a detection, px.")] = (
        2.0
    )
    normal_gate_deg: Annotated[
        float, Field(gt=0, le=180, description="Surfaces whose normals differ more do not match, degrees.")
    ] = 60.0
    rim_margin_mm: Annotated[
        float, Field(ge=0, description="Vertices nearer to the wrist rim are not compared, mm.")
    ] = 8.0
    silhouette_px: Annotated[
        int, Field(gt=0, description="Longer side of the crop that silhouettes are compared on, px.")
    ] = 128
    silhouette_sigma: Annotated[float, Field(gt=0, description="PyTorch3D's sigma, on normalised coordinates.")] = 1e-4
    start: Phase = Phase(iterations=25, keypoints_3d=1.0, keypoints_2d=0.1, pose_prior=0.2, shape_prior=0.2)
    phases: tuple[Phase, ...] = (
        Phase(iterations=8, gate_mm=20.0, keypoints_3d=0.5, keypoints_2d=0.05, model_to_scan=1.0, scan_to_model=0.5),
        Phase(iterations=10, gate_mm=8.0, keypoints_3d=0.1, keypoints_2d=0.02, model_to_scan=1.0, scan_to_model=1.0),
        Phase(
            iterations=6,
            gate_mm=5.0,
            keypoints_3d=0.05,
            keypoints_2d=0.01,
            model_to_scan=1.0,
            scan_to_model=1.0,
            silhouette=0.5,
        ),
    )


def empty_fit(frames: int) -> HandFit:
    """The mean shape in the mean pose, at the origin."""
    return HandFit(np.zeros(SHAPE_COMPONENTS), np.zeros((frames, FRAME_SIZE)), np.zeros(frames))
