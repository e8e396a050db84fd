"""The canonical hand as a closed surface, and how far points are from it.

A hand model is open at the wrist. A fan about the middle of its rim closes it, so that inside and outside are told
apart; there a hand ends in canonical space.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from palm_data.hand.model import HandModel
from palm_model.prior.canonical import canonical_vertices

_RAYS = 3
"""Rays that vote on which side a point is: a single one may pass through an edge."""


@dataclass(frozen=True, eq=False)
class ClosedSurface:
    """A closed triangle mesh, its faces counter-clockwise from outside."""

    vertices: Float[ndarray, "v 3"]
    """Metres, float32."""
    faces: Int[ndarray, "f 3"]

    def points(self, count: int, random: np.random.Generator) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Places drawn evenly over the surface, and its outward unit normals there."""
        corners = self.vertices[self.faces].astype(np.float64)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        twice_area = np.linalg.norm(across, axis=1)
        face = random.choice(len(self.faces), count, p=twice_area / twice_area.sum())
        places = np.einsum("nk,nkc->nc", random.dirichlet(np.ones(3), count), corners[face])
        return places, across[face] / twice_area[face, None]

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Distance of points to the surface, negative inside it, metres, float32.

        By Open3D's nearest triangles and the parity of what rays cross: where the surface passes through itself,
        what is inside twice counts as outside.
        """
        scene = o3d.t.geometry.RaycastingScene(nthreads=1)  # the same bytes on any machine
        scene.add_triangles(_tensor(self.vertices, np.float32), _tensor(self.faces, np.uint32))
        distance = scene.compute_signed_distance(_tensor(points, np.float32), nthreads=1, nsamples=_RAYS)
        return np.asarray(distance.numpy(), dtype=np.float32)


def closed_hands(model: HandModel, betas: Float[torch.Tensor, "p 10"]) -> list[ClosedSurface]:
    """The canonical hands of these shapes, each closed at the wrist.

    Raises:
        GeometryError: if the hand model has no single open rim.
    """
    rim = model.rim_vertices()
    middle = np.full(len(rim), len(model.v_template))
    faces = np.concatenate([model.faces, np.stack([np.roll(rim, -1), rim, middle], axis=1)]).astype(np.int64)
    surfaces = canonical_vertices(model, betas.detach().cpu().double()).numpy()
    return [
        ClosedSurface(np.concatenate([one, one[rim].mean(axis=0, keepdims=True)]).astype(np.float32), faces)
        for one in surfaces
    ]


def _tensor(array: ndarray, dtype: type[np.generic]) -> o3d.core.Tensor:
    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array.astype(dtype)))
