"""Registration finds known hands again, and its derivatives are those of its objective."""

from dataclasses import replace

import numpy as np
import pytest

from palm_data.registration.frame import FrameProblem, HandShapeContext
from palm_data.registration.parameters import FRAME_SIZE
from palm_data.registration.stages import fit_poses, fit_shape
from schemas.errors import GeometryError
from schemas.registration import Phase, RegistrationSettings
from tests.palm_data.registration.hands import hand, some_pose, target_of

QUICK = RegistrationSettings(
    scan_samples=500,
    start=Phase(iterations=12, keypoints_3d=1.0, pose_prior=0.05, shape_prior=0.05, limits=0.01),
    phases=(
        Phase(
            iterations=8, keypoints_3d=0.2, model_to_scan=1.0, scan_to_model=1.0, pose_prior=0.001, shape_prior=0.001
        ),
    ),
)


def surface_error_mm(frame: np.ndarray, betas: np.ndarray, true_frame: np.ndarray, true_betas: np.ndarray) -> float:
    _, pose = hand()
    return float(
        np.linalg.norm(pose(frame, betas).vertices - pose(true_frame, true_betas).vertices, axis=1).mean() * 1000
    )


def test_stage_one_recovers_shape_and_poses_together() -> None:
    betas = np.array([1.2, -0.8, 0.5, 0, 0, 0.4, 0, 0, 0, 0])
    frames = [some_pose(seed) for seed in (0, 1)]
    fit = fit_shape(hand()[0], [target_of(frame, betas, seed=seed) for seed, frame in enumerate(frames)], QUICK)
    for found, true in zip(fit.frames, frames, strict=True):
        assert surface_error_mm(found, fit.betas, true, betas) < 0.5
    assert np.allclose(fit.betas[:2], betas[:2], atol=0.3)


def test_stage_two_recovers_a_pose_from_noisy_joints_and_keeps_the_shape() -> None:
    betas, true = np.zeros(10), some_pose(5, spread=0.12)
    fit = fit_poses(hand()[0], [target_of(true, betas, noise_mm=4.0)], betas, QUICK)
    # Along the surface only the joints hold the fit, and they are 4 mm off.
    assert surface_error_mm(fit.frames[0], fit.betas, true, betas) < 1.2
    assert np.array_equal(fit.betas, betas)


def test_missing_joints_and_a_silhouette_do_not_stop_a_fit() -> None:
    betas, true = np.zeros(10), some_pose(6)
    whole = target_of(true, betas, noise_mm=2.0)
    keypoints = whole.keypoints.copy()
    keypoints[[3, 8, 18]] = np.nan
    target = replace(whole, keypoints=keypoints, confidence=np.where(np.isnan(keypoints[:, 0]), 0.0, whole.confidence))
    phases = (*QUICK.phases, Phase(iterations=2, model_to_scan=1.0, scan_to_model=1.0, silhouette=0.5))
    fit = fit_poses(hand()[0], [target], betas, QUICK.model_copy(update={"phases": phases}))
    assert surface_error_mm(fit.frames[0], fit.betas, true, betas) < 0.8


def test_the_same_targets_give_the_same_fit_to_the_last_bit() -> None:
    target = target_of(some_pose(7), np.zeros(10), noise_mm=3.0)
    first, second = (fit_poses(hand()[0], [target], np.zeros(10), QUICK) for _ in range(2))
    assert first.frames.tobytes() == second.frames.tobytes()


def test_too_few_keypoints_are_an_error_not_a_guess() -> None:
    whole = target_of(some_pose(8), np.zeros(10))
    keypoints = np.full((21, 3), np.nan)
    keypoints[:2] = whole.keypoints[:2]
    with pytest.raises(GeometryError, match="at least 3 points, found 2"):
        fit_poses(hand()[0], [replace(whole, keypoints=keypoints)], np.zeros(10), QUICK)


@pytest.mark.parametrize(
    "phase",
    [
        Phase(iterations=1, keypoints_3d=1.0),
        Phase(iterations=1, keypoints_2d=1.0),
        Phase(iterations=1, limits=5.0, pose_prior=1.0, shape_prior=1.0),
        Phase(iterations=1, silhouette=1.0),
    ],
    ids=["keypoints_3d", "keypoints_2d", "priors", "silhouette"],
)
def test_each_terms_gradient_is_the_slope_of_its_value(phase: Phase) -> None:
    problem = FrameProblem(target_of(some_pose(9), np.zeros(10)), HandShapeContext(hand()[0], RegistrationSettings()))
    rng = np.random.default_rng(0)
    frame, betas = some_pose(9) + rng.normal(0, 0.01, FRAME_SIZE), rng.normal(0, 0.1, 10)
    problem.begin(frame, betas, phase)
    quadratic, value = problem.linearise(frame, betas, phase)
    for _ in range(3):
        way, step = rng.normal(0, 1, FRAME_SIZE + 10), 1e-5
        rise = value(frame + step * way[:FRAME_SIZE], betas + step * way[FRAME_SIZE:])
        fall = value(frame - step * way[:FRAME_SIZE], betas - step * way[FRAME_SIZE:])
        assert np.isclose((rise - fall) / (2 * step), 2 * quadratic.gradient @ way, rtol=1e-2, atol=1e-3)
