"""What a camera of a release would see of a simulated hand without noise: image, skin, normals, depth; kept once made.

The image has the light, exposure and white balance of the rig's own; what is not skin of the hand is black. It is traced
again from what truth keeps (surface, textures, cameras), with as many paths as a score needs.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from palm_data.evaluate.true_skin import Skin, look_at_skin
from palm_data.simulate.render import Studio, joined_surface
from palm_data.simulate.rig import SimulatedRig
from palm_data.simulate.sensor import noise_free
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.template import vertex_normals
from palm_data.simulate.truth import CamerasTruth, read_arrays
from palm_data.store.atomic import file_sha256, replacing
from schemas.camera import Camera, Distortion, TsaiCamera
from schemas.errors import BadInputError
from schemas.ids import CameraId, Slug, SubjectId, raw_from_camera_id
from schemas.prior_evaluation import PriorEvaluationSettings

CODE_VERSION = "1"
_MARGIN_PX = 1


@dataclass(frozen=True)
class ViewName:
    """One gesture of one person in one camera of a release."""

    subject_id: SubjectId
    gesture: Slug
    frame: int
    camera: Camera

    @property
    def camera_id(self) -> CameraId:
        """The camera's name."""
        return self.camera.camera_id

    def __str__(self) -> str:
        return f"{self.subject_id}/{self.gesture}/{self.camera_id}"


@dataclass(frozen=True, eq=False)
class TrueView:
    """What is true of one view."""

    rgb: Float32[ndarray, "height width 3"]
    """sRGB from 0 to 1; black where no skin of the hand is seen."""
    skin: Bool[ndarray, "height width"]
    """Pixels whose centre sees the hand; the forearm is not part of it."""
    albedo: Float32[ndarray, "height width 3"]
    """Linear; mean over what the pixel sees of the hand, 0 = none."""
    normal: Float32[ndarray, "height width 3"]
    """World, unit; 0 = none."""
    depth: Float32[ndarray, "height width"]
    """Metres along the camera's z at the pixel's centre; 0 = none."""


Progress = Callable[[str, int, int], None]
"""Told which view is done, how many are, and how many there are."""


