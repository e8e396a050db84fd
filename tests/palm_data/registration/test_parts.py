"""The parts of registration: rigid start, limits, closest points, samples, the wrist."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from palm_data.maps.surface import build_surface
from palm_data.registration.anatomy import pose_limits
from palm_data.registration.parameters import FRAME_SIZE, ORIENT, TRANSL
from palm_data.registration.quadratic import geman_mcclure, geman_mcclure_weight
from palm_data.registration.start import rigid_start, rigid_transform
from palm_data.registration.surface import MovingSurface, border_edges, closest_on_scan, sample_surface
from palm_data.registration.wrist import WristRim
from schemas.errors import GeometryError
from tests.palm_data.registration.hands import hand, some_pose


@given(st.integers(0, 10_000), st.integers(3, 30))
@settings(max_examples=40, deadline=None)
def test_a_rigid_transform_is_found_again(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    points, rotation, translation = (
        rng.normal(size=(count, 3)),
        Rotation.random(rng=rng).as_matrix(),
        rng.normal(size=3),
    )
    found, shift = rigid_transform(points, points @ rotation.T + translation)
    assert np.allclose(found, rotation, atol=1e-6)
    assert np.allclose(shift, translation, atol=1e-6)
    assert np.linalg.det(found) > 0


def test_points_on_a_line_have_no_rigid_transform() -> None:
    line = np.outer(np.arange(4.0), [1.0, 2.0, 3.0])
    with pytest.raises(GeometryError, match="on a line"):
        rigid_transform(line, line)


def test_the_rigid_start_lays_the_unposed_model_exactly() -> None:
    _, pose = hand()
    frame = np.zeros(FRAME_SIZE)
    frame[ORIENT], frame[TRANSL] = [0.4, -1.1, 0.8], [0.02, 0.3, -0.1]
    orient, transl = rigid_start(pose(np.zeros(FRAME_SIZE), np.zeros(10)).joints, pose(frame, np.zeros(10)).joints)
    assert np.allclose(orient, frame[ORIENT], atol=1e-6)
    assert np.allclose(transl, frame[TRANSL], atol=1e-7)


def test_fingers_bend_towards_the_palm_and_the_mean_pose_is_within_the_limits() -> None:
    model, pose = hand()
    limits = pose_limits(model)
    assert np.allclose(limits.axes @ limits.axes.T, np.eye(45), atol=1e-9)
    assert not limits.excess(np.zeros(45)).any()
    rest = pose(np.zeros(FRAME_SIZE), np.zeros(10)).joints
    palm = np.cross(rest[1] - rest[0], rest[7] - rest[0])
    for joint in (1, 4, 7, 10):
        bent = np.zeros(FRAME_SIZE)
        bent[3:48] = limits.axes[3 * (joint - 1) + 2] * 0.5
        assert (pose(bent, np.zeros(10)).joints[joint + 1] - rest[joint + 1]) @ palm > 0


def test_beyond_a_limit_only_the_excess_counts() -> None:
    limits = pose_limits(hand()[0])
    pose = limits.axes.T @ (limits.high + 0.1) - limits.mean
    assert np.allclose(limits.excess(pose), 0.1)


def test_closest_points_agree_with_pytorch3d() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch3d.loss.point_mesh_distance import point_face_distance
    model, pose = hand()
    vertices = pose(some_pose(1), np.zeros(10)).vertices
    queries = vertices[::40] + np.random.default_rng(0).normal(0, 0.01, (len(vertices[::40]), 3))
    closest = MovingSurface(model.faces).at(vertices)(queries)
    # In units of 2 mm: it treats triangles under 5e-3 square units as points.
    triangles, points = torch.from_numpy(vertices[model.faces] * 500).float(), torch.from_numpy(queries * 500).float()
    start = torch.zeros(1, dtype=torch.int64)
    squared = point_face_distance(points, start, triangles, start, len(queries))
    assert np.allclose(np.linalg.norm(closest.points - queries, axis=1), squared.sqrt().numpy() / 500, atol=2e-6)
    assert np.allclose(closest.barycentric.sum(axis=1), 1.0)


def test_points_beyond_the_cut_are_on_the_border() -> None:
    model, pose = hand()
    vertices = pose(np.zeros(FRAME_SIZE), np.zeros(10)).vertices
    plane = WristRim(model).plane(vertices)
    beyond = plane.point + plane.normal * 0.05 + (vertices[model.rim_vertices()] - plane.point)
    scan = closest_on_scan(build_surface(vertices, model.faces))
    assert scan(beyond).on_border.all()
    assert not scan(vertices[list(model.tip_vertex_ids)]).on_border.any()
    assert plane.beyond(beyond, 0.0).all()
    assert not plane.beyond(vertices[list(model.tip_vertex_ids)], 0.0).any()
    assert border_edges(model.faces).sum() == len(model.rim_vertices())


def test_samples_lie_on_the_surface_evenly_by_area() -> None:
    corners = np.array([[0.0, 0, 0], [3, 0, 0], [3, 1, 0], [0, 1, 0], [4, 0, 0], [4, 1, 0]])
    surface = build_surface(corners, np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]]), min_piece_share=0.0)
    points, normals = sample_surface(surface, 4000, seed=1)
    assert np.allclose(points[:, 2], 0)
    assert np.allclose(np.abs(normals[:, 2]), 1)
    assert abs((points[:, 0] < 3).mean() - 0.75) < 0.01
    assert abs((points[:, 1] < 0.5).mean() - 0.5) < 0.03


@given(st.floats(0, 100), st.floats(0.1, 10))
def test_geman_mcclure_weighs_near_points_fully_and_far_ones_not(distance: float, scale: float) -> None:
    weight = float(geman_mcclure_weight(np.array(distance**2), scale))
    # ρ'(r) / 2r of ρ(r) = r²σ²/(r² + σ²)
    assert np.isclose(weight, scale**4 / (distance**2 + scale**2) ** 2)
    assert 0 <= weight <= 1
    step = 1e-4 * (distance + scale)
    rise = float(
        geman_mcclure(np.array((distance + step) ** 2), scale) - geman_mcclure(np.array((distance - step) ** 2), scale)
    )
    assert np.isclose(rise / (2 * step), 2 * weight * distance, rtol=1e-4, atol=1e-6)
