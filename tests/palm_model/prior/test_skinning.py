import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from palm_model.prior.skinning import blended_rotation, skin, skin_with_jacobian
from tests.palm_model.prior.hands import coarse_grids, double, hands, shapes

GRIDS = double(coarse_grids(2))
POSES = hands("fist", "pinch", betas=shapes(2))
BONES = POSES.bones.double()


def places(count: int, seed: int, *, beyond: float = 0.0) -> torch.Tensor:
    """Canonical points over the cube, stretched beyond it."""
    unit = torch.from_numpy(np.random.default_rng(seed).uniform(-beyond, 1 + beyond, (count, 3)))
    return GRIDS.box.from_unit(unit)


def test_weights_are_interpolated_linearly_as_scipy_does() -> None:
    points, person = places(100, 0), 1
    low = (GRIDS.box.centre - GRIDS.box.half_side).double().numpy()
    axes = [low[axis] + np.linspace(0, 2 * GRIDS.box.half_side, GRIDS.resolution) for axis in range(3)]
    expected = RegularGridInterpolator(axes, GRIDS.cells[GRIDS.row[person]].numpy())(points.numpy())
    found = skin_with_jacobian(GRIDS, BONES, points, torch.full((100,), person))
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    blended = np.einsum("nb,bij->nij", expected, BONES[person].numpy())
    carried = np.einsum("nij,nj->ni", blended[:, :3, :3], points.numpy()) + blended[:, :3, 3]
    np.testing.assert_allclose(found.points, carried, atol=1e-6)
    torch.testing.assert_close(skin(GRIDS, BONES, points, torch.full((100,), person)), found.points)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_jacobian_is_the_derivative_of_skinning_outside_the_cube_too(seed: int) -> None:
    points = places(8, seed, beyond=0.3).requires_grad_()
    pose = torch.arange(8) % 2
    carried = skin(GRIDS, BONES, points, pose)
    rows = [torch.autograd.grad(carried[:, axis].sum(), points, retain_graph=True)[0] for axis in range(3)]
    found = skin_with_jacobian(GRIDS, BONES, points.detach(), pose)
    torch.testing.assert_close(found.jacobian, torch.stack(rows, dim=1), rtol=0, atol=1e-9)


def test_skinning_passes_gradcheck() -> None:
    points = places(3, 2).requires_grad_()
    bones = BONES.clone().requires_grad_()
    pose = torch.tensor([0, 1, 0])
    assert torch.autograd.gradcheck(lambda x, b: skin(GRIDS, b, x, pose), (points, bones), fast_mode=True)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_in_zero_pose_every_point_stays(seed: int) -> None:
    points = places(20, seed, beyond=0.5)
    still = torch.eye(4, dtype=torch.float64).expand(2, 16, 4, 4)
    found = skin_with_jacobian(GRIDS, still, points, torch.arange(20) % 2)
    torch.testing.assert_close(found.points, points, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.jacobian, torch.eye(3, dtype=torch.float64).expand(20, 3, 3), rtol=0, atol=1e-4)


@settings(max_examples=10)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.integers(0, 1000))
def test_moving_the_whole_hand_moves_every_point_along(angle: tuple[float, ...], seed: int) -> None:
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.from_numpy(Rotation.from_rotvec(angle).as_matrix())
    motion[:3, 3] = torch.tensor([0.3, -0.2, 0.1])
    points, pose = places(20, seed), torch.arange(20) % 2
    still, moved = (skin(GRIDS, bones, points, pose) for bones in (BONES, motion @ BONES))
    torch.testing.assert_close(moved, still @ motion[:3, :3].T + motion[:3, 3], rtol=0, atol=1e-6)


def test_the_blended_rotation_is_the_polar_factor() -> None:
    turns = skin_with_jacobian(GRIDS, BONES, places(30, 4), torch.arange(30) % 2)
    blended = torch.einsum("mb,mbij->mij", turns.weights, BONES[torch.arange(30) % 2][..., :3, :3])
    found = blended_rotation(blended)
    for matrix, rotation in zip(blended, found, strict=True):
        if torch.linalg.det(matrix) > 1e-3:
            np.testing.assert_allclose(rotation, polar(matrix.numpy())[0], atol=1e-8)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(30, dtype=torch.float64))
    torch.testing.assert_close(found @ found.mT, torch.eye(3, dtype=torch.float64).expand(30, 3, 3))
