import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from palm_model.prior.shadow_mesh import MeshSecondary, ShadowMesh
from schemas.prior_pbr_training import MeshShadowSettings
from tests.palm_model.prior.closed_hand import closed_hand
from tests.palm_model.prior.sphere_grid import random_directions
from tests.palm_model.prior.surfaces import capsule_mesh, icosphere

SETTINGS = MeshShadowSettings()
RADIUS = 0.008


def ball(*centres: tuple[float, float, float]) -> tuple[ShadowMesh, Tensor]:
    """Balls as thick as a finger, one mesh, in one pose."""
    vertices, faces = icosphere(RADIUS, 3)
    places = np.concatenate([vertices + np.float32(centre) for centre in centres])
    every = np.concatenate([faces + row * len(vertices) for row in range(len(centres))])
    return ShadowMesh(places, every), torch.from_numpy(places)[None]


def zeros(rays: Tensor) -> Tensor:
    return torch.zeros(len(rays), dtype=torch.long)


def upwards(normal: Tensor, seed: int, least: float = 0.0) -> Tensor:
    out = random_directions(len(normal), seed, torch.float32)
    out = torch.where((out * normal).sum(dim=1, keepdim=True) > 0, out, -out)
    return torch.nn.functional.normalize(out + least * normal, dim=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 0.03), st.floats(0.02, 0.3))
def test_compiled_and_plain_find_the_same(seed: int, through: float, far: float) -> None:
    vertices, faces = capsule_mesh()
    faces = faces[:: 1 + seed % 7]  # torn, and of any number of faces
    turned = torch.from_numpy(vertices) @ torch.linalg.qr(torch.randn(3, 3, generator=_seeded(seed)))[0].T
    posed = ShadowMesh(vertices, faces).posed(torch.stack([torch.from_numpy(vertices), turned]))
    origins = 0.08 * torch.randn(40, 3, generator=_seeded(seed + 1))
    directions = random_directions(40, seed + 2, torch.float32)
    directions[0], directions[1] = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, -1.0, 0.0])
    hand = torch.arange(40) % 2
    limits = MeshShadowSettings(through_m=through, far_m=far)
    found, front = posed.first_hits(origins, directions, hand, limits)
    expected, expected_front = posed.first_hits_plain(origins, directions, hand, limits)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(front, expected_front)


def test_on_a_hand_it_is_what_open3d_finds() -> None:
    import open3d as o3d

    hand = closed_hand()
    chosen = np.random.default_rng(0).choice(len(hand.vertices), 200, replace=False)
    normals = torch.from_numpy(hand.normals[chosen])
    starts = torch.from_numpy(hand.vertices[chosen]) + 0.0005 * normals
    outwards = upwards(normals, 3)
    inside = hand.rays.compute_occupancy(o3d.core.Tensor(starts.numpy()), nthreads=1).numpy() > 0
    rays = torch.cat([starts, outwards], dim=1).numpy()
    truth = torch.from_numpy(hand.rays.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy())
    posed = ShadowMesh(hand.vertices, hand.faces).posed(torch.from_numpy(hand.vertices)[None])
    found, front = posed.first_hits(starts, outwards, zeros(starts), SETTINGS)
    out = torch.from_numpy(~inside)
    assert 20 < int(truth[out].isfinite().sum()) < 150
    assert torch.allclose(found[out], truth[out], atol=1e-6)
    assert torch.equal(front[out], truth[out].isfinite())


def test_a_start_under_the_skin_is_not_shadowed_by_it() -> None:
    mesh, vertices = ball((0.0, 0.0, 0.0))
    normal = random_directions(200, 0, torch.float32)
    starts, outwards = (RADIUS - 0.001) * normal, upwards(normal, 1)
    trace = MeshSecondary(mesh.posed(vertices), torch.zeros(200, dtype=torch.long), SETTINGS)
    assert (trace(starts, outwards, torch.arange(200)).transmittance == 1.0).all()
    assert (trace(starts, -upwards(normal, 1, 1.0), torch.arange(200)).transmittance == 0.0).all()


def test_the_next_finger_shadows_also_where_it_presses_into_this_one() -> None:
    start, towards = torch.tensor([[RADIUS - 0.0005, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    for gap in (0.01, 0.0, -0.003):
        mesh, vertices = ball((0.0, 0.0, 0.0), (2.0 * RADIUS + gap, 0.0, 0.0))
        trace = MeshSecondary(mesh.posed(vertices), zeros(start), SETTINGS)
        assert float(trace(start, towards, zeros(start)).transmittance) == 0.0
        assert float(trace(start, torch.tensor([[0.0, 0.6, 0.8]]), zeros(start)).transmittance) == 1.0


def test_what_the_hand_sends_comes_from_where_it_is_met_from_outside() -> None:
    mesh, vertices = ball((0.03, 0.0, 0.0))

    def radiance(places: Tensor, directions: Tensor, owner: Tensor) -> Tensor:
        assert torch.allclose(places, torch.tensor([[0.03 - RADIUS, 0.0, 0.0]]), atol=2e-4)
        assert torch.equal(owner, torch.tensor([1]))
        return torch.tensor([[0.1, 0.2, 0.3]])

    starts = torch.tensor([[0.0, 0.05, 0.0], [0.0, 1e-5, 1e-5], [0.03, 0.0, 0.0]])
    towards = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3)
    limits = MeshShadowSettings(through_m=0.005)  # the last ray starts in the middle: met from behind
    found = MeshSecondary(mesh.posed(vertices), torch.zeros(3, dtype=torch.long), limits, radiance=radiance)(
        starts, towards, torch.arange(3)
    )
    assert found.transmittance.tolist() == [1.0, 0.0, 0.0]
    assert torch.allclose(found.radiance, torch.tensor([[0.0] * 3, [0.1, 0.2, 0.3], [0.0] * 3]))


def test_each_ray_meets_its_own_hand() -> None:
    mesh, vertices = ball((0.0, 0.0, 0.0))
    posed = mesh.posed(torch.cat([vertices, vertices + torch.tensor([0.0, 0.1, 0.0])]))
    starts = torch.tensor([[-0.05, 0.0, 0.0]]).expand(4, 3)
    trace = MeshSecondary(posed, torch.tensor([0, 1, 1, 0]), SETTINGS)
    found = trace(starts, torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3), torch.arange(4))
    assert found.transmittance.tolist() == [0.0, 1.0, 1.0, 0.0]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
