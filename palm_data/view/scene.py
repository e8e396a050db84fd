"""What is shown of one capture, ready to be drawn: surfaces, joints, cameras with small images, and the figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.view.distances import Distances, measure_distances
from palm_data.view.glb import shrunk, textured_glb
from schemas.camera import Camera
from schemas.hand import JOINT_NAMES
from schemas.ids import CameraId, SubjectId
from schemas.quality import QualityRow

if TYPE_CHECKING:
    from palm_data.hand.model import HandModel
    from palm_data.loader.release import Release
    from palm_data.loader.sample import Sample, View

_IMAGE_PX = 320
_EYE_DISTANCE = 2.6
"""How far from the hand one looks, in its own sizes."""
_HAND_M = 0.17
_PAST_RAD = float(np.radians(20))


@dataclass(frozen=True)
class ShownCamera:
    """A camera and its image, small."""

    camera_id: CameraId
    position: Float[ndarray, "3"]
    """Metres, world."""
    wxyz: Float[ndarray, "4"]
    """Turns camera axes (x right, y down, z forward) into the world's."""
    fov_rad: float
    """Vertical."""
    aspect: float
    image: UInt8[ndarray, "height width 3"] | None
    """None if the rig did not deliver it."""


@dataclass(frozen=True)
class ShownHand:
    """The fitted hand."""

    vertices: Float[ndarray, "vertices 3"]
    """Metres, world."""
    faces: Int[ndarray, "faces 3"]
    distances: Distances


@dataclass(frozen=True)
class Scene:
    """One capture as it is shown; metres, world."""

    scan_vertices: Float[ndarray, "scan_vertices 3"]
    scan_faces: Int[ndarray, "scan_faces 3"]
    scan_glb: bytes | None
    """The textured scan; None if it has no texture."""
    hand: ShownHand | None
    joints: Float[ndarray, "21 3"] | None
    """NaN = missing; None in a version without labels."""
    cameras: tuple[ShownCamera, ...]
    quality: QualityRow | None
    no_hand: str
    """Why there is no hand; empty if there is one."""
    up: Float[ndarray, "3"]
    centre: Float[ndarray, "3"]
    eye: Float[ndarray, "3"]
    """Where to look at the centre from at first."""

    @property
    def beside(self) -> Float[ndarray, "3"]:
        """How to move something so that it stands to the right of the hand, as seen from the eye."""
        right = np.cross(self.centre - self.eye, self.up)
        right /= np.linalg.norm(right)
        shown = self.scan_vertices if self.hand is None else self.hand.vertices
        return np.asarray(right * float(np.ptp(shown @ right)) * 1.15)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        images = sum(one.image.nbytes for one in self.cameras if one.image is not None)
        return self.scan_vertices.nbytes + self.scan_faces.nbytes + len(self.scan_glb or b"") + images


def build_scene(release: "Release", subject_id: SubjectId, frame: int, model: "HandModel") -> Scene:
    """Read and prepare a capture; without labels, or without a fit, what there is.

    Raises:
        StoreError: if the capture is not in the release.
        IntegrityError: if something that is shown is damaged.
    """
    sample, labelled = release.capture(subject_id, frame), release.labelled
    scan = sample.scan
    joints = sample.keypoints.points if labelled else None
    hand, no_hand = _hand(sample, model) if labelled else (None, "This version holds captures only: no labels.")
    vertices = np.asarray(scan.vertices, dtype=np.float64)
    shown = _of_interest(vertices, hand, joints)
    centre = (shown.min(axis=0) + shown.max(axis=0)) / 2
    glb = None
    if scan.texture is not None and scan.uv is not None and scan.uv_faces is not None:
        glb = textured_glb(scan.vertices, scan.faces, scan.uv, scan.uv_faces, scan.texture)
    up = _up(sample.cameras)
    return Scene(
        scan_vertices=vertices,
        scan_faces=scan.faces,
        scan_glb=glb,
        hand=hand,
        joints=joints,
        cameras=tuple(_camera(view) for view in sample.views),
        quality=sample.quality if labelled else None,
        no_hand=no_hand,
        up=up,
        centre=centre,
        eye=centre
        + _EYE_DISTANCE * max(_HAND_M, float(np.ptp(shown, axis=0).max())) * _sight(release, sample, centre, up),
    )


def _hand(sample: "Sample", model: "HandModel") -> tuple[ShownHand | None, str]:
    hand = sample.hand
    if hand is None:
        return None, "No hand could be fitted to this capture."
    if model.convention() != hand.convention:
        return None, (
            f"Fitted with another hand model: {hand.convention.model_id} ({hand.convention.model_sha256[:12]}…). "
            "Name its file with hand_model in palm.toml, or PALM_HAND_MODEL."
        )
    vertices = hand.vertices(model)
    distances = measure_distances(sample.scan.vertices, sample.scan.faces, vertices, model)
    return ShownHand(vertices=vertices, faces=np.asarray(model.faces), distances=distances), ""


def _of_interest(
    scan: Float[ndarray, "scan_vertices 3"], hand: ShownHand | None, joints: Float[ndarray, "21 3"] | None
) -> Float[ndarray, "points 3"]:
    """What to centre on: the hand, or else its joints, or else all of the scan, forearm and all."""
    if hand is not None:
        return hand.vertices
    if joints is not None and np.isfinite(joints).all(axis=1).sum() > len(JOINT_NAMES) // 2:
        return joints[np.isfinite(joints).all(axis=1)]
    return scan


def _camera(view: "View") -> ShownCamera:
    camera = view.camera
    rotation = np.asarray(camera.rotation)
    x, y, z, w = Rotation.from_matrix(rotation.T).as_quat()
    return ShownCamera(
        camera_id=camera.camera_id,
        position=_position(camera),
        wxyz=np.array([w, x, y, z]),
        fov_rad=2 * float(np.arctan(camera.height / 2 / camera.fy)),
        aspect=camera.width / camera.height,
        image=shrunk(view.rgb, _IMAGE_PX) if view.present else None,
    )


def _position(camera: Camera) -> Float[ndarray, "3"]:
    return np.asarray(-np.asarray(camera.rotation).T @ np.asarray(camera.translation))


def _up(cameras: tuple[Camera, ...]) -> Float[ndarray, "3"]:
    """The cameras' common up (images are stored upright); an axis of the world, if it is near to one."""
    up = -np.sum([np.asarray(camera.rotation)[1] for camera in cameras], axis=0)
    length = float(np.linalg.norm(up))
    if length < 1e-6:
        return np.array([0.0, 0.0, 1.0])
    up = up / length
    axis = np.zeros(3)
    axis[np.abs(up).argmax()] = np.sign(up[np.abs(up).argmax()])
    return axis if up @ axis > np.cos(np.radians(20)) else np.asarray(up)


def _sight(
    release: "Release", sample: "Sample", centre: Float[ndarray, "3"], up: Float[ndarray, "3"]
) -> Float[ndarray, "3"]:
    """From the centre towards the camera that sees most of the scan, and past it, so that its image is not in the way."""
    seen = {image.camera_id: image.mask_px for image in release.images(sample.subject_id, sample.frame)}
    best = max(sample.cameras, key=lambda camera: seen[camera.camera_id])
    away = _position(best) - centre
    return np.asarray(Rotation.from_rotvec(up * _PAST_RAD).apply(away / np.linalg.norm(away)))
