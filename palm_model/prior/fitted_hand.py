"""The hand model's own topology on the prior's surface: a mesh with texture coordinates, the same for all people.

The model's flat surface, subdivided, is moved along its normals onto the zero level of the SDF. Where there is none
within reach, as at an open wrist or where the network left a hole, neighbours say how far.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_array

from palm_data.hand.model import HandModel
from palm_data.maps.surface import vertex_normals
from palm_model.prior.atlas import Atlas, hand_atlas
from palm_model.prior.canonical import canonical_vertices
from palm_model.prior.mesh import Mesh, gradients, signed_distances
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses

_STEPS = 16
"""Stretches of the search along a normal, to either side."""
_HALVINGS = 8


@dataclass(frozen=True, eq=False)
class FittedHand:
    """One hand's surface with texture coordinates, in canonical space."""

    mesh: Mesh
    atlas: Atlas
    """Its triangles are the mesh's, in their order."""
    missed: Bool[ndarray, "v"]
    """Vertices whose normal met no surface within reach: neighbours placed them."""


class Subdivision(NamedTuple):
    """Each triangle cut into four at its edges' middles."""

    faces: Int[ndarray, "4f 3"]
    edges: Int[ndarray, "e 2"]
    """Whose middles are the new vertices, in order, after the old ones."""

    def extended(self, values: Float[ndarray, "v c"]) -> Float[ndarray, "w c"]:
        """Old values, and the means of both ends for the new."""
        return np.concatenate([values, values[self.edges].mean(axis=1)]).astype(values.dtype)


def subdivided(faces: Int[ndarray, "f 3"], vertices: int) -> Subdivision:
    """Cut in four: triangle i becomes i, f + i, 2f + i (at its corners) and 3f + i, whatever the vertices are."""
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    edges, middle = np.unique(ends, axis=0, return_inverse=True)
    ab, bc, ca = (middle.reshape(-1, 3) + vertices).T
    a, b, c = faces.T
    cut = [np.stack(one, axis=1) for one in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return Subdivision(np.concatenate(cut), edges)


def fitted_hand(
    network: PalmNet, poses: Poses, model: HandModel, *, rounds: int = 2, reach_m: float = 0.008
) -> FittedHand:
    """The hand model's flat surface, moved onto the surface that the network has for one hand.

    Args:
        poses: one row.
        rounds: of subdivision; each makes four triangles of one.
        reach_m: how far along its normal a vertex looks, outwards and inwards.
    """
    vertices = canonical_vertices(model, poses.betas)[0].detach().cpu().numpy()
    faces, atlas = model.faces, hand_atlas(model)
    for _ in range(rounds):
        cut = subdivided(faces, len(vertices))
        vertices, faces, atlas = cut.extended(vertices), cut.faces, _cut_atlas(atlas)
    normals = vertex_normals(vertices.astype(np.float64), faces.astype(np.int32))
    lifted = _heights(network, poses, vertices, normals, reach_m)
    missed = ~np.isfinite(lifted)
    heights = _filled(lifted, faces)
    moved = (vertices + heights[:, None] * normals).astype(np.float32)
    slopes = gradients(network, torch.from_numpy(moved).to(poses.bones), poses)
    facing = torch.nn.functional.normalize(slopes, dim=-1).cpu().numpy()
    own = vertex_normals(moved.astype(np.float64), faces.astype(np.int32))
    facing[missed] = own[missed]
    return FittedHand(Mesh(moved, facing.astype(np.float32), faces.astype(np.int64)), atlas, missed)


def _cut_atlas(atlas: Atlas) -> Atlas:
    cut = subdivided(atlas.faces, len(atlas.uv))
    return Atlas(cut.extended(atlas.uv), cut.faces)


def _heights(
    network: PalmNet,
    poses: Poses,
    vertices: Float[ndarray, "v 3"],
    normals: Float[ndarray, "v 3"],
    reach_m: float,
) -> Float[ndarray, "v"]:
    """How far along its normal each vertex leaves the solid, the nearest such place; NaN where there is none."""
    base, along = (torch.from_numpy(np.ascontiguousarray(one)).to(poses.bones) for one in (vertices, normals))
    steps = torch.linspace(-reach_m, reach_m, 2 * _STEPS + 1).to(base)
    places = base[:, None] + steps[:, None] * along[:, None]
    values = signed_distances(network, places.flatten(0, 1), poses).view(len(base), -1)
    leaves = (values[:, :-1] <= 0) & (values[:, 1:] > 0)
    middles = (0.5 * (steps[:-1] + steps[1:])).abs().expand_as(leaves)
    first = middles.masked_fill(~leaves, torch.inf).argmin(dim=1)
    low, high = steps[first], steps[first + 1]
    for _ in range(_HALVINGS):
        half = 0.5 * (low + high)
        inside = signed_distances(network, base + half[:, None] * along, poses) <= 0
        low, high = torch.where(inside, half, low), torch.where(inside, high, half)
    found = torch.where(leaves.any(dim=1), 0.5 * (low + high), torch.nan)
    return found.cpu().numpy().astype(np.float64)


def _filled(heights: Float[ndarray, "v"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "v"]:
    """Unknown heights as the mean of their neighbours', from the known ones inwards; zero if none is known."""
    count = len(heights)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    beside = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
    known, filled = np.isfinite(heights), np.nan_to_num(heights)
    while True:
        known_beside = beside @ known.astype(np.float64)
        new = ~known & (known_beside > 0)
        if not new.any():
            return filled
        filled[new] = (beside @ filled)[new] / known_beside[new]
        known = known | new
