"""The rig: seven pods around the hand, each with two mono cameras and a colour camera, and their calibration files.

World: metres, +z up, the hand about the origin with its fingers up and the forearm coming from below.
"""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from schemas.camera import Matrix3, Row3, TsaiCamera

CALIBRATION_ID = "2026-01-12_a"
RIG_SERIAL = "3DMD-SIM-0007"
SENSOR_PX = (2448, 2048)
PIXEL_MM = 0.00345
PODS = 7
PORTRAIT_POD = 4
F_NUMBER = 11.0
Letter = Literal["A", "B", "C"]

_AZIMUTH_STEP_DEG = 360.0 / PODS
_ELEVATION_DEG = (14.0, -10.0, 30.0, -4.0, 22.0, -14.0, 34.0)
_DISTANCE_M = (0.84, 0.86, 0.85, 0.88, 0.86, 0.87, 0.85)
_FOCAL_MM = 18.0
_TARGET_M = (0.0, 0.0, -0.024)
"""What the cameras look at: between the hand and the forearm that it needs below it."""
_BASELINE_M = 0.12
_COLOUR_OFFSET_M = 0.03
_CALIBRATION_NOISE_RAD = 3e-5
_CALIBRATION_NOISE_MM = 0.03


@dataclass(frozen=True)
class SimulatedRig:
    """The cameras as they are, and as the calibration files state them (a little off, as any calibration is)."""

    cameras: tuple[TsaiCamera, ...]
    """What renders: the true cameras, sorted by raw name."""
    calibrated: tuple[TsaiCamera, ...]
    """What is written to `.tka`, in the same order."""

    def camera(self, raw_name: str) -> TsaiCamera:
        """The true camera of a raw name (`NN_A`, `NN_B`, `NN_C`)."""
        return next(camera for camera in self.cameras if camera.raw_name == raw_name)


def is_colour(camera: TsaiCamera) -> bool:
    """Whether the camera sees colour (`NN_C`)."""
    return camera.raw_name.endswith("_C")


def is_portrait(camera: TsaiCamera) -> bool:
    """Whether the camera's images stand higher than wide."""
    return camera.image_size_px[1] > camera.image_size_px[0]


def focus_distance(camera: TsaiCamera) -> float:
    """Depth of the plane in focus, metres along the optical axis: the one through the origin."""
    return float(-(np.asarray(camera.rotation) @ np.asarray(camera.centre_mm))[2] / 1000.0)


def aperture_radius(camera: TsaiCamera) -> float:
    """Radius of the entrance pupil, metres."""
    return camera.focal_mm / F_NUMBER / 2.0 / 1000.0


def make_rig(seed: int, scale: float) -> SimulatedRig:
    """The rig of a seed at an image scale; the scale changes pixel size and principal point, never a ray's direction."""
    cameras: list[TsaiCamera] = []
    calibrated: list[TsaiCamera] = []
    for pod in range(1, PODS + 1):
        for letter in cast("tuple[Letter, ...]", ("A", "B", "C")):
            rng = np.random.default_rng([seed, 21, pod, ord(letter)])
            camera = _camera(rng, pod, letter, scale)
            cameras.append(camera)
            calibrated.append(_calibrated(rng, camera))
    return SimulatedRig(tuple(cameras), tuple(calibrated))


def _camera(rng: np.random.Generator, pod: int, letter: Letter, scale: float) -> TsaiCamera:
    centre = _centre(pod, letter) + rng.normal(0.0, 0.004, 3)
    target = np.array(_TARGET_M) + rng.normal(0.0, 0.003, 3)
    rotation = _rotation_vector(rng.normal(0.0, np.radians(0.3), 3)) @ look_at(centre, target)
    # A turned sensor or not, the offset is the lens's: drawn in the frame of an upright image.
    offset_px = rng.normal(0.0, 18.0, 2)
    width, height = SENSOR_PX
    if pod == PORTRAIT_POD:
        rotation = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ rotation
        width, height = height, width
    principal = (np.array([width, height]) / 2.0 + offset_px) * scale
    return TsaiCamera(
        raw_name=f"{pod:02d}_{letter}",
        rotation=_matrix3(rotation),
        centre_mm=_row3(centre * 1000.0),
        focal_mm=round(float(_FOCAL_MM + rng.normal(0.0, 0.12)), 6),
        radial_k=round(float(5e-4 * (1.0 + rng.normal(0.0, 0.12))), 9),
        radial_k2=round(float(-3e-6 * (1.0 + rng.normal(0.0, 0.2))), 11),
        pixel_size_mm=(PIXEL_MM / scale, PIXEL_MM / scale),
        principal_point_px=(float(principal[0]), float(principal[1])),
        image_size_px=(max(round(width * scale), 1), max(round(height * scale), 1)),
    )


def _centre(pod: int, letter: Letter) -> Float[ndarray, "3"]:
    azimuth = np.radians(_AZIMUTH_STEP_DEG * (pod - 1))
    elevation = np.radians(_ELEVATION_DEG[pod - 1])
    outwards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    target = np.array(_TARGET_M)
    centre = target + _DISTANCE_M[pod - 1] * outwards
    right, down, _ = look_at(centre, target)
    offset = {"A": -0.5 * _BASELINE_M * down, "B": 0.5 * _BASELINE_M * down, "C": _COLOUR_OFFSET_M * right}
    return centre + offset[letter]


def look_at(centre: Float[ndarray, "3"], target: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """Rotation world → camera (x right, y down, z forward) of an upright camera at `centre` that looks at `target`."""
    forward = target - centre
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _calibrated(rng: np.random.Generator, camera: TsaiCamera) -> TsaiCamera:
    turn = _rotation_vector(rng.normal(0.0, _CALIBRATION_NOISE_RAD, 3))
    centre = np.asarray(camera.centre_mm) + rng.normal(0.0, _CALIBRATION_NOISE_MM, 3)
    return camera.model_copy(
        update={"rotation": _matrix3(turn @ np.asarray(camera.rotation)), "centre_mm": _row3(centre)}
    )


def _rotation_vector(vector: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle if angle > 0 else vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def _row3(values: ndarray) -> Row3:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _matrix3(matrix: ndarray) -> Matrix3:
    first, second, third = (_row3(row) for row in matrix)
    return first, second, third
