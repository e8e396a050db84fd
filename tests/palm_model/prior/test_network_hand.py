"""PalmNet on two people's hands, with the true skinning and encoding: what it sees, and that it learns."""

import dataclasses
import functools

import torch
from torch import Tensor, nn

from palm_model.prior.canonical import canonical_box, canonical_vertices
from palm_model.prior.encoding import HashEncoding
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses, posed_hands
from palm_model.prior.rendered import Rendered
from palm_model.prior.sampling import GuidedSampler
from palm_model.prior.volume import Rays
from schemas.prior_encoding import EncodingSettings
from schemas.prior_skinning import FAST_SKINNING
from schemas.prior_volume import GuidedSampling, VolumeSettings
from tests.palm_model.prior.hands import MODEL, coarse_grids, hand_layer, shapes
from tests.palm_model.prior.small_fields import Geometry, Laplace, RowCodes
from tests.palm_model.prior.surfaces import rays_at

BOX = canonical_box(MODEL)
FACES = torch.from_numpy(MODEL.faces.astype("int64"))
FLAT = canonical_vertices(MODEL, shapes(2))
GUIDED = GuidedSampler(MODEL.v_template, MODEL.faces, GuidedSampling())


def unit_normals(vertices: Tensor) -> Tensor:
    """Of vertices, by their faces' areas."""
    at = vertices[FACES]
    faces = torch.linalg.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
    every = torch.zeros_like(vertices).index_add(0, FACES.flatten(), faces.repeat_interleave(3, dim=0))
    return nn.functional.normalize(every, dim=-1)


class HandGeometry(nn.Module):
    """Each person's flat surface by the tangent plane of its nearest vertex, and what is learned on top."""

    def __init__(self, swollen_m: float = 0.0) -> None:
        super().__init__()
        settings = EncodingSettings(levels=4, log2_table_size=10)
        self.encoding = HashEncoding(settings, generator=torch.Generator().manual_seed(0))
        self.last = nn.Linear(self.encoding.width, 1)
        nn.init.normal_(self.last.weight, std=0.1, generator=torch.Generator().manual_seed(0))
        nn.init.constant_(self.last.bias, -swollen_m)
        self.normals = [unit_normals(one) for one in FLAT]

    def forward(
        self,
        unit: Tensor,
        pose: Tensor,
        shape: Tensor,
        betas: Tensor | None,
        levels: float | None,
        row: Tensor | None = None,
    ) -> Geometry:
        shape = shape if row is None else shape[row]
        points = BOX.from_unit(unit)
        sdf = torch.zeros(len(unit))
        for person in range(2):
            own = (shape[:, 0] == person).nonzero()[:, 0]
            near = torch.cdist(points[own].detach(), FLAT[person]).argmin(dim=1)
            plane = ((points[own] - FLAT[person][near]) * self.normals[person][near]).sum(dim=-1)
            sdf = sdf.index_put((own,), plane)
        encoded = self.encoding(unit, levels)
        return Geometry(sdf + self.last(encoded)[:, 0], encoded)


class NormalColour(nn.Module):
    """Linear in the normal."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 3)
        nn.init.eye_(self.mix.weight)
        nn.init.constant_(self.mix.bias, 1.0)

    def grid(self, unit: Tensor, _: float | None) -> Tensor:
        return unit

    def forward(self, grid: Tensor, feature: Tensor, reflected: Tensor, normal: Tensor, *codes: object) -> Tensor:
        return 0.5 * self.mix(normal)


def network(swollen_m: float = 0.0) -> PalmNet:
    codes = RowCodes(torch.tensor([[0.0], [1.0]]))
    return PalmNet(HandGeometry(swollen_m), NormalColour(), None, Laplace(), codes, box=BOX, settings=VolumeSettings())


@functools.cache
def scene() -> tuple[Poses, InverseSkinning, Rays]:
    """Two people's hands at the same place, bent differently, their surface as skinning alone has it."""
    random = torch.Generator().manual_seed(1)
    poses = posed_hands(
        hand_layer(),
        shapes(2),
        torch.tensor([[0.5, 0.0, 0.3], [-0.4, 1.0, 0.0]]),
        0.15 * torch.randn(2, 45, generator=random),
        torch.tensor([[0.1, 0.0, 0.2], [0.1, 0.02, 0.2]]),
        subject=torch.arange(2),
    )
    skinning = InverseSkinning(coarse_grids(2), FAST_SKINNING)
    rows = torch.arange(2).repeat_interleave(len(FLAT[0]))
    poses = dataclasses.replace(poses, vertices=skinning.skin(FLAT.flatten(0, 1), rows, poses).view_as(FLAT).detach())
    rows = torch.arange(2).repeat_interleave(40)
    picked = poses.vertices[rows, torch.randint(0, len(FLAT[0]), (80,), generator=random)]
    targets = picked + 0.01 * torch.randn(80, 3, generator=random)
    return poses, skinning, rays_at(targets, torch.randn(80, 3, generator=random), pose=rows)


