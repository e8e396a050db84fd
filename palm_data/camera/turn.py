"""Turning cameras and their images into the rig's common orientation, clockwise in quarter turns."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy import ndarray

from schemas.camera import Camera, Distortion, Matrix3, Row3, Turn
from schemas.errors import GeometryError
from schemas.ids import CameraId

_TURNS: tuple[Turn, ...] = (0, 90, 180, 270)


def _checked(turn_deg: int) -> Turn:
    if turn_deg not in _TURNS:
        raise GeometryError(f"turn: expected 0, 90, 180 or 270 degrees, found {turn_deg}.")
    return turn_deg


def _quarter(camera: Camera) -> Camera:
    """The camera whose image is turned by 90° clockwise: (x, y) goes to (height − y, x)."""
    down = tuple(-value for value in camera.rotation[1])
    x, y, z = camera.translation
    old = camera.distortion
    rotation = cast("Matrix3", (down, camera.rotation[0], camera.rotation[2]))
    translation: Row3 = (-y, x, z)
    return camera.model_copy(
        update={
            "width": camera.height,
            "height": camera.width,
            "fx": camera.fy,
            "fy": camera.fx,
            "cx": camera.height - camera.cy,
            "cy": camera.cx,
            "rotation": rotation,
            "translation": translation,
            # Substituting x' = −y, y' = x in the tangential terms exchanges them, one with its sign turned.
            "distortion": Distortion(k1=old.k1, k2=old.k2, p1=old.p2, p2=-old.p1, k3=old.k3),
            "turn_deg": cast("Turn", (camera.turn_deg + 90) % 360),
        }
    )


def turn_camera(camera: Camera, turn_deg: int) -> Camera:
    """The camera of the image turned clockwise: K, R, t, distortion, size, and the turn added to the recorded one.

    Raises:
        GeometryError: if the turn is not 0, 90, 180 or 270 degrees.
    """
    for _ in range(_checked(turn_deg) // 90):
        camera = _quarter(camera)
    return camera


def turn_image(image: ndarray, turn_deg: int) -> ndarray:
    """The image (H, W) or (H, W, C) turned clockwise, contiguous in memory.

    Raises:
        GeometryError: if the turn is not 0, 90, 180 or 270 degrees.
    """
    return np.ascontiguousarray(np.rot90(image, k=-_checked(turn_deg) // 90))


def common_turns(cameras: Sequence[Camera]) -> dict[CameraId, Turn]:
    """The clockwise turn that brings each camera into the orientation of the majority.

    Most cameras of a rig lie landscape (or stand portrait); the odd ones turn by 90° or 270°, whichever brings the
    down axis of their image closer to the mean down axis of the majority. A tie counts as landscape, and a square
    image turns nowhere.

    Raises:
        GeometryError: if a camera to turn is equally far from both (its image's down axis is the majority's).
    """
    landscape = [camera for camera in cameras if camera.width > camera.height]
    portrait = [camera for camera in cameras if camera.width < camera.height]
    majority, odd = (landscape, portrait) if len(landscape) >= len(portrait) else (portrait, landscape)
    turns: dict[CameraId, Turn] = {camera.camera_id: 0 for camera in cameras}
    if not odd:
        return turns
    down = np.mean([camera.rotation[1] for camera in majority], axis=0)
    for camera in odd:
        # After 90° clockwise the image's down axis is what was its right axis; after 270°, the opposite.
        towards = float(np.dot(camera.rotation[0], down))
        if abs(towards) < 1e-9:
            raise GeometryError(
                f"camera {camera.camera_id}: expected its image to lie on one side, found its right axis at 90° to the "
                "mean down axis of the other cameras."
            )
        turns[camera.camera_id] = 90 if towards > 0 else 270
    return turns
