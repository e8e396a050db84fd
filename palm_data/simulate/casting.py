"""Surfaces that rays and distances are asked of: one place for Open3D's types, on one thread for equal bytes."""

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Int
from numpy import ndarray


class SurfaceQuery:
    """A triangle mesh that answers where it is nearest and what it hides."""

    def __init__(self, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> None:
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(_tensor(vertices, np.float32), _tensor(faces, np.uint32))

    def distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Distance to the surface."""
        return self._scene.compute_distance(_tensor(points, np.float32), nthreads=1).numpy().astype(np.float64)

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Distance to the surface, negative inside it; the mesh must be closed."""
        return self._scene.compute_signed_distance(_tensor(points, np.float32), nthreads=1).numpy().astype(np.float64)

    def closest(self, points: Float[ndarray, "n 3"]) -> tuple[Int[ndarray, "n"], Float[ndarray, "n 3"]]:
        """The face nearest to each point, and the barycentric coordinates of the nearest place on it."""
        found = self._scene.compute_closest_points(_tensor(points, np.float32), nthreads=1)
        second_third = found["primitive_uvs"].numpy().astype(np.float64)
        weights = np.column_stack([1.0 - second_third.sum(axis=1), second_third])
        return found["primitive_ids"].numpy().astype(np.int64), weights

    def hides(self, starts: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]) -> Bool[ndarray, "n"]:
        """Whether the surface lies anywhere along each ray."""
        rays = np.concatenate([starts, directions], axis=1)
        return np.asarray(self._scene.test_occlusions(_tensor(rays, np.float32), nthreads=1).numpy())


def _tensor(array: ndarray, dtype: type[np.generic]) -> o3d.core.Tensor:
    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array.astype(dtype)))
