import numpy as np
import pytest
import torch

from palm_model.prior.canonical import canonical_vertices
from palm_model.prior.skinning import skin, surface_distance
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.errors import GeometryError
from schemas.prior_skinning import SkinningSettings
from tests.palm_model.prior.hands import MODEL, coarse_grids, hands, mean_grid, shapes

SMALL = SkinningSettings(resolution=9, smoothing_rounds=0)


def node_places(grids: SkinningGrids) -> torch.Tensor:
    steps = torch.linspace(0, 1, grids.resolution)
    unit = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    return grids.box.from_unit(unit.double())


def test_a_node_blends_its_nearest_vertices_by_inverse_distance() -> None:
    """Against all distances, sorted."""
    betas = shapes(1)
    grids = SkinningGrids.build(MODEL, betas, SMALL)
    surface = canonical_vertices(MODEL, betas.double())[0]
    apart, nearest = torch.cdist(node_places(grids).reshape(-1, 3), surface).topk(5, dim=1, largest=False)
    shares = 1.0 / apart
    weights = torch.tensor(MODEL.weights, dtype=torch.float64)[nearest]
    expected = torch.einsum("nk,nkb->nb", shares / shares.sum(dim=1, keepdim=True), weights)
    torch.testing.assert_close(grids.cells.reshape(-1, 16).double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(grids.distance.reshape(-1).double(), apart[:, 0], rtol=0, atol=1e-7)
    assert torch.equal(grids.weights[0, 3], grids.cells[0, ..., 3])


def test_a_node_on_a_vertex_has_that_vertexs_weights() -> None:
    """No division by zero: the vertex is moved onto a node by choosing the box."""
    from palm_model.prior.canonical import CanonicalBox

    tip = MODEL.tip_vertex_ids[1]
    box = CanonicalBox(torch.tensor(MODEL.v_template[tip]), 0.3)
    grids = SkinningGrids.build(MODEL, torch.zeros(1, 10), SMALL, box)
    assert grids.cells.isfinite().all()
    torch.testing.assert_close(grids.cells[0, 4, 4, 4], torch.tensor(MODEL.weights[tip]), rtol=0, atol=0.1)
    assert grids.distance[0, 4, 4, 4] < 1e-6


def test_smoothing_averages_the_neighbours_and_keeps_sums_and_signs() -> None:
    sharp = SkinningGrids.build(MODEL, shapes(1), SMALL).cells[0]
    smooth = SkinningGrids.build(MODEL, shapes(1), SMALL.model_copy(update={"smoothing_rounds": 1})).cells[0]
    kernel = torch.tensor([0.25, 0.5, 0.25])
    block = torch.einsum("x,y,z->xyz", kernel, kernel, kernel)
    for x, y, z in ((1, 2, 3), (4, 4, 4), (7, 1, 5)):
        around = sharp[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2]
        torch.testing.assert_close(smooth[x, y, z], torch.einsum("xyz,xyzb->b", block, around))
    assert (smooth >= 0).all()
    torch.testing.assert_close(smooth.sum(dim=-1), torch.ones(9, 9, 9))


def test_on_the_surface_the_grid_poses_as_the_model_does() -> None:
    """Within the grid's 4 mm cells: half a millimetre on average, also in a fist."""
    poses = hands("fist", "pinch")
    flat = canonical_vertices(MODEL, poses.betas)
    blended = torch.einsum("vb,pbij->pvij", torch.tensor(MODEL.weights), poses.bones)
    posed = torch.einsum("pvij,pvj->pvi", blended[..., :3, :3], flat) + blended[..., :3, 3]
    pose = torch.arange(2).repeat_interleave(flat.shape[1])
    found = skin(mean_grid().for_poses(torch.zeros(2, dtype=torch.long)), poses.bones, flat.flatten(0, 1), pose)
    apart = (found - posed.flatten(0, 1)).norm(dim=1)
    assert apart.mean() < 6e-4
    assert apart.max() < 5e-3


def test_equal_shapes_share_a_grid_and_each_pose_finds_its_own() -> None:
    betas = shapes(2)
    grids = SkinningGrids.build(MODEL, betas[[1, 0, 1]], SMALL)
    assert len(grids.cells) == 2
    assert grids.row[0] == grids.row[2] != grids.row[1]
    own = [SkinningGrids.build(MODEL, one[None], SMALL).cells[0] for one in betas]
    for pose, person in enumerate((1, 0, 1)):
        assert torch.equal(grids.cells[grids.row[pose]], own[person])
    again = grids.for_poses(torch.tensor([1, 1, 0, 2]))
    assert again.row.tolist() == grids.row[[1, 1, 0, 2]].tolist()
    assert again.cells is grids.cells


def test_distances_are_from_each_persons_own_surface() -> None:
    grids = coarse_grids(2)
    surfaces = canonical_vertices(MODEL, shapes(2))
    generator = torch.Generator().manual_seed(0)
    points = grids.box.from_unit(torch.rand(200, 3, generator=generator))
    for person in range(2):
        found = surface_distance(grids, points, torch.full((200,), person))
        exact = torch.cdist(points, surfaces[person]).min(dim=1).values
        assert (found - exact).abs().max() < 0.5 * 2 * grids.box.half_side / 23


def test_a_hand_too_large_for_the_cube_is_refused() -> None:
    betas = torch.zeros(1, 10)
    betas[0, 0] = 9.0
    with pytest.raises(
        GeometryError, match=r"betas: expected a hand inside the canonical cube, found one that reaches"
    ):
        SkinningGrids.build(MODEL, betas, SMALL)


def test_the_same_shape_gives_the_same_bytes() -> None:
    first, second = (SkinningGrids.build(MODEL, shapes(1), SMALL).cells.numpy() for _ in range(2))
    assert np.array_equal(first, second)
