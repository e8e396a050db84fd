"""The closed canonical hand and distances to it, against a closed form, other libraries and brute force."""

import numpy as np
import pytest
import torch
import trimesh

from palm_data.hand.model import load_hand_model
from palm_model.prior.canonical import canonical_box, canonical_vertices
from palm_model.prior.closed_surface import ClosedSurface, closed_hands
from palm_model.prior.sdf_samples import random_shapes, sample_hands
from schemas.prior_pretraining import PretrainingSettings

MODEL = load_hand_model()


def cube_surface(half_side: float) -> ClosedSurface:
    box = trimesh.creation.box(extents=(2 * half_side,) * 3)
    return ClosedSurface(np.asarray(box.vertices, np.float32), np.asarray(box.faces, np.int64))


def shapes(count: int) -> torch.Tensor:
    return random_shapes(count, 2.5, torch.Generator().manual_seed(3))


def winding_numbers(surface: ClosedSurface, points: np.ndarray) -> np.ndarray:
    """How often a surface goes round points, from the solid angles of its triangles, float64."""
    corners = surface.vertices.astype(np.float64)[surface.faces]
    a, b, c = (corners[None, :, k] - points[:, None].astype(np.float64) for k in range(3))
    la, lb, lc = (np.linalg.norm(one, axis=-1) for one in (a, b, c))
    up = np.einsum("nfi,nfi->nf", a, np.cross(b, c))
    down = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return np.arctan2(up, down).sum(axis=1) / (2 * np.pi)


def test_the_hand_is_watertight_for_any_shape_and_faces_outwards() -> None:
    betas = shapes(3)
    for surface, open_hand in zip(closed_hands(MODEL, betas), canonical_vertices(MODEL, betas), strict=True):
        mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.euler_number == 2
        assert 1.5e-4 < mesh.volume < 8e-4  # 150 to 800 ml
        np.testing.assert_allclose(surface.vertices[:-1], open_hand, atol=1e-7)


def test_distance_to_a_cube_is_its_closed_form() -> None:
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (2000, 3))
    beyond = np.abs(points) - 0.04
    expected = np.linalg.norm(np.maximum(beyond, 0.0), axis=1) + np.minimum(beyond.max(axis=1), 0.0)
    found = cube_surface(0.04).signed_distance(points)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert (found < 0).any()
    assert (found > 0).any()


def test_distances_to_a_hand_are_those_of_another_library() -> None:
    surface = closed_hands(MODEL, shapes(1))[0]
    points, _ = surface.points(100, np.random.default_rng(1))
    points += np.random.default_rng(2).normal(0.0, 0.01, points.shape)
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    _, apart, _ = trimesh.proximity.closest_point_naive(mesh, points)
    np.testing.assert_allclose(np.abs(surface.signed_distance(points)), apart, atol=1e-6)


def test_inside_is_where_the_surface_goes_round() -> None:
    for surface in closed_hands(MODEL, shapes(3)):
        points, _ = surface.points(150, np.random.default_rng(1))
        points += np.random.default_rng(2).normal(0.0, 0.006, points.shape)
        distance = surface.signed_distance(points)
        clear = np.abs(distance) > 1e-5
        inside = winding_numbers(surface, points) > 0.5
        np.testing.assert_array_equal((distance < 0)[clear], inside[clear])
        assert 0.2 < inside.mean() < 0.8


def test_points_are_even_over_the_surface_and_normals_look_outwards() -> None:
    surface = cube_surface(0.05)
    points, normals = surface.points(6000, np.random.default_rng(0))
    assert np.abs(np.abs(points).max(axis=1) - 0.05).max() < 1e-6
    np.testing.assert_allclose((points * normals).sum(axis=1), 0.05, atol=1e-6)
    for axis in range(3):
        for side in (-1.0, 1.0):
            there = normals[:, axis] * side > 0.5
            assert there.sum() == pytest.approx(1000, abs=150)
            assert np.abs(points[there].mean(axis=0)[[k for k in range(3) if k != axis]]).max() < 0.004


def test_samples_are_near_the_surface_or_anywhere_in_the_cube() -> None:
    settings = PretrainingSettings(points=500, near_share=0.6, near_std_m=0.004)
    box, betas = canonical_box(MODEL), shapes(2)
    samples = sample_hands(MODEL, betas, box, settings, seed=5)
    assert samples.sdf.shape == (2, 500)
    near, anywhere = samples.sdf[:, :300].abs(), samples.points[:, 300:]
    assert float((near < 0.01).float().mean()) > 0.95
    assert bool(box.contains(anywhere).all())
    spread = box.to_unit(anywhere).flatten(0, 1)
    torch.testing.assert_close(spread.mean(dim=0), torch.full((3,), 0.5), atol=0.06, rtol=0.0)
    torch.testing.assert_close(spread.std(dim=0), torch.full((3,), 12**-0.5), atol=0.04, rtol=0.0)
    again = sample_hands(MODEL, betas, box, settings, seed=5)
    assert torch.equal(again.points, samples.points)
    assert torch.equal(again.sdf, samples.sdf)
    assert not torch.equal(sample_hands(MODEL, betas, box, settings, seed=6).points, samples.points)


def test_shapes_keep_within_reach_and_reach_it() -> None:
    betas = random_shapes(200, 2.5, torch.Generator().manual_seed(0))
    size = torch.linalg.vector_norm(betas, dim=1)
    assert float(size.max()) <= 2.5 + 1e-5
    assert float(size.max()) > 2.49
    assert float(size.min()) < 2.0
    assert float(betas.mean(dim=0).abs().max()) < 0.25
