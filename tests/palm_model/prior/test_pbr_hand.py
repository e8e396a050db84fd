"""Light in and about a posed hand: shadows at its own scale, and what it sends itself."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import Tensor

from palm_model.prior.canonical import canonical_vertices
from palm_model.prior.hand_field import HandField
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import PbrBranch
from palm_model.prior.poses import Poses
from palm_model.prior.shadow_mesh import ShadowMesh
from schemas.prior_pbr import BrdfSettings, ShadingSettings
from schemas.prior_skinning import FAST_SKINNING
from schemas.prior_volume import VolumeSettings
from tests.palm_model.prior.hands import MODEL, hands, mean_grid
from tests.palm_model.prior.pbr_scenes import (
    UNIFORM,
    PlainMaterial,
    PlainRadiance,
    branch,
    lit_by,
    seeded,
    surface_rays,
    surface_seen,
)
from tests.palm_model.prior.small_fields import Geometry, Laplace, RowCodes
from tests.palm_model.prior.sphere_grid import hemisphere
from tests.palm_model.prior.test_network_hand import BOX, unit_normals

SMOOTH = ShadingSettings(strategy="mis", rows=4, columns=8)
MESH = ShadowMesh(MODEL.v_template, MODEL.faces)
FLAT = canonical_vertices(MODEL, torch.zeros(1, 10))[0]
BETA_M = 0.0003
FLAT_NORMALS = unit_normals(FLAT)


@functools.cache
def fist() -> tuple[Poses, InverseSkinning]:
    """The mean hand's fist, its surface as skinning alone has it."""
    poses = hands("fist")
    skinning = InverseSkinning(mean_grid(), FAST_SKINNING)
    vertices = skinning.skin(FLAT, torch.zeros(len(FLAT), dtype=torch.long), poses)
    return dataclasses.replace(poses, vertices=vertices[None].detach()), skinning


def flat_hand(unit: Tensor, *told: object) -> Geometry:
    """The mean hand's flat surface by the tangent plane of its nearest vertex."""
    points = BOX.from_unit(unit)
    near = torch.cdist(points, FLAT).argmin(dim=1)
    return Geometry(((points - FLAT[near]) * FLAT_NORMALS[near]).sum(dim=-1), torch.zeros(len(unit), 1))


def net(radiance: float = 0.0) -> PalmNet:
    codes = RowCodes(torch.zeros(1, 1))
    own = PlainMaterial((0.5, 0.5, 0.5))
    return PalmNet(flat_hand, PlainRadiance(radiance), own, Laplace(BETA_M), codes, box=BOX, settings=VolumeSettings())


def sent(own: PbrBranch, vertex: Tensor, *, albedo: float = 0.5, radiance: float = 0.0) -> Tensor:
    """What rough skin at vertices of the fist sends along its normal, (n, 3)."""
    poses, skinning = fist()
    normals = unit_normals(poses.vertices[0])[vertex]
    rays = surface_rays(poses.vertices[0, vertex], normals)
    seen = surface_seen(normals, albedo=albedo, alpha=0.9)
    with torch.no_grad():
        return own.shade(net(radiance), seen, rays, poses, skinning=skinning, random=seeded()).colour


def openness(vertex: Tensor) -> Tensor:
    """How much of the hemisphere vertices see past the hand, weighed by the cosine; by Open3D's rays."""
    import open3d as o3d

    vertices = fist()[0].vertices[0]
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(o3d.core.Tensor(vertices.numpy()), o3d.core.Tensor(MODEL.faces.astype(np.uint32)))
    found = []
    for normal, place in zip(unit_normals(vertices)[vertex], vertices[vertex], strict=True):
        grid = hemisphere(normal, rows=10, columns=16)
        rays = torch.cat([(place + 0.0005 * normal).expand(160, 3), grid.directions.float()], dim=1).numpy()
        free = np.isinf(scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy())
        cosine = (grid.directions @ normal.double() * grid.solid).numpy()
        found.append(float((free * cosine).sum() / cosine.sum()))
    return torch.tensor(found)


