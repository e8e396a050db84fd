"""The gradients of roots: against finite differences of the search itself, and compiled against torch."""

import dataclasses

import numpy as np
import pytest
import torch

from palm_model.prior.bones import bone_transforms
from palm_model.prior.implicit import implicit_points
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.poses import Poses
from palm_model.prior.skinning import skin_with_jacobian
from schemas.prior_skinning import SkinningSettings
from tests.palm_model.prior.hands import MODEL, coarse_grids, double, gesture_pose, hands, shapes, shells

EXACT = SkinningSettings(converged_m=1e-13, iterations=40, max_roots=4)
GRIDS = coarse_grids(2)


def few_roots(gesture: str) -> tuple[Poses, torch.Tensor, torch.Tensor]:
    """Two people's hands in double precision and a few points whose roots lie inside their cells, away from folds."""
    poses = hands(gesture, gesture, betas=shapes(2))
    poses = dataclasses.replace(poses, bones=poses.bones.double())
    points, pose = shells(poses, 12)
    roots = InverseSkinning(double(GRIDS), EXACT).find(points.double(), pose, poses)
    cells = GRIDS.box.to_unit(roots.points) * (GRIDS.resolution - 1)
    inside = ((cells - cells.round()).abs() > 0.02).all(dim=-1) | ~roots.valid
    jacobian = skin_with_jacobian(
        double(GRIDS), poses.bones, roots.points.flatten(0, 1), pose.repeat_interleave(EXACT.max_roots)
    ).jacobian
    regular = (torch.linalg.det(jacobian).unflatten(0, roots.valid.shape) > 0.2) | ~roots.valid
    chosen = (inside & regular).all(dim=1) & roots.valid[:, 0]
    chosen = chosen.nonzero()[:, 0][[0, 1, -2, -1]]
    assert set(pose[chosen].tolist()) == {0, 1}
    return poses, points[chosen].double(), pose[chosen]


@pytest.mark.parametrize("gesture", ["flat", "fist", "pinch"])
def test_gradients_are_those_of_the_search_itself(gesture: str) -> None:
    """gradcheck in double precision: the difference quotients search again with moved bones and points."""
    poses, points, pose = few_roots(gesture)
    searching = InverseSkinning(double(GRIDS), EXACT)

    def canonical(at: torch.Tensor, bones: torch.Tensor) -> torch.Tensor:
        moved = dataclasses.replace(poses, bones=bones)
        return searching.attach(searching.find(at.detach(), pose, moved), at, pose, moved).points

    inputs = (points.requires_grad_(), poses.bones.requires_grad_())
    assert torch.autograd.gradcheck(canonical, inputs, eps=1e-6, atol=1e-4, fast_mode=True)


def test_bending_a_finger_moves_its_roots_as_the_gradient_says() -> None:
    """Through the bones to the pose's parameters, which is what pose correction optimises."""
    poses, points, pose = few_roots("pinch")
    rng = np.random.default_rng(0)
    parameters = [
        shapes(2).double(),
        torch.from_numpy(rng.normal(0.0, 1.0, (2, 3))),
        torch.stack([gesture_pose("pinch")] * 2).double(),
        torch.from_numpy(rng.normal(0.0, 0.05, (2, 3))),
    ]
    searching = InverseSkinning(double(GRIDS), EXACT)
    change = torch.from_numpy(rng.normal(0.0, 1.0, (2, 45)))

    def canonical(amount: torch.Tensor) -> torch.Tensor:
        betas, orient, held, transl = parameters
        moved = dataclasses.replace(poses, bones=bone_transforms(MODEL, betas, orient, held + amount * change, transl))
        return searching.attach(searching.find(points, pose, moved), points, pose, moved).points[:, 0]

    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    weights = torch.from_numpy(rng.normal(0.0, 1.0, (4, 3)))
    (gradient,) = torch.autograd.grad((canonical(amount) * weights).sum(), amount)
    step = torch.tensor(1e-6, dtype=torch.float64)
    with torch.no_grad():
        quotient = ((canonical(step) - canonical(-step)) * weights).sum() / (2 * step)
    assert gradient.item() == pytest.approx(quotient.item(), rel=1e-4)
    assert abs(gradient.item()) > 1e-4


def test_compiled_gradients_equal_the_torch_ones() -> None:
    poses = hands("fist", "pinch", betas=shapes(2))
    points, pose = shells(poses, 200)
    roots = InverseSkinning(GRIDS).find(points, pose, poses)
    row, slot = roots.valid.nonzero(as_tuple=True)
    canonical = roots.points[row, slot]
    weights = torch.randn(canonical.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for grids, cast in ((GRIDS, torch.float32), (double(GRIDS), torch.float64)):
        inputs = points[row].to(cast).requires_grad_(), poses.bones.to(cast, copy=True).requires_grad_()
        moving = implicit_points(grids, canonical.to(cast), *inputs, pose[row])
        gradients = torch.autograd.grad((moving * weights.to(cast)).sum(), inputs)
        found.append([gradient.double() for gradient in gradients])
    (by_point, by_bone), (exact_point, exact_bone) = found
    size = exact_point.norm(dim=1)
    assert ((by_point - exact_point).norm(dim=1) / (1 + size)).quantile(0.99) < 1e-3
    assert (by_bone - exact_bone).norm() / exact_bone.norm() < 1e-2


def test_attached_roots_are_the_same_roots_and_empty_places_pass_nothing() -> None:
    poses = hands("fist", betas=shapes(1))
    points, pose = shells(poses, 100)
    points.requires_grad_()
    searching = InverseSkinning(coarse_grids(1))
    roots = searching.find(points, pose, poses)
    attached = searching.attach(roots, points, pose, poses)
    assert torch.equal(attached.points, roots.points)
    assert not roots.points.requires_grad
    (attached.points * (~roots.valid)[..., None]).sum().backward()
    assert (points.grad == 0).all()  # type: ignore[union-attr]


def test_where_space_is_folded_no_gradient_passes_and_none_is_infinite() -> None:
    poses = hands("fist", betas=shapes(1))
    bones = poses.bones.requires_grad_()
    generator = torch.Generator().manual_seed(0)
    canonical = coarse_grids(1).box.from_unit(torch.rand(60_000, 3, generator=generator))
    pose = torch.zeros(len(canonical), dtype=torch.long)
    determinant = torch.linalg.det(skin_with_jacobian(coarse_grids(1), bones.detach(), canonical, pose).jacobian)
    folded = determinant.abs() < 5e-3
    assert folded.sum() >= 5
    points = torch.zeros_like(canonical[folded]).requires_grad_()
    implicit_points(coarse_grids(1), canonical[folded], points, bones, pose[folded]).sum().backward()
    assert (points.grad == 0).all()  # type: ignore[union-attr]
    assert (bones.grad == 0).all()
