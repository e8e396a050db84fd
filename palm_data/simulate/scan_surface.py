"""Triangle surfaces as a stereo rig reconstructs them: coarser than the truth, with its texture coordinates."""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.hand import CapturedHand
from palm_data.simulate.template import capture_template

_CHART_JUMP = 0.012
_ARM_TRIM_M = (0.001, 0.006)


@dataclass(frozen=True, eq=False)
class ScanSurface:
    """A mesh, and where on the captured surface each of its vertices lies."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    true_vertex: Int[ndarray, "v"]
    """The captured surface's vertex nearest to each vertex."""

    def kept(self, chosen: Bool[ndarray, "f"]) -> "ScanSurface":
        """Some of the faces, and the vertices that these use."""
        return self.renumbered(self.vertices, self.faces[chosen])

    def renumbered(self, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "g 3"]) -> "ScanSurface":
        """The same vertices moved and joined by other faces; unused ones go."""
        used, flat = np.unique(faces, return_inverse=True)
        return ScanSurface(vertices[used], flat.reshape(-1, 3), self.true_vertex[used])


def coarse_surface(captured: CapturedHand, faces: int, rng: np.random.Generator) -> ScanSurface:
    """The captured surface without its cap, cut raggedly through the arm, with about so many faces."""
    kept = captured.part != 2
    arm = captured.vertices[~captured.is_hand]
    down = arm.mean(axis=0) - captured.vertices[captured.is_hand].mean(axis=0)
    down /= np.linalg.norm(down)
    centres = captured.vertices[captured.faces].mean(axis=1)
    depth = centres @ down
    turn = np.arctan2(*((centres - centres.mean(axis=0)) @ _across(down)).T)
    waves, phases = np.array([2, 5, 9]), rng.uniform(0, 2 * np.pi, 3)
    ragged = 0.5 + np.sin(turn[:, None] * waves + phases) @ [0.2, 0.15, 0.1]
    kept &= depth < depth[kept].max() - _ARM_TRIM_M[0] - ragged * (_ARM_TRIM_M[1] - _ARM_TRIM_M[0])
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(captured.vertices), o3d.utility.Vector3iVector(captured.faces[kept].astype(np.int32))
    )
    mesh.remove_unreferenced_vertices()
    if faces < kept.sum():
        mesh = mesh.simplify_quadric_decimation(faces)
        mesh.remove_degenerate_triangles()
        mesh.remove_unreferenced_vertices()
    vertices = np.asarray(mesh.vertices).copy()
    triangles = np.asarray(mesh.triangles).astype(np.int64)
    face, weights = SurfaceQuery(captured.vertices, captured.faces).closest(vertices)
    rows = np.arange(len(vertices))
    nearest = captured.faces[face][rows, weights.argmax(axis=1)]
    return ScanSurface(vertices, triangles, nearest)


def texture_coordinates(
    captured: CapturedHand, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]
) -> tuple[Float[ndarray, "t 2"], Int[ndarray, "f 3"]]:
    """Coordinates in the captured layout: one for each vertex, and three more for each face that crosses a chart's edge.

    Such a face takes the chart under its middle, continued past the edge.
    """
    truth = SurfaceQuery(captured.vertices, captured.faces)
    face, weights = truth.closest(vertices)
    uv = np.einsum("vk,vkc->vc", weights, captured.uv[captured.uv_faces[face]])
    middle_face, _ = truth.closest(vertices[faces].mean(axis=1))
    continued = _continued(captured, middle_face, vertices[faces])
    jumps = np.linalg.norm(uv[faces] - continued, axis=2).max(axis=1) > _CHART_JUMP
    uv_faces = faces.copy()
    uv_faces[jumps] = len(uv) + np.arange(3 * jumps.sum()).reshape(-1, 3)
    return np.concatenate([uv, continued[jumps].reshape(-1, 2)]), uv_faces


def finger_of_vertices() -> Int[ndarray, "vertices"]:
    """Which finger (row of `FINGERS`) each captured vertex belongs to; −1 on the palm and the arm."""
    template = capture_template()
    weights = template.refine @ template.base_weights
    shares = np.stack(
        [weights[:, list(bones.joint_ids)].sum(axis=1) for bones in template.anatomy.fingers.values()], axis=1
    )
    return np.where(shares.max(axis=1) > 0.6, shares.argmax(axis=1), -1)


def _continued(captured: CapturedHand, face: ndarray, points: Float[ndarray, "f 3 3"]) -> Float[ndarray, "f 3 2"]:
    """Texture coordinates of points by the affine map of one captured face each."""
    a, b, c = np.moveaxis(captured.vertices[captured.faces[face]], 1, 0)
    first, second, offset = b - a, c - a, points - a[:, None]
    gram = np.stack([np.stack([_dot(first, first), _dot(first, second)], -1),
                     np.stack([_dot(first, second), _dot(second, second)], -1)], -2)  # fmt: skip
    sides = np.stack([np.einsum("fpi,fi->fp", offset, first), np.einsum("fpi,fi->fp", offset, second)], axis=-1)
    shares = np.einsum("fij,fpj->fpi", np.linalg.inv(gram), sides)
    ua, ub, uc = np.moveaxis(captured.uv[captured.uv_faces[face]], 1, 0)
    return ua[:, None] + shares[..., :1] * (ub - ua)[:, None] + shares[..., 1:] * (uc - ua)[:, None]


def _across(axis: ndarray) -> Float[ndarray, "3 2"]:
    first = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(axis, first)], axis=1)


def _dot(left: ndarray, right: ndarray) -> ndarray:
    return np.einsum("ni,ni->n", left, right)