class TrueViews:
    """The true views of a session, from a folder of those made before; what is missing is rendered."""

    def __init__(self, truth: Path, cache: Path, settings: PriorEvaluationSettings, *, threads: int = 2) -> None:
        """Find the session.

        Raises:
            BadInputError: if the folder is not the truth of a simulated session.
        """
        self.truth, self._cache, self._settings, self._threads = truth, cache, settings, threads
        try:
            self._cameras = CamerasTruth.model_validate_json((truth / "cameras.json").read_bytes()).cameras
        except (OSError, ValueError) as error:
            raise BadInputError(
                truth / "cameras.json", field="file", expected="the cameras of a simulated session",
                found=type(error).__name__, hint="Name the truth folder of the session that the release was made of.",
            ) from None  # fmt: skip
        self._digests: dict[Path, str] = {}

    def surface(self, name: ViewName) -> dict[str, ndarray]:
        """The true surface of a capture: `surface.npz` of its truth.

        Raises:
            BadInputError: if the session has no such capture.
        """
        return _arrays(self._surface_file(name))

    def make(self, names: Sequence[ViewName], progress: Progress = lambda *_: None) -> None:
        """Render those of the views that are not there yet.

        Raises:
            BadInputError: if the session has no such capture or camera.
            SettingsError: if Mitsuba is missing and something is to be rendered.
        """
        for done, name in enumerate(names, 1):
            path = self._file(name)
            if not path.exists():
                view = self._render(name)
                with replacing(path) as partial:
                    partial.write_bytes(_packed(view))
            progress(str(name), done, len(names))

    def __getitem__(self, name: ViewName) -> TrueView:
        """One view, rendered if it is not there.

        Raises:
            BadInputError: as `make`.
        """
        self.make([name])
        arrays = read_arrays(self._file(name))
        return TrueView(**{one.name: arrays[one.name] for one in fields(TrueView)})

    def _surface_file(self, name: ViewName) -> Path:
        return self.truth / name.subject_id / name.gesture / "surface.npz"

    def _textures_file(self, name: ViewName) -> Path:
        return self.truth / name.subject_id / "textures.npz"

    def _file(self, name: ViewName) -> Path:
        """Where a view is kept: under the digest of all that it is made from."""
        sources = [self._digest(path) for path in (self._surface_file(name), self._textures_file(name))]
        made_of = [CODE_VERSION, *sources, name.camera.model_dump_json(), self._tsai(name.camera).model_dump_json()]
        text = json.dumps([*made_of, self._settings.spp, self._settings.supersample])
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._cache / name.subject_id / f"{name.gesture}.{name.camera_id}.{digest}.npz"

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            try:
                self._digests[path] = file_sha256(path)
            except OSError as error:
                raise _no_truth(path, error) from None
        return self._digests[path]

    @cached_property
    def _studio(self) -> Studio:
        return Studio(SimulatedRig(self._cameras, self._cameras), self._threads)

    def _tsai(self, camera: Camera) -> TsaiCamera:
        """The release's undistorted camera as the renderer takes it, with the aperture of the true one.

        Raises:
            BadInputError: if the rig has no camera of that name, or this one distorts.
        """
        raw_name = raw_from_camera_id(camera.camera_id)
        true = next((one for one in self._cameras if one.raw_name == raw_name), None)
        if true is None or camera.distortion != Distortion():
            known = ", ".join(one.raw_name for one in self._cameras)
            raise BadInputError(
                self.truth, field="camera", expected=f"an undistorted camera, one of {known}", found=camera.camera_id
            )
        x, y, z = (camera.centre() * 1000.0).tolist()
        return TsaiCamera(
            raw_name=raw_name,
            rotation=camera.rotation,
            centre_mm=(x, y, z),
            focal_mm=true.focal_mm,
            radial_k=0.0,
            radial_k2=0.0,
            pixel_size_mm=(true.focal_mm / camera.fx, true.focal_mm / camera.fy),
            principal_point_px=(camera.cx, camera.cy),
            image_size_px=(camera.width, camera.height),
        )

    def _render(self, name: ViewName) -> TrueView:
        surface, maps, camera = self.surface(name), _arrays(self._textures_file(name)), name.camera
        skin = look_at_skin(surface, maps["albedo"], camera, self._settings.supersample)
        return TrueView(self._image(name, surface, maps, skin), skin.seen, skin.albedo, skin.normal, skin.depth)

    def _image(
        self, name: ViewName, surface: dict[str, ndarray], maps: dict[str, ndarray], skin: Skin
    ) -> Float[ndarray, "height width 3"]:
        """The hand and a rim about it, before black."""
        textures = SkinTextures(*(maps[one].astype(np.float32) for one in ("albedo", "roughness", "specular")))
        normals = vertex_normals(surface["vertices"], surface["faces"])
        shape = joined_surface(surface["vertices"], normals, surface["faces"], surface["uv"], surface["uv_faces"])
        square = np.ones((2 * _MARGIN_PX + 1, 2 * _MARGIN_PX + 1), np.uint8)
        near = cv2.dilate(skin.seen.astype(np.uint8), square) > 0
        radiance = np.zeros((name.camera.height, name.camera.width, 3), np.float32)
        pixels = np.flatnonzero(near)
        radiance[near] = self._studio.radiance(
            self._studio.with_hand(shape, textures), self._tsai(name.camera), pixels,
            spp=self._settings.spp, seed=_seed(name), backdrop=np.zeros((len(pixels), 3), np.float32),
        )  # fmt: skip
        return noise_free(radiance).astype(np.float32)


def _seed(name: ViewName) -> int:
    """Of the light paths: another one for each view."""
    return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:4], "big")


def _packed(view: TrueView) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{one.name: getattr(view, one.name) for one in fields(TrueView)})
    return buffer.getvalue()


def _arrays(path: Path) -> dict[str, ndarray]:
    try:
        return read_arrays(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _no_truth(path, error) from None


def _no_truth(path: Path, error: Exception) -> BadInputError:
    return BadInputError(
        path, field="file", expected="what is true of a capture of the release", found=type(error).__name__,
        hint="Name the truth folder of the session that the release was made of.",
    )  # fmt: skip
