"""Meshes with known pictures, and Open3D's ray casting as the oracle."""

from typing import NamedTuple

import numpy as np
import open3d as o3d
from numpy import ndarray

from palm_data.hand.model import load_hand_model
from palm_data.maps.surface import vertex_normals
from palm_data.maps.zbuffer import Roi


class Scene(NamedTuple):
    """A mesh in camera axes (metres), and the camera's K and size."""

    vertices: ndarray
    faces: ndarray
    intrinsics: ndarray
    width: int
    height: int


def hand_scene(width: int, height: int, *, subdivisions: int, focal: float = 2.0, noise_m: float = 1e-4) -> Scene:
    """The stand-in hand, subdivided and roughened as a scan is, 0.7 m in front of the camera."""
    model = load_hand_model()
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.asarray(model.v_template, dtype=np.float64)),
        o3d.utility.Vector3iVector(np.asarray(model.faces, dtype=np.int32)),
    )
    if subdivisions:
        mesh = mesh.subdivide_midpoint(subdivisions)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles, dtype=np.int32)
    vertices = vertices + np.random.default_rng(3).normal(0.0, noise_m, vertices.shape)
    turn = np.array([[0.96, 0.0, 0.28], [0.28, 0.0, -0.96], [0.0, 1.0, 0.0]])
    in_camera = (vertices - vertices.mean(axis=0)) @ turn.T + np.array([0.003, -0.002, 0.7])
    intrinsics = np.array([[focal * width, 0, width / 2 + 0.37], [0, focal * width, height / 2 - 0.21], [0, 0, 1.0]])
    return Scene(in_camera, faces, intrinsics, width, height)


class CastRays(NamedTuple):
    """What Open3D sees through the pixel centres of a region."""

    hit: ndarray
    depth: ndarray
    normal: ndarray


def ray_caster(scene: Scene) -> o3d.t.geometry.RaycastingScene:
    """Open3D's acceleration structure over the mesh."""
    caster = o3d.t.geometry.RaycastingScene(nthreads=1)
    caster.add_triangles(
        o3d.core.Tensor(scene.vertices.astype(np.float32)), o3d.core.Tensor(scene.faces.astype(np.uint32))
    )
    return caster


def cast_rays(
    scene: Scene,
    roi: Roi,
    *,
    caster: o3d.t.geometry.RaycastingScene | None = None,
    normals: ndarray | None = None,
) -> CastRays:
    """Mask, camera z and smooth normals of the side that is seen, one ray a pixel; the structure and the vertex normals may be kept."""
    caster = ray_caster(scene) if caster is None else caster
    normals = vertex_normals(scene.vertices, scene.faces) if normals is None else normals
    rays = pixel_rays(scene, roi)
    answer = caster.cast_rays(o3d.core.Tensor(rays), nthreads=1)
    depth = answer["t_hit"].numpy()  # the rays' z is 1, so the ray parameter is the camera's z
    hit = np.isfinite(depth)
    triangle = scene.faces[np.where(hit, answer["primitive_ids"].numpy(), 0).astype(np.int64)]
    second, third = np.moveaxis(answer["primitive_uvs"].numpy().astype(np.float64), -1, 0)
    weights = np.stack([1.0 - second - third, second, third], axis=-1)
    behind = (answer["primitive_normals"].numpy() * rays[..., 3:]).sum(axis=-1) > 0
    normal = np.einsum("hwc,hwcx->hwx", weights, normals[triangle]) * np.where(behind, -1.0, 1.0)[..., None]
    return CastRays(hit, np.where(hit, depth, 0.0), normal / np.linalg.norm(normal, axis=-1, keepdims=True))


def pixel_rays(scene: Scene, roi: Roi) -> ndarray:
    """Rays (origin, direction with z = 1) through the pixel centres of a region, float32."""
    x, y = np.meshgrid(np.arange(roi.left, roi.right) + 0.5, np.arange(roi.top, roi.bottom) + 0.5)
    rays = np.zeros((*x.shape, 6), dtype=np.float32)
    rays[..., 3] = (x - scene.intrinsics[0, 2]) / scene.intrinsics[0, 0]
    rays[..., 4] = (y - scene.intrinsics[1, 2]) / scene.intrinsics[1, 1]
    rays[..., 5] = 1.0
    return rays
