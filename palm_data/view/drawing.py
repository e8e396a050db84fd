"""A scene as nodes of one browser page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from palm_data.report.skeletons import FINGER_COLOURS, bones
from palm_data.view.colours import distance_colours
from palm_data.view.glb import coloured_glb
from palm_data.view.scene import Scene, ShownCamera

if TYPE_CHECKING:
    import viser

ScanLook = Literal["texture", "grey", "see-through", "distance to hand", "hidden"]
HandLook = Literal["surface", "wireframe", "distance to scan", "hidden"]
Aim = Literal["the hand", "all cameras"]
AIMS: tuple[Aim, ...] = get_args(Aim)
SCAN_LOOKS: tuple[ScanLook, ...] = get_args(ScanLook)
HAND_LOOKS: tuple[HandLook, ...] = get_args(HandLook)

_SCAN, _HAND, _JOINTS, _BONES, _CAMERAS = "/scan", "/hand", "/joints", "/bones", "/cameras"
_GREY, _BLUE = (196, 192, 186), (96, 165, 220)
_JOINT_M, _BONE_M, _LINE_M = 0.004, 0.0025, 0.0015
_FRUSTUM_SHARE = 0.28
"""How long a frustum is, of the way from its camera to the hand."""
_RIG_RADII = 2.4
_FOV_RAD, _STEP_BACK, _PANEL_SHIFT = float(np.radians(42)), 1.6, 0.45


@dataclass(frozen=True)
class Look:
    """How a scene is shown."""

    scan: ScanLook = "texture"
    hand: HandLook = "distance to scan"
    apart: bool = True
    """The joints to the left of the scan, the hand to the right; else all where they are."""
    joints: bool = True
    cameras: bool = True
    limit_mm: float = 4.0


class Drawing:
    """What one page shows. Draw inside `client.atomic()`, so that the page never shows half of it."""

    def __init__(self, client: "viser.ClientHandle") -> None:
        self._client, self._scene = client, client.scene
        self._drawn: set[str] = set()

    def draw(self, scene: Scene | None, look: Look) -> None:
        """Show a scene, or nothing, in place of what was shown."""
        before, self._drawn = self._drawn, set()
        if scene is not None:
            self._scan(scene, look)
            self._hand(scene, look)
            self._joints(scene, look)
            if look.cameras:
                for camera in scene.cameras:
                    self._camera(camera, scene)
        for name in before - self._drawn:
            self._scene.remove_by_name(name)

    def aim(self, scene: Scene, look: Look, aim: Aim) -> None:
        """Look at the hand from where most of it is seen, or at the whole rig; upright, left of the panel."""
        apart = look.apart and scene.hand is not None
        offset = scene.beside * _PANEL_SHIFT
        towards = (scene.eye - scene.centre) * (_STEP_BACK if apart else 1.0)
        if aim == "all cameras":
            radius = max(float(np.linalg.norm(one.position - scene.centre)) for one in scene.cameras)
            towards *= _RIG_RADII * radius / np.linalg.norm(towards)
            towards, offset = towards + scene.up * radius, offset * 3
        camera = self._client.camera
        camera.up_direction = scene.up
        camera.position = scene.centre + towards + offset
        camera.look_at = scene.centre + offset
        camera.fov = _FOV_RAD

    def _name(self, name: str) -> str:
        self._drawn.add(name)
        return name

    def _scan(self, scene: Scene, look: Look) -> None:
        vertices, faces = scene.scan_vertices, scene.scan_faces
        if look.scan == "texture" and scene.scan_glb is not None:
            self._scene.add_glb(self._name(_SCAN), scene.scan_glb, cast_shadow=False, receive_shadow=False)
        elif look.scan == "distance to hand" and scene.hand is not None:
            colours = distance_colours(scene.hand.distances.scan_mm, look.limit_mm)
            self._scene.add_glb(
                self._name(_SCAN), coloured_glb(vertices, faces, colours), cast_shadow=False, receive_shadow=False
            )
        elif look.scan != "hidden":
            opacity = 0.4 if look.scan == "see-through" else None
            self._scene.add_mesh_simple(
                self._name(_SCAN),
                vertices,
                faces,
                color=_GREY,
                opacity=opacity,
                side="double",
                cast_shadow=False,
                receive_shadow=False,
            )

    def _hand(self, scene: Scene, look: Look) -> None:
        hand = scene.hand
        if hand is None or look.hand == "hidden":
            return
        at = scene.beside if look.apart else np.zeros(3)
        if look.hand == "distance to scan":
            colours = distance_colours(hand.distances.hand_mm, look.limit_mm)
            self._scene.add_glb(
                self._name(_HAND),
                coloured_glb(hand.vertices, hand.faces, colours),
                position=at,
                cast_shadow=False,
                receive_shadow=False,
            )
            return
        self._scene.add_mesh_simple(
            self._name(_HAND), hand.vertices, hand.faces, color=_BLUE, wireframe=look.hand == "wireframe",
            side="double", position=at, cast_shadow=False, receive_shadow=False,
        )  # fmt: skip

    def _joints(self, scene: Scene, look: Look) -> None:
        if scene.joints is None or not look.joints:
            return
        at = -scene.beside if look.apart else np.zeros(3)
        there = np.isfinite(scene.joints).all(axis=1)
        if there.any():
            self._scene.add_point_cloud(
                self._name(_JOINTS), scene.joints[there], (250, 250, 250), point_size=_JOINT_M, point_shape="circle",
                precision="float32", position=at,
            )  # fmt: skip
        pairs = [(one, other, finger) for one, other, finger in bones() if there[one] and there[other]]
        if pairs:
            points = np.array([(scene.joints[one], scene.joints[other]) for one, other, _ in pairs])
            colours = np.array([[FINGER_COLOURS[finger]] * 2 for _, _, finger in pairs], dtype=np.uint8)
            self._scene.add_line_segments(self._name(_BONES), points, colours, thickness=_BONE_M, position=at)

    def _camera(self, shown: ShownCamera, scene: Scene) -> None:
        half = np.tan(shown.fov_rad / 2)
        length = _FRUSTUM_SHARE * float(np.linalg.norm(scene.centre - shown.position))
        scale = length * float(
            np.cbrt(half * half * shown.aspect / 3)
        )  # viser keeps a frustum's volume, not its length
        frustum = self._scene.add_camera_frustum(
            self._name(f"{_CAMERAS}/{shown.camera_id}"), shown.fov_rad, shown.aspect, scale=scale,
            thickness=_LINE_M, color=(150, 158, 168), image=shown.image, format="jpeg", jpeg_quality=85,
            wxyz=shown.wxyz, position=shown.position, cast_shadow=False, receive_shadow=False,
        )  # fmt: skip
        self._scene.add_label(self._name(f"{_CAMERAS}/{shown.camera_id}/name"), shown.camera_id, font_screen_scale=0.75)

        @frustum.on_click
        def _(_: object) -> None:
            with self._client.atomic():
                self._client.camera.position = shown.position
                self._client.camera.wxyz = shown.wxyz
                self._client.camera.fov = shown.fov_rad