def bare(vertex: Tensor) -> Tensor:
    """Those of the vertices that do not lie under another finger's skin: the model's fist passes through itself."""
    poses, skinning = fist()
    places = poses.vertices[0, vertex] + 0.0005 * unit_normals(poses.vertices[0])[vertex]
    thick = HandField.of(net(), poses, skinning).density(places, torch.zeros_like(vertex))
    return vertex[thick < 0.5 / BETA_M]


@pytest.mark.parametrize("visibility", ["mesh", "march"])
def test_skin_that_the_fist_hides_is_darker_by_what_it_hides(visibility: str) -> None:
    own = lit_by(branch(MESH, visibility=visibility, shading=SMOOTH), UNIFORM)
    vertex = bare(torch.randperm(len(FLAT), generator=seeded(4))[:32])
    truth = openness(vertex)
    assert truth.min() < 0.2
    assert truth.max() > 0.9
    free = sent(lit_by(branch(MESH, shading=SMOOTH), UNIFORM), vertex)[:, 0]
    found = sent(own, vertex)[:, 0] / free
    assert float((found - truth).abs().mean()) < 0.08
    assert float(torch.corrcoef(torch.stack([found, truth]))[0, 1]) > 0.95


@pytest.mark.parametrize("visibility", ["mesh", "march"])
def test_the_inside_of_a_fists_fingers_is_darker_than_their_outside(visibility: str) -> None:
    own = lit_by(branch(MESH, visibility=visibility, shading=SMOOTH), UNIFORM)
    bent = torch.from_numpy(MODEL.weights[:, 5] > 0.8)
    moved = (fist()[0].vertices[0, bent] - fist()[0].bones[0, 0, :3, 3]) @ fist()[0].bones[0, 0, :3, :3] - FLAT[bent]
    curl = moved.mean(dim=0)  # a finger bends the palm's way
    across = torch.linalg.svd(FLAT - FLAT.mean(dim=0), full_matrices=False).Vh[2]
    towards_palm = FLAT_NORMALS @ (across * torch.sign(across @ curl))
    for phalanx in (5, 6):  # the middle finger's middle and tip
        skin = torch.from_numpy(MODEL.weights[:, phalanx] > 0.8)
        inside, outside = ((skin & (side * towards_palm > 0.8)).nonzero()[:, 0] for side in (1.0, -1.0))
        assert min(len(inside), len(outside)) >= 4
        assert float(sent(own, inside).mean()) < 0.5 * float(sent(own, outside).mean())


def test_in_a_white_furnace_a_white_fist_is_white_and_never_more() -> None:
    """Light of radiance one from everywhere, the hand's own light too: what is hidden of one comes from the other."""
    coupled = BrdfSettings(diffuse="coupled")
    vertex = torch.randperm(len(FLAT), generator=seeded(5))[:16]
    known = {"shading": SMOOTH, "brdf": coupled}
    free = sent(lit_by(branch(MESH, **known), UNIFORM), vertex, albedo=1.0)
    march = lit_by(branch(MESH, visibility="march", indirect=True, **known), UNIFORM)
    mesh = lit_by(branch(MESH, visibility="mesh", indirect=True, **known), UNIFORM)
    dark = lit_by(branch(MESH, visibility="mesh", **known), UNIFORM)
    by_march, by_mesh, direct = (sent(own, vertex, albedo=1.0, radiance=1.0) for own in (march, mesh, dark))
    assert float((by_march - free).abs().mean()) < 0.02
    assert float((by_mesh - free).abs().mean()) < 0.06  # between touching fingers it lets nothing shine
    assert float((free - direct).mean()) > 0.2
    for found in (free, by_march, by_mesh):
        assert float(found.mean(dim=0).max()) <= 1.0
