"""Light paths through the rig's real lenses: Mitsuba 3 traces, the Tsai model says where each point of a pixel looks.

A point of the sensor is distorted; Tsai's polynomial undistorts it in closed form, so that every sample's ray is exact
and no image is ever resampled. The aperture has its real size: what is off the plane through the origin is blurred.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from palm_data.simulate.environment import LIGHT_MAP, screens, studio
from palm_data.simulate.rig import SimulatedRig, aperture_radius, focus_distance
from palm_data.simulate.skin import SkinTextures
from schemas.camera import TsaiCamera
from schemas.errors import SettingsError

_VARIANT = "llvm_ad_rgb"
_MAX_DEPTH = 4
_ROULETTE_DEPTH = 2
"""From here on paths end by lot: a quarter less time for a quarter of a decibel of noise."""
_LANES = 1 << 22
_SATURATION = 6.0
"""A path brighter than this (in units of a white pixel) counts as this: it would saturate its pixel alone anyway."""


@dataclass(frozen=True, eq=False)
class RenderSurface:
    """A triangle mesh whose vertices carry their own texture coordinates, ready to be traced."""

    vertices: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"]
    uv: Float[ndarray, "n 2"]
    """u right, v up."""
    faces: Int[ndarray, "m 3"]


@dataclass(frozen=True, eq=False)
class _Paths:
    """How the paths of a set of pixels are drawn."""

    sampler: Any
    integrator: Any
    seed: int
    limit: float


def load_mitsuba() -> ModuleType:
    """Mitsuba, switched to the variant we trace with.

    Raises:
        SettingsError: if Mitsuba or LLVM is not there; says what to install.
    """
    try:
        mi = importlib.import_module("mitsuba")
        dr = importlib.import_module("drjit")
        mi.set_variant(_VARIANT)
        dr.eval(dr.arange(mi.Float, 4) + 1.0)
    except ImportError as error:
        raise SettingsError(
            f"simulation: expected Mitsuba 3, found none ({error}). Install the extra: pip install 'palm-factory[simulate]'."
        ) from None
    except Exception as error:  # Dr.Jit raises plain exceptions when it finds no LLVM
        raise SettingsError(
            f"simulation: expected LLVM for Mitsuba's {_VARIANT}, found {error}. "
            "Install libllvm19, or point DRJIT_LIBLLVM_PATH at a libLLVM shared library."
        ) from None
    mi.set_log_level(mi.LogLevel.Error)
    return mi


def joined_surface(
    vertices: Float[ndarray, "n 3"],
    normals: Float[ndarray, "n 3"],
    faces: Int[ndarray, "m 3"],
    uv: Float[ndarray, "k 2"],
    uv_faces: Int[ndarray, "m 3"],
) -> RenderSurface:
    """The mesh with a vertex for each pair of position and texture coordinate that a face names."""
    pairs = np.stack([faces.ravel(), uv_faces.ravel()], axis=1).astype(np.int64)
    unique, corners = np.unique(pairs, axis=0, return_inverse=True)
    return RenderSurface(
        vertices=vertices[unique[:, 0]],
        normals=normals[unique[:, 0]],
        uv=uv[unique[:, 1]],
        faces=corners.reshape(-1, 3),
    )


class Studio:
    """The rig's cameras in the studio, with a hand, a chrome ball or nothing before them."""

    def __init__(self, rig: SimulatedRig, threads: int) -> None:
        self._mi = load_mitsuba()
        self._dr = importlib.import_module("drjit")
        self._dr.set_thread_count(max(threads, 2))  # Mitsuba's EXR reader waits for ever where there is one thread
        self._light_map = self._mi.Bitmap(str(LIGHT_MAP))
        self._dr.set_thread_count(threads)
        colour = [camera for camera in rig.cameras if camera.raw_name.endswith("_C")]
        self._backgrounds = np.array([camera.rotation[2] for camera in colour])
        path = {"type": "path", "max_depth": _MAX_DEPTH, "rr_depth": _ROULETTE_DEPTH}
        self._everything = self._mi.load_dict(path)
        self._before_backdrop = self._mi.load_dict({**path, "hide_emitters": True})

    def empty(self) -> Any:
        """The scene with nothing before the cameras but the black screens behind where the hand will be."""
        return self._mi.load_dict(
            {"type": "scene", **self._lights(), **screens(self._mi, self._backgrounds)}, parallel=False
        )

    def light(self) -> Any:
        """The scene with nothing but what lights it."""
        return self._mi.load_dict({"type": "scene", **self._lights()}, parallel=False)

    def with_ball(self, radius_m: float, reflectance: float) -> Any:
        """The scene with a mirror ball at the origin."""
        ball = {
            "type": "sphere",
            "radius": radius_m,
            "bsdf": {
                "type": "conductor",
                "material": "none",
                "specular_reflectance": {"type": "rgb", "value": reflectance},
            },
        }
        return self._mi.load_dict({"type": "scene", "ball": ball, **self._lights()}, parallel=False)

    def with_hand(self, surface: RenderSurface, textures: SkinTextures) -> Any:
        """The scene with a hand; Mitsuba's principled BSDF takes one specular for the whole skin, the map's mean."""
        skin = self._mi.load_dict(
            {
                "type": "principled",
                "base_color": self._texture(textures.albedo),
                # Mitsuba squares its roughness to get GGX's α, which is what the skin's maps hold.
                "roughness": self._texture(np.sqrt(textures.roughness)[..., None]),
                "specular": float(textures.specular.mean(dtype=np.float64)),
            }
        )
        hand = self._mesh(surface, skin)
        return self._mi.load_dict({"type": "scene", "hand": hand, **self._lights()}, parallel=False)

    def only_hand(self, surface: RenderSurface) -> Any:
        """A scene that holds the hand and nothing else, to ask what is hit."""
        return self._mi.load_dict({"type": "scene", "hand": self._mesh(surface, None)}, parallel=False)

    def _lights(self) -> dict[str, Any]:
        return studio(self._mi, self._light_map)

    def _texture(self, texels: ndarray) -> dict[str, Any]:
        return {"type": "bitmap", "data": self._mi.TensorXf(np.ascontiguousarray(texels, np.float32)), "raw": True}

    def _mesh(self, surface: RenderSurface, bsdf: Any) -> Any:
        properties = self._mi.Properties()
        if bsdf is not None:
            properties["bsdf"] = bsdf
        mesh = self._mi.Mesh(
            "hand",
            len(surface.vertices),
            len(surface.faces),
            has_vertex_normals=True,
            has_vertex_texcoords=True,
            props=properties,
        )
        parameters = self._mi.traverse(mesh)
        parameters["vertex_positions"] = surface.vertices.astype(np.float32).ravel()
        parameters["vertex_normals"] = surface.normals.astype(np.float32).ravel()
        # Mitsuba's textures have v down from the first row.
        parameters["vertex_texcoords"] = (surface.uv * [1.0, -1.0] + [0.0, 1.0]).astype(np.float32).ravel()
        parameters["faces"] = surface.faces.astype(np.uint32).ravel()
        parameters.update()
        return mesh

    def radiance(
        self,
        scene: Any,
        camera: TsaiCamera,
        pixels: Int[ndarray, "n"],
        *,
        spp: int,
        seed: int,
        backdrop: Float[ndarray, "n 3"] | None = None,
        limit: float = _SATURATION,
    ) -> Float[ndarray, "n 3"]:
        """Mean radiance over each pixel and the aperture; pixels count row by row.

        Args:
            spp: paths a pixel, rounded up to what the stratified sampler can lay out.
            backdrop: what paths see that meet nothing, for each pixel; None: the lights themselves.
            limit: paths brighter than this count as this.
        """
        sampler = self._mi.load_dict({"type": "multijitter", "sample_count": spp})
        count = sampler.sample_count()
        step = max(_LANES // count, 1)
        integrator = self._everything if backdrop is None else self._before_backdrop
        parts = [
            self._chunk(scene, camera, pixels[start : start + step], _Paths(sampler, integrator, seed + number, limit))
            for number, start in enumerate(range(0, len(pixels), step))
        ]
        means = np.concatenate(parts) if parts else np.zeros((0, 4), np.float32)
        if backdrop is None:
            return means[:, :3]
        return means[:, :3] + (1.0 - means[:, 3:]) * backdrop

    def _chunk(self, scene: Any, camera: TsaiCamera, pixels: ndarray, paths: "_Paths") -> Float[ndarray, "n 4"]:
        """Radiance, and the share of the paths that met something."""
        mi, dr = self._mi, self._dr
        sampler, count = paths.sampler, paths.sampler.sample_count()
        lanes = len(pixels) * count
        sampler.set_samples_per_wavefront(count)
        sampler.seed(paths.seed % 2**32, lanes)
        pixel = dr.gather(mi.UInt32, mi.UInt32(pixels), dr.arange(mi.UInt32, lanes) // dr.opaque(mi.UInt32, count))
        width = dr.opaque(mi.UInt32, camera.image_size_px[0])
        inside, lens = sampler.next_2d(), sampler.next_2d()
        ray = self._rays(camera, mi.Float(pixel % width) + inside.x, mi.Float(pixel // width) + inside.y, lens)
        light, met, _ = paths.integrator.sample(scene, sampler, mi.RayDifferential3f(ray))
        light = dr.minimum(dr.select(dr.isfinite(light), light, 0.0), dr.opaque(mi.Float, paths.limit))
        share = dr.select(met, mi.Float(1.0), mi.Float(0.0))
        dr.eval(light, share)
        means = [dr.block_sum(channel, count) for channel in (light.x, light.y, light.z, share)]
        return np.stack([np.asarray(mean) for mean in means], axis=1) / np.float32(count)

    def _rays(self, camera: TsaiCamera, x: Any, y: Any, lens: Any) -> Any:
        """World rays through points of the sensor (px, corners at integers) and of the aperture (unit square)."""
        mi, dr = self._mi, self._dr

        def number(value: float) -> Any:
            return dr.opaque(mi.Float, float(value))

        across, down = undistorted(
            (x - number(camera.principal_point_px[0])) * number(camera.pixel_size_mm[0]),
            (y - number(camera.principal_point_px[1])) * number(camera.pixel_size_mm[1]),
            number(camera.radial_k),
            number(camera.radial_k2),
        )
        depth = number(focus_distance(camera))
        scale = depth / number(camera.focal_mm)
        disk = mi.warp.square_to_uniform_disk_concentric(lens) * number(aperture_radius(camera))
        start = mi.Vector3f(disk.x, disk.y, 0.0)
        towards = dr.normalize(mi.Vector3f(across * scale, down * scale, depth) - start)
        rotation = [[number(value) for value in row] for row in camera.rotation]

        def to_world(vector: Any) -> Any:
            return mi.Vector3f(*(sum(rotation[row][axis] * vector[row] for row in range(3)) for axis in range(3)))

        centre = mi.Point3f(*(number(value / 1000.0) for value in camera.centre_mm))
        return mi.Ray3f(centre + to_world(start), to_world(towards))

    def centre_rays(self, camera: TsaiCamera, points_px: Float[ndarray, "n 2"]) -> Any:
        """World rays from the camera's centre through points of its image."""
        mi = self._mi
        x, y = (mi.Float(np.ascontiguousarray(points_px[:, axis], np.float32)) for axis in (0, 1))
        return self._rays(camera, x, y, mi.Point2f(0.5, 0.5))

    def silhouette(self, hand: Any, camera: TsaiCamera) -> Bool[ndarray, "height width"]:
        """Which pixels' centres see the hand, through the lens as it distorts.

        Args:
            hand: a scene of `only_hand`.
        """
        width, height = camera.image_size_px
        rows, columns = np.divmod(np.arange(width * height), width)
        rays = self.centre_rays(camera, np.stack([columns, rows], axis=1) + 0.5)
        return np.asarray(hand.ray_test(rays)).astype(bool).reshape(height, width)

    def depth_before(self, hand: Any, camera: TsaiCamera, points_m: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """How far before each point the hand's surface first stands on the way from the camera, metres; 0 if nowhere.

        Args:
            hand: a scene of `only_hand`.
        """
        mi, dr = self._mi, self._dr
        centre = np.asarray(camera.centre_mm) / 1000.0
        offset = np.asarray(points_m) - centre
        distance = np.linalg.norm(offset, axis=1)
        direction = offset / distance[:, None]
        ray = mi.Ray3f(
            mi.Point3f(*(mi.Float(float(value)) for value in centre)),
            mi.Vector3f(*(mi.Float(np.ascontiguousarray(direction[:, axis], np.float32)) for axis in range(3))),
        )
        hit = hand.ray_intersect_preliminary(ray)
        found = np.asarray(dr.select(hit.is_valid(), hit.t, 1e9))
        return np.maximum(distance - found, 0.0)

    def write_exr(self, path: Path, radiance: Float[ndarray, "height width 3"]) -> None:
        """Write linear radiance as OpenEXR, half precision."""
        threads = self._dr.thread_count()
        self._dr.set_thread_count(max(threads, 2))  # as its reader, Mitsuba's EXR writer needs two
        bitmap = self._mi.Bitmap(np.ascontiguousarray(radiance, np.float32))
        half = bitmap.convert(self._mi.Bitmap.PixelFormat.RGB, self._mi.Struct.Type.Float16, srgb_gamma=False)
        half.write(str(path), self._mi.Bitmap.FileFormat.OpenEXR)
        self._dr.set_thread_count(threads)

    def surroundings(self, scene: Any, height: int, *, spp: int, seed: int) -> Float[ndarray, "height width 3"]:
        """What the origin sees: an equirectangular map of radiance, +z up.

        Row 0 is the zenith; the column at a share u of the width looks to azimuth 2π u, counted from +x towards +y.
        """
        mi, dr = self._mi, self._dr
        width = 2 * height
        sampler = mi.load_dict({"type": "multijitter", "sample_count": spp})
        count = sampler.sample_count()
        sampler.set_samples_per_wavefront(count)
        sampler.seed(seed, width * height * count)
        pixel = dr.arange(mi.UInt32, width * height * count) // count
        inside = sampler.next_2d()
        azimuth = (mi.Float(pixel % width) + inside.x) * (2.0 * np.pi / width)
        polar = (mi.Float(pixel // width) + inside.y) * (np.pi / height)
        ring = dr.sin(polar)
        ray = mi.Ray3f(mi.Point3f(0.0), mi.Vector3f(ring * dr.cos(azimuth), ring * dr.sin(azimuth), dr.cos(polar)))
        light, _, _ = self._everything.sample(scene, sampler, mi.RayDifferential3f(ray))
        dr.eval(light)
        means = [
            np.asarray(dr.block_sum(channel, count)) / np.float32(count) for channel in (light.x, light.y, light.z)
        ]
        return np.stack(means, axis=1).reshape(height, width, 3)


def undistorted(x_mm: Any, y_mm: Any, radial_k: Any, radial_k2: Any) -> tuple[Any, Any]:
    """Tsai's undistortion on the sensor, mm from the principal point: x_u = x_d (1 + K r_d² + K2 r_d⁴).

    Plain arithmetic, so that NumPy's arrays and Dr.Jit's go through the same line.
    """
    squared = x_mm * x_mm + y_mm * y_mm
    factor = 1.0 + squared * (radial_k + squared * radial_k2)
    return x_mm * factor, y_mm * factor
