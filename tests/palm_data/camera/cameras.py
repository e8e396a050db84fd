"""Cameras for tests: strategies over what rigs are like."""

import numpy as np
from hypothesis import strategies as st

from schemas.camera import Camera, Distortion, Matrix3, TsaiCamera


def rotation(axis_angle: tuple[float, float, float]) -> Matrix3:
    vector = np.array(axis_angle)
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle if angle else np.zeros(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return tuple(tuple(float(value) for value in row) for row in matrix)  # type: ignore[return-value]


angles = st.tuples(*[st.floats(-3.0, 3.0)] * 3)


@st.composite
def tsai_cameras(draw: st.DrawFn) -> TsaiCamera:
    """3dMD-like: 12 to 50 mm lenses on 5-megapixel sensors, up to a few per cent of distortion at the corner."""
    focal = draw(st.floats(12.0, 50.0))
    radius = 5.5  # mm, the corner
    at_corner = draw(st.floats(-0.04, 0.04))
    second = draw(st.floats(-0.015, 0.015))
    width, height = draw(st.sampled_from([(2448, 2048), (2048, 2448)]))
    return TsaiCamera(
        raw_name="04_C",
        rotation=rotation(draw(angles)),
        centre_mm=draw(st.tuples(*[st.floats(-2000.0, 2000.0)] * 3)),
        focal_mm=focal,
        radial_k=at_corner / radius**2,
        radial_k2=second / radius**4,
        scale=draw(st.floats(0.98, 1.02)),
        pixel_size_mm=(0.00345, draw(st.floats(0.0034, 0.0035))),
        principal_point_px=(width / 2 + draw(st.floats(-40, 40)), height / 2 + draw(st.floats(-40, 40))),
        image_size_px=(width, height),
    )


@st.composite
def pinholes(draw: st.DrawFn, *, max_side: int = 64) -> Camera:
    """Small images, moderate fields of view, all five distortion coefficients."""
    width, height = draw(st.integers(16, max_side)), draw(st.integers(16, max_side))
    focal = draw(st.floats(1.5, 4.0)) * max(width, height)
    small = st.floats(-0.02, 0.02)
    return Camera(
        camera_id="MCU_04",
        calibration_id="rig",
        width=width,
        height=height,
        fx=focal,
        fy=focal * draw(st.floats(0.95, 1.05)),
        cx=width / 2 + draw(st.floats(-3, 3)),
        cy=height / 2 + draw(st.floats(-3, 3)),
        rotation=rotation(draw(angles)),
        translation=draw(st.tuples(*[st.floats(-2.0, 2.0)] * 3)),
        distortion=Distortion(
            k1=draw(st.floats(-0.3, 0.3)), k2=draw(st.floats(-0.3, 0.3)), p1=draw(small), p2=draw(small), k3=draw(small)
        ),
    )


def points_in_frame(camera: Camera, *, count: int = 40, seed: int = 0) -> np.ndarray:
    """World points (m) in front of the camera, all over its frame before distortion."""
    rng = np.random.default_rng(seed)
    normalised = (rng.uniform(0.02, 0.98, (count, 2)) * (camera.width, camera.height) - (camera.cx, camera.cy)) / (
        camera.fx,
        camera.fy,
    )
    depth = rng.uniform(0.4, 2.0, (count, 1))
    in_camera = np.concatenate([normalised, np.ones((count, 1))], axis=1) * depth
    return (in_camera - camera.translation) @ np.asarray(camera.rotation)