def look(net: PalmNet, poses: Poses | None = None, uniform: Tensor | None = None) -> Rendered:
    own, skinning, rays = scene()
    return net(rays, poses or own, skinning=skinning, sampler=GUIDED, uniform=uniform)


def cast(rays: Rays, poses: Poses) -> tuple[Tensor, Tensor]:
    """Distance to the first triangle (Möller and Trumbore) and its unit normal; infinite where there is none."""
    at = poses.vertices[rays.pose][:, FACES]
    one, two = at[:, :, 1] - at[:, :, 0], at[:, :, 2] - at[:, :, 0]
    across = torch.linalg.cross(rays.directions[:, None].expand_as(two), two)
    scale = 1.0 / (one * across).sum(-1)
    offset = rays.origins[:, None] - at[:, :, 0]
    u = (offset * across).sum(-1) * scale
    turned = torch.linalg.cross(offset, one)
    v = (rays.directions[:, None] * turned).sum(-1) * scale
    distance = ((two * turned).sum(-1) * scale).masked_fill(~((u >= 0) & (v >= 0) & (u + v <= 1)), torch.inf)
    nearest, face = distance.min(dim=1)
    row = torch.arange(len(rays))
    return nearest, nn.functional.normalize(torch.linalg.cross(one[row, face], two[row, face]), dim=-1)


def test_two_peoples_posed_hands_are_seen_where_their_meshes_are() -> None:
    poses, _, rays = scene()
    with torch.no_grad():
        net = network()
        nn.init.zeros_(net.geometry.last.weight)
        seen = look(net)
    distance, normal = cast(rays, poses)
    facing = (normal * rays.directions).sum(-1) < -0.4
    offset = poses.vertices[rays.pose] - rays.origins[:, None]
    beside = torch.linalg.vector_norm(torch.linalg.cross(offset, rays.directions[:, None].expand_as(offset)), dim=-1)
    hit, missed = distance.isfinite() & facing, ~distance.isfinite() & (beside.amin(dim=1) > 0.005)
    assert int(hit.sum()) > 15
    assert int(missed.sum()) > 3
    assert float(seen.opacity[hit].median()) > 0.98
    assert float(seen.opacity[missed].max()) < 0.1
    assert float((seen.depth - distance)[hit].abs().median()) < 0.0007
    cosine = (nn.functional.normalize(seen.normal, dim=-1) * normal).sum(-1).clamp(-1.0, 1.0)
    assert (
        float(torch.rad2deg(torch.arccos(cosine))[hit].median()) < 12.0
    )  # of facets, where the flat surface has one plane a vertex


def test_a_few_steps_on_rays_of_rendered_hands_lower_the_loss() -> None:
    with torch.no_grad():
        target = look(network())
    poses, _, _ = scene()
    poses = dataclasses.replace(poses, bones=poses.bones.clone().requires_grad_())
    net = network(swollen_m=0.002)
    nn.init.zeros_(net.radiance.mix.weight)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    optimiser.param_groups[0]["params"] = [*net.radiance.parameters()]
    optimiser.add_param_group({"params": [*net.geometry.parameters()], "lr": 3e-4})
    losses = []
    for step in range(8):
        optimiser.zero_grad()
        uniform = torch.rand(80, 16, generator=torch.Generator().manual_seed(step))
        seen = look(net, poses, uniform)
        loss = (seen.colour - target.colour).abs().mean() + (seen.opacity - target.opacity).abs().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]
    assert poses.bones.grad is not None
    for gradient in (poses.bones.grad, net.geometry.encoding.table.grad, net.radiance.mix.weight.grad):
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) > 0
