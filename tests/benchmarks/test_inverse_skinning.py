"""Eq. 3 for 8192 points within a centimetre of three hands: ours against all sixteen starts, eagerly in torch.

The eager side is the reference of our own tests: starts that have converged or diverged step no further.
"""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from palm_model.prior import broyden
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.poses import Poses
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.prior_skinning import FAST_SKINNING, SkinningSettings
from tests.palm_model.prior.hands import hands, mean_grid, shells

GROUP = "canonical points of 8192 world points"
Batch = tuple[torch.Tensor, torch.Tensor, Poses, SkinningGrids]


@pytest.fixture(scope="module")
def batch() -> Batch:
    poses = hands("flat", "fist", "pinch", "ok")
    points, pose = shells(poses, 2048)
    return points, pose, poses, mean_grid().for_poses(torch.zeros(4, dtype=torch.long))


def compiled(benchmark: BenchmarkFixture, batch: Batch, settings: SkinningSettings) -> None:
    points, pose, poses, grids = batch
    searching = InverseSkinning(grids, settings)
    roots = searching.find(points, pose, poses)  # compiles
    benchmark(lambda: searching.find(points, pose, poses))
    benchmark.extra_info["roots a point"] = float(roots.valid.sum() / len(points))
    benchmark.extra_info["threads"] = torch.get_num_threads()


@pytest.mark.benchmark(group=GROUP, min_rounds=10)
def test_near_starts_compiled(benchmark: BenchmarkFixture, batch: Batch) -> None:
    compiled(benchmark, batch, FAST_SKINNING)


@pytest.mark.benchmark(group=GROUP, min_rounds=10)
def test_all_starts_compiled(benchmark: BenchmarkFixture, batch: Batch) -> None:
    compiled(benchmark, batch, SkinningSettings())


@pytest.mark.benchmark(group=GROUP, min_rounds=5)
def test_all_starts_eager(benchmark: BenchmarkFixture, batch: Batch) -> None:
    points, pose, poses, grids = batch
    with torch.no_grad():
        benchmark(lambda: broyden.search(points, pose, poses.bones, grids, SkinningSettings()))
