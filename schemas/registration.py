"""How hands are fitted: the weights of each leg of the optimisation."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Phase(BaseModel):
    """One leg of the optimisation: how often, with which weights, how forgiving."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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
    phases: Annotated[
        tuple[Phase, ...], Field(description="The phases after the start, in order, and what they weigh.")
    ] = (
        Phase(iterations=8, gate_mm=20.0, keypoints_3d=0.5, keypoints_2d=0.05, model_to_scan=1.0, scan_to_model=0.5),
        Phase(iterations=10, gate_mm=8.0, keypoints_3d=0.15, keypoints_2d=0.02, model_to_scan=1.0, scan_to_model=1.0),
        Phase(
            iterations=6,
            gate_mm=5.0,
            keypoints_3d=0.1,
            keypoints_2d=0.01,
            model_to_scan=1.0,
            scan_to_model=1.0,
            silhouette=0.5,
        ),
    )
