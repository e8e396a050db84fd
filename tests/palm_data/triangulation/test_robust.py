"""Triangulation: axioms, a float64 reference, and honest gaps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from palm_data.triangulation.linear import triangulate_dlt
from palm_data.triangulation.robust import CAUCHY_SCALE, Observations, Triangulation, TriangulationSettings, triangulate
from schemas.errors import GeometryError
from tests.palm_data.triangulation.rigs import SyntheticRig, synthetic_rig


def solve(
    rig: SyntheticRig,
    points_px: torch.Tensor,
    confidence: torch.Tensor | None = None,
    options: TriangulationSettings | None = None,
) -> Triangulation:
    confidence = torch.ones(points_px.shape[:2], dtype=points_px.dtype) if confidence is None else confidence
    return triangulate(Observations(points_px, confidence, rig.intrinsics, rig.world_to_camera), options)


@given(st.integers(2, 7), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_exact_detections_give_the_exact_point(views: int, seed: int) -> None:
    rig = synthetic_rig(views=views, seed=seed)
    found = solve(rig, rig.points_px)
    # Two views on opposite sides of the ring may be nearly parallel for some points: those are missing, never wrong.
    present = found.points.isfinite().all(dim=1)
    assert torch.allclose(found.points[present], rig.points[present], atol=1e-7)
    assert present.all() or views == 2


@given(st.permutations(range(7)), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_views_does_not_matter(order: list[int], seed: int) -> None:
    rig = synthetic_rig(views=7, seed=seed)
    noisy = rig.points_px + torch.from_numpy(np.random.default_rng(seed).normal(0, 1.0, rig.points_px.shape))
    shuffled = SyntheticRig(rig.points, noisy[:, order], rig.intrinsics[:, order], rig.world_to_camera[:, order])
    assert torch.allclose(
        solve(rig, noisy).points, solve(shuffled, shuffled.points_px).points, atol=1e-6, equal_nan=True
    )


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_moving_the_world_moves_the_answer(seed: int) -> None:
    rig, rng = synthetic_rig(views=7, seed=seed), np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation, rng.normal(size=3)
    moved = SyntheticRig(
        rig.points, rig.points_px, rig.intrinsics, rig.world_to_camera @ torch.from_numpy(np.linalg.inv(motion))
    )
    noisy = rig.points_px + torch.from_numpy(rng.normal(0, 1.0, rig.points_px.shape))
    expected = solve(rig, noisy).points @ torch.from_numpy(rotation).T + torch.from_numpy(motion[:3, 3])
    assert torch.allclose(solve(moved, noisy).points, expected, atol=1e-6)


def test_one_view_gives_nan_not_a_guess() -> None:
    rig = synthetic_rig(views=7)
    only_first = torch.zeros(rig.points_px.shape[:2], dtype=torch.float64)
    only_first[:, 0] = 1.0
    found = solve(rig, rig.points_px, only_first)
    assert found.points.isnan().all()
    assert not found.inliers.any()
    assert triangulate_dlt(rig.points_px, rig.intrinsics, rig.world_to_camera, only_first).isnan().all()


def test_nearly_parallel_rays_give_nan_not_a_guess() -> None:
    rig = synthetic_rig(views=7)
    poses = rig.world_to_camera.clone()
    poses[:, 1:] = poses[:, :1]
    poses[:, 1:, 0, 3] += 0.01  # all cameras within a centimetre of the first
    in_camera = torch.einsum("nvij,nj->nvi", poses[..., :3, :3], rig.points) + poses[..., :3, 3]
    pixels = in_camera[..., :2] / in_camera[..., 2:] * torch.tensor([3000.0, 3010.0]) + torch.tensor([1224.0, 1024.0])
    assert solve(SyntheticRig(rig.points, pixels, rig.intrinsics, poses), pixels).points.isnan().all()


def test_two_views_that_disagree_give_nan_not_a_guess() -> None:
    rig = synthetic_rig(views=7)
    confidence = torch.zeros(rig.points_px.shape[:2], dtype=torch.float64)
    confidence[:, :2] = 1.0
    apart = rig.points_px.clone()
    apart[:, 0, 1] += 300.0
    assert solve(rig, apart, confidence).points.isnan().all()


def test_masked_detections_may_hold_anything() -> None:
    rig = synthetic_rig(views=7)
    confidence = torch.ones(rig.points_px.shape[:2], dtype=torch.float64)
    confidence[:, 3] = 0.0
    spoiled = rig.points_px.clone()
    spoiled[:, 3] = torch.nan
    assert torch.allclose(solve(rig, spoiled, confidence).points, rig.points, atol=1e-7)


def test_a_trusted_detection_that_is_not_finite_is_refused() -> None:
    rig = synthetic_rig(views=7)
    spoiled = rig.points_px.clone()
    spoiled[0, 0] = torch.nan
    with pytest.raises(GeometryError, match="finite"):
        solve(rig, spoiled)


def corrupted(rig: SyntheticRig, *, noise_px: float, outliers: float, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, noise_px, rig.points_px.shape)
    angle, length = rng.uniform(0, 2 * np.pi, noise.shape[:2]), rng.uniform(60, 400, noise.shape[:2])
    far = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * length[..., None]
    wrong = rng.random(noise.shape[:2]) < outliers
    return rig.points_px + torch.from_numpy(np.where(wrong[..., None], far, noise))


def test_one_detection_in_seven_may_be_wild() -> None:
    rig = synthetic_rig(views=7, items=2000)
    found = solve(rig, corrupted(rig, noise_px=2.0, outliers=0.15, seed=1))
    error_mm = (found.points - rig.points).norm(dim=1) * 1000
    assert error_mm.nanmedian() < 0.6
    assert (error_mm < 10).double().mean() > 0.995


def reference(rig: SyntheticRig, pixels: np.ndarray, item: int, inliers: np.ndarray) -> np.ndarray:
    """The same robust objective, minimised by another library in float64 from the true point."""
    intrinsics, poses = rig.intrinsics[item].numpy()[inliers], rig.world_to_camera[item].numpy()[inliers]

    def residuals(point: np.ndarray) -> np.ndarray:
        in_camera = poses[:, :3, :3] @ point + poses[:, :3, 3]
        projected = in_camera[:, :2] / in_camera[:, 2:] * intrinsics[:, [0, 1], [0, 1]] + intrinsics[:, :2, 2]
        squared = ((projected - pixels[inliers]) ** 2).sum(axis=1)
        return np.sqrt(CAUCHY_SCALE**2 * np.log1p(squared / CAUCHY_SCALE**2))

    return least_squares(residuals, rig.points[item].numpy(), xtol=1e-14, ftol=1e-14, gtol=1e-14).x


def test_the_refined_point_minimises_the_robust_objective() -> None:
    rig = synthetic_rig(views=7, items=40)
    pixels = corrupted(rig, noise_px=1.0, outliers=0.15, seed=2)
    found = solve(rig, pixels, options=TriangulationSettings(iterations=60))
    for item in range(40):
        expected = reference(rig, pixels[item].numpy(), item, found.inliers[item].numpy())
        assert np.allclose(found.points[item].numpy(), expected, atol=2e-6)


def test_the_covariance_predicts_the_scatter() -> None:
    rig = synthetic_rig(views=7, items=4000)
    same = SyntheticRig(
        rig.points[:1].expand(4000, 3), rig.points_px[:1].expand(4000, 7, 2), rig.intrinsics, rig.world_to_camera
    )
    noise = torch.from_numpy(np.random.default_rng(3).normal(0, 0.3, same.points_px.shape))
    found = solve(same, same.points_px + noise, options=TriangulationSettings(noise_px=0.3))
    scatter = torch.cov((found.points - same.points).T)
    assert torch.allclose(scatter.diagonal().sqrt(), found.covariance.mean(dim=0).diagonal().sqrt(), rtol=0.25)


def test_float32_agrees_with_float64() -> None:
    rig = synthetic_rig(views=7, items=500)
    pixels = corrupted(rig, noise_px=1.0, outliers=0.1, seed=4)
    double = solve(rig, pixels)
    single = solve(
        SyntheticRig(rig.points, pixels, rig.intrinsics.float(), rig.world_to_camera.float()), pixels.float()
    )
    difference = (double.points - single.points.double()).norm(dim=1)
    assert difference.nanmedian() < 2e-6
    assert (difference < 1e-4).double().mean() > 0.99
