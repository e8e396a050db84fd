"""PalmNet made of the fields, density and codes that it is trained with, on two people's posed hands."""

import torch
from torch import Tensor

from palm_model.prior.codes import CodeBook, Conditioning, PoseEncoder
from palm_model.prior.density import LaplaceDensity
from palm_model.prior.encoding import HashEncoding
from palm_model.prior.fields import ALBEDO_RANGE, GeometryField, MaterialField, RadianceField
from palm_model.prior.network import PalmNet
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings
from schemas.prior_volume import VolumeSettings
from tests.palm_model.prior.test_network_hand import BOX, look, network

FIELDS = FieldSettings(width=32, pose_code=4, shape_code=4, appearance_code=4, code_std=0.1)


def palm_net(fields: FieldSettings = FIELDS) -> PalmNet:
    random = torch.Generator().manual_seed(0)
    grids = [HashEncoding(EncodingSettings(levels=4, log2_table_size=10), generator=random) for _ in range(2)]
    geometry = GeometryField(fields, grids[0], half_side=BOX.half_side, generator=random)
    radiance = RadianceField(fields, grids[1], generator=random)
    codes = Conditioning(CodeBook(fields, 2, generator=random), PoseEncoder(fields.pose_code, generator=random))
    density = LaplaceDensity(fields.beta_initial, fields.beta_least)
    material = MaterialField(fields, radiance, generator=random)
    return PalmNet(geometry, radiance, material, density, codes, box=BOX, settings=VolumeSettings())


def test_every_part_that_is_trained_gets_a_gradient() -> None:
    net = palm_net()
    with torch.no_grad():
        target = look(network())
    # The first sphere is blind to all but the place: what else the geometry is told has no say, and its table no gradient, yet.
    _step(net, torch.optim.Adam(net.parameters(), lr=5e-3), target.colour, target.opacity, step=0)
    net.zero_grad()
    seen = look(net)
    assert seen.albedo is not None
    assert seen.alpha is not None
    assert seen.metallic is not None
    whole = seen.colour.mean() + seen.opacity.mean() + seen.albedo.mean() + seen.alpha.mean() + seen.metallic.mean()
    (whole + 1e-3 * net.material.lipschitz_bound()).backward()  # only that asks for the bounds while they are slack
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_material_keeps_its_range_where_a_ray_is_stopped() -> None:
    with torch.no_grad():
        seen = look(palm_net())
    assert seen.albedo is not None
    stopped = seen.opacity > 0.99
    assert int(stopped.sum()) > 10
    albedo = (seen.albedo / seen.opacity[:, None])[stopped]
    assert float(albedo.min()) >= ALBEDO_RANGE[0] - 1e-5
    assert float(albedo.max()) <= ALBEDO_RANGE[1] + 1e-5


def test_a_few_steps_teach_it_two_hands() -> None:
    with torch.no_grad():
        target = look(network())
    net = palm_net()
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = [_step(net, optimiser, target.colour, target.opacity, step) for step in range(25)]
    assert losses[-1] < 0.7 * losses[0]


def _step(net: PalmNet, optimiser: torch.optim.Optimizer, colour: Tensor, opacity: Tensor, step: int) -> float:
    optimiser.zero_grad()
    seen = look(net, uniform=torch.rand(80, 16, generator=torch.Generator().manual_seed(step)))
    loss = (seen.colour - colour).abs().mean() + (seen.opacity - opacity).abs().mean()
    loss.backward()
    optimiser.step()
    return float(loss.detach())
