"""Marching cubes on SDFs whose surfaces are known in closed form, and the hand's mesh in a pose."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from palm_model.prior.bones import rotation_matrices
from palm_model.prior.mesh import Mesh, canonical_mesh, components, floaters, largest_component, posed_mesh
from palm_model.prior.poses import Poses
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.errors import GeometryError
from tests.palm_model.prior.known_nets import grids_about, known_net
from tests.palm_model.prior.small_fields import RigidSkinning
from tests.palm_model.prior.surfaces import icosphere, standing
from tests.palm_model.prior.test_network_hand import FLAT, network, scene

RADIUS = 0.03
CENTRE = torch.tensor([0.004, -0.01, 0.02])


def sphere(points: Tensor) -> Tensor:
    return torch.linalg.vector_norm(points - CENTRE, dim=-1) - RADIUS


def about(radius: float = RADIUS) -> tuple[Poses, SkinningGrids]:
    vertices = torch.from_numpy(icosphere(radius, 2)[0]) + CENTRE
    return standing(vertices[None]), grids_about(vertices)


def closed(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_a_spheres_mesh_has_its_area_volume_and_normals_and_is_watertight() -> None:
    net = known_net(sphere)
    mesh = canonical_mesh(net, *about(), resolution=70, reach_m=0.004)
    assert closed(mesh).is_watertight
    assert closed(mesh).is_winding_consistent
    # Lengths are off by the sagitta, (spacing)² / 8R at most: about 0.0045 of the radius twice and thrice.
    assert mesh.areas().sum() == pytest.approx(4.0 * math.pi * RADIUS**2, rel=0.01)
    assert mesh.volume() == pytest.approx(4.0 / 3.0 * math.pi * RADIUS**3, rel=0.015)
    outwards = mesh.vertices - CENTRE.numpy()
    assert np.abs(np.linalg.norm(outwards, axis=1) - RADIUS).max() < 5e-5
    assert ((outwards / RADIUS) * mesh.normals).sum(axis=1).min() > 0.998  # vertices are up to 5e-5 m off the sphere
    at = mesh.vertices[mesh.faces]
    facing = np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
    assert (facing * (at.mean(axis=1) - CENTRE.numpy())).sum(axis=1).min() > 0
    assert sum(net.geometry.asked) < 0.35 * 70**3  # the gradient's four evaluations a vertex with it


def test_a_surface_that_leaves_what_is_searched_is_cut_there_and_nothing_closes_it() -> None:
    half = torch.from_numpy(icosphere(RADIUS, 2)[0])
    half = half[half[:, 0] < -0.02] + CENTRE
    mesh = canonical_mesh(known_net(sphere), standing(half[None]), grids_about(half), resolution=70, reach_m=0.004)
    assert not closed(mesh).is_watertight
    assert 0.1 < mesh.areas().sum() / (4.0 * math.pi * RADIUS**2) < 0.9
    assert np.abs(np.linalg.norm(mesh.vertices - CENTRE.numpy(), axis=1) - RADIUS).max() < 5e-5


def test_what_is_told_to_the_network_is_of_the_row() -> None:
    net = known_net(sphere)
    net.conditioning.shape[0] = 0.005
    poses, grids = about()
    mesh = canonical_mesh(net, poses, grids, resolution=50, reach_m=0.008)
    assert np.linalg.norm(mesh.vertices - CENTRE.numpy(), axis=1).mean() == pytest.approx(RADIUS + 0.005, abs=1e-4)


def test_a_network_without_surface_is_refused() -> None:
    with pytest.raises(GeometryError, match="expected a surface within 4 mm"):
        canonical_mesh(known_net(lambda points: points[:, 0] * 0.0 + 0.1), *about(), resolution=40, reach_m=0.004)


def test_components_are_told_apart_with_their_distance_and_the_largest_is_kept() -> None:
    far, small = torch.tensor([0.05, 0.05, 0.05]), 0.006

    def two(points: Tensor) -> Tensor:
        return torch.minimum(sphere(points), torch.linalg.vector_norm(points - far, dim=-1) - small)

    mesh = canonical_mesh(known_net(two), *about(), resolution=50, reach_m=0.05)
    vertices, faces = icosphere(RADIUS, 3)
    parts = components(mesh, vertices + CENTRE.numpy(), faces)
    assert len(parts) == 2
    assert parts[0].farthest_m < 4e-4
    apart = float(torch.linalg.vector_norm(far - CENTRE)) - RADIUS
    assert parts[1].nearest_m == pytest.approx(apart - small, abs=6e-4)
    assert parts[1].farthest_m == pytest.approx(apart + small, abs=6e-4)
    assert sum(one.faces for one in parts) == len(mesh.faces)
    assert sum(one.area_m2 for one in parts) == pytest.approx(mesh.areas().sum())
    assert floaters(parts) == 1
    assert floaters(parts, off_m=0.06) == 0
    kept = largest_component(mesh)
    assert len(kept.faces) == parts[0].faces
    assert np.abs(np.linalg.norm(kept.vertices - CENTRE.numpy(), axis=1) - RADIUS).max() < 2e-4


@given(st.tuples(*[st.floats(-3.0, 3.0)] * 3), st.tuples(*[st.floats(-1.0, 1.0)] * 3))
@settings(max_examples=5, deadline=None)
def test_a_rigid_pose_moves_the_mesh_and_turns_its_normals(
    turn: tuple[float, float, float], move: tuple[float, float, float]
) -> None:
    vertices, faces = icosphere(RADIUS, 1)
    vertices = vertices * np.float32([1.0, 0.7, 0.4])
    normals = vertices / np.float32([1.0, 0.49, 0.16])
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    bones = torch.eye(4).repeat(1, 16, 1, 1)
    bones[..., :3, :3] = rotation_matrices(torch.tensor(turn))
    bones[..., :3, 3] = torch.tensor(move)
    poses = dataclasses.replace(standing(torch.from_numpy(vertices)[None]), bones=bones)
    before = Mesh(vertices, normals, faces)
    after = posed_mesh(before, poses, RigidSkinning())
    turned = bones[0, 0, :3, :3].numpy()
    assert after.vertices == pytest.approx(vertices @ turned.T + np.float32(move), abs=1e-5)
    assert after.normals == pytest.approx(normals @ turned.T, abs=1e-4)
    assert after.volume() == pytest.approx(before.volume(), rel=1e-3)


def test_a_bent_hands_mesh_lies_on_its_surface_and_its_normals_are_those_of_its_triangles() -> None:
    poses, skinning, _ = scene()
    own, row = poses.select(torch.tensor([1])), torch.tensor([1])
    net = network()
    torch.nn.init.zeros_(net.geometry.last.weight)
    grids = skinning.grids.for_poses(row)
    flat = canonical_mesh(net, own, grids, resolution=48, reach_m=0.004, largest_only=True)
    apart = torch.cdist(torch.from_numpy(flat.vertices), FLAT[1]).amin(dim=1)
    assert float(apart.quantile(0.9)) < 0.006  # beyond the open wrist the surface goes on
    posed = posed_mesh(flat, own, type(skinning)(grids, skinning.settings))
    nearest = torch.cdist(torch.from_numpy(posed.vertices), own.vertices[0]).amin(dim=1)
    assert float(nearest.median()) < 0.004
    at = posed.vertices[posed.faces]
    facing = np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
    cosine = (facing * posed.normals[posed.faces[:, 0]]).sum(axis=1) / np.linalg.norm(facing, axis=1)
    assert np.median(cosine) > 0.9
