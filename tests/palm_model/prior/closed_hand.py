"""The hand model in its rest pose as a closed mesh, and Open3D's rays on it: the reference for visibility."""

from typing import Any, NamedTuple

import numpy as np
import open3d as o3d

from palm_data.hand.model import load_hand_model


class ClosedHand(NamedTuple):
    vertices: np.ndarray
    """(n, 3) float32, metres."""
    normals: np.ndarray
    faces: np.ndarray
    rays: Any
    """An Open3D scene; on one thread."""


def closed_hand() -> ClosedHand:
    """The wrist is closed by a fan about its middle, so that inside and outside are told apart."""
    hand = load_hand_model()
    rim = hand.rim_vertices()
    vertices = np.concatenate([hand.v_template, hand.v_template[rim].mean(axis=0, keepdims=True)])
    middle = np.full(len(rim), len(hand.v_template))
    faces = np.concatenate([hand.faces, np.stack([np.roll(rim, -1), rim, middle], axis=1)]).astype(np.int32)
    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices.astype(np.float64)), o3d.utility.Vector3iVector(faces)
    )
    legacy.compute_vertex_normals()
    rays = o3d.t.geometry.RaycastingScene(nthreads=1)
    rays.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(legacy))
    return ClosedHand(vertices.astype(np.float32), np.asarray(legacy.vertex_normals).astype(np.float32), faces, rays)
