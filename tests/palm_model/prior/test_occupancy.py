import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from palm_model.prior.occupancy import OccupancyGrid, _squared_distances
from tests.palm_model.prior.surfaces import random_rays


def cloud(seed: int) -> torch.Tensor:
    return 0.05 * torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.floats(0.004, 0.03))
@settings(max_examples=10)
def test_no_place_within_reach_is_missed_and_none_far_away_is_taken(seed: int, reach: float) -> None:
    points = cloud(seed)
    grid = OccupancyGrid.about(points, reach, 20)
    random = torch.Generator().manual_seed(seed)
    for row in range(2):
        places = points[row].repeat(30, 1) + 2.0 * reach * torch.randn(1200, 3, generator=random)
        away = torch.cdist(places, points[row], compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
        found = grid.contains(places[None], torch.tensor([row]))[0]
        assert found[away < 0.999 * reach].all()
        assert not found[away > reach + 2.01 * 3.0**0.5 * float(grid.side[row]) / 20].any()


def test_each_hand_has_its_own_cells() -> None:
    points = cloud(0) + torch.tensor([[[0.0]], [[0.4]]])
    grid = OccupancyGrid.about(points, 0.01, 16)
    every = points.flatten(0, 1)[None]
    assert grid.contains(every, torch.tensor([0]))[0].tolist() == [True] * 40 + [False] * 40
    assert grid.contains(every, torch.tensor([1]))[0].tolist() == [False] * 40 + [True] * 40


def test_rays_enter_and_leave_the_cube_and_miss_it() -> None:
    grid = OccupancyGrid(torch.zeros(1, 3), torch.ones(1), torch.ones(1, 2, 2, 2, dtype=torch.bool))
    rays = random_rays(torch.full((3,), 0.5), 0.8, 300)
    near, far = grid.span(rays.origins, rays.directions, rays.pose)
    along = torch.linspace(0.0, 3.0, 3001)
    inside = ((rays.at(along.expand(300, -1)) - 0.5).abs() <= 0.5).all(dim=-1)
    length = inside.sum(dim=1) * 1e-3
    assert 0 < int((length == 0).sum()) < 300
    torch.testing.assert_close(far - near, length, rtol=0, atol=2e-3)


def test_a_ray_along_an_axis_and_one_from_inside_have_their_span() -> None:
    grid = OccupancyGrid(torch.zeros(1, 3), torch.ones(1), torch.ones(1, 2, 2, 2, dtype=torch.bool))
    origins = torch.tensor([[-1.0, 0.5, 0.5], [0.25, 0.5, 0.5], [-1.0, 1.5, 0.5], [3.0, 0.5, 0.5]])
    near, far = grid.span(origins, torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3), torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(near, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(far, torch.tensor([2.0, 0.75, 0.0, 0.0]))


def test_distances_between_cells_are_those_of_scipy() -> None:
    marked = torch.rand(2, 12, 12, 12, generator=torch.Generator().manual_seed(0)) < 0.01
    for row in range(2):
        expected = distance_transform_edt(~marked[row].numpy())
        np.testing.assert_allclose(_squared_distances(marked, 12)[row].sqrt().numpy(), expected, rtol=1e-6)


def test_the_cells_of_a_hand_are_the_same_whoever_else_is_in_the_batch() -> None:
    points = cloud(3)
    together, alone = OccupancyGrid.about(points, 0.01, 16), OccupancyGrid.about(points[1:], 0.01, 16)
    places = 0.08 * torch.randn(1, 2000, 3, generator=torch.Generator().manual_seed(0))
    found = together.contains(places, torch.tensor([1]))
    assert torch.equal(found, alone.contains(places, torch.tensor([0])))
    assert not torch.equal(found, together.contains(places, torch.tensor([0])))
    assert 100 < int(found.sum()) < 1900
