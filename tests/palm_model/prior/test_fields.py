import io

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from palm_model.prior.encoding import HashEncoding
from palm_model.prior.fields import GeometryField, MaterialField, RadianceField
from palm_model.prior.layers import LipschitzLinear, LipschitzNetwork
from schemas.errors import SettingsError
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings

GRID = EncodingSettings(levels=4, log2_table_size=10)
SETTINGS = FieldSettings()
HALF_SIDE = 0.138


def geometry(settings: FieldSettings = SETTINGS) -> GeometryField:
    seed = torch.Generator().manual_seed(0)
    return GeometryField(settings, HashEncoding(GRID, generator=seed), half_side=HALF_SIDE, generator=seed)


def codes(count: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    seeded = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, width, generator=seeded) for width in (32, 32, 10))  # type: ignore[return-value]


def points(count: int = 500) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(2))


def shading() -> tuple[RadianceField, MaterialField]:
    seed = torch.Generator().manual_seed(0)
    radiance = RadianceField(SETTINGS, HashEncoding(GRID, generator=seed), generator=seed)
    return radiance, MaterialField(SETTINGS, radiance, generator=seed)


def test_the_first_sdf_is_a_spheres_to_a_fortieth_of_its_radius_near_it_and_a_twentieth_in_the_corners() -> None:
    unit = points()
    out = geometry()(unit, *codes(500))
    radius = 0.5 * HALF_SIDE
    true = torch.linalg.vector_norm(2 * unit - 1, dim=-1) * HALF_SIDE - radius
    wrong = (out.sdf - true).abs()
    assert wrong.max() < 0.05 * radius
    assert wrong[true.abs() < 0.6 * radius].max() < 0.025 * radius
    torch.testing.assert_close(out.sdf, out.feature[:, 0] * HALF_SIDE)


def test_the_first_sdf_climbs_a_metre_a_metre() -> None:
    unit = points().requires_grad_()
    away = torch.linalg.vector_norm(unit.detach() - 0.5, dim=-1) > 0.1
    (slope,) = torch.autograd.grad(geometry()(unit, *codes(500)).sdf.sum(), unit)
    steepness = torch.linalg.vector_norm(slope[away] / (2 * HALF_SIDE), dim=-1)
    assert (steepness - 1).abs().max() < 0.15
    assert (steepness - 1).abs().mean() < 0.03


def test_geometry_learns_from_beta_unless_it_is_switched_off() -> None:
    unit, (pose, shape, betas) = points(20), codes(20)
    seeing, blind = geometry(), geometry(FieldSettings(use_betas=False))
    with torch.no_grad():
        for one in (seeing, blind):
            weight = one.network[0].parametrizations.weight.original1  # type: ignore[union-attr]
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    assert (seeing(unit, pose, shape, betas).sdf - seeing(unit, pose, shape, -betas).sdf).abs().max() > 1e-4
    assert torch.equal(blind(unit, pose, shape, betas).sdf, blind(unit, pose, shape, None).sdf)
    with pytest.raises(SettingsError, match="expected betas"):
        seeing(unit, pose, shape, None)


def test_radiance_depends_on_the_mirrored_direction_only_through_open_bands() -> None:
    radiance, _ = shading()
    grid, (pose, code, _) = radiance.grid(points(30)), codes(30)
    feature = torch.ones(30, 13)
    up = torch.tensor([0.0, 0.0, 1.0]).expand(30, 3)
    one = radiance(grid, feature, up, up, pose, code, 1.0)
    assert torch.equal(one, radiance(grid, feature, -up, up, pose, code, 1.0))
    assert not torch.equal(one, radiance(grid, feature, -up, up, pose, code, 2.0))
    assert one.shape == (30, 3)
    assert (one > 0).all()
    assert (one < 1).all()


def test_materials_stay_in_their_ranges_however_hard_they_are_pushed() -> None:
    radiance, material = shading()
    grid, (pose, code, _) = radiance.grid(points(30)), codes(30)
    for push in (-1e4, 1e4):
        with torch.no_grad():
            material.network.layers[-1].linear.bias.fill_(push)  # type: ignore[union-attr]
        out = material(grid, torch.ones(30, 13), pose, code)
        at = 0.0 if push < 0 else 1.0
        torch.testing.assert_close(out.albedo, torch.full((30, 3), 0.03 + 0.77 * at))
        torch.testing.assert_close(out.alpha, torch.full((30,), 0.09 + 0.9 * at))
        torch.testing.assert_close(out.metallic, torch.full((30,), at))


def test_material_trains_the_radiance_networks_table_which_is_saved_once() -> None:
    radiance, material = shading()
    pose, code, _ = codes(30)
    material(radiance.grid(points(30)), torch.ones(30, 13), pose, code).albedo.sum().backward()
    assert radiance.encoding.table.grad is not None
    assert radiance.encoding.table.grad.abs().max() > 0
    both = torch.nn.ModuleDict({"radiance": radiance, "material": material})
    assert sum("table" in name for name in both.state_dict()) == 1
    stored = load(io.BytesIO(save(both.state_dict())).getvalue())
    assert stored.keys() == both.state_dict().keys()


def test_told_by_hand_and_row_the_networks_say_what_they_say_told_point_by_point() -> None:
    """Values and every gradient; hands that no point is of among them."""
    field, (radiance, _), unit = geometry().double(), shading(), points(40).double()
    radiance.double()
    told = [one.double().requires_grad_() for one in codes(4)]
    row = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(7))
    others = [torch.randn(40, width, generator=torch.Generator().manual_seed(8)).double() for width in (13, 3, 3)]
    learned = [*told, *field.parameters(), *radiance.parameters()]

    def said(pose: Tensor, shape: Tensor, betas: Tensor, *whose: Tensor) -> tuple[Tensor, ...]:
        shown = radiance(radiance.grid(unit), *others, pose, shape, None, *whose)
        feature = field(unit, pose, shape, betas, None, *whose).feature
        return shown, feature, *torch.autograd.grad((shown.sin().sum() + feature.sin().sum()), learned)

    torch.testing.assert_close(said(*told, row), said(*(one[row] for one in told)))


def test_no_two_inputs_are_told_apart_by_more_than_the_lipschitz_bound() -> None:
    seed = torch.Generator().manual_seed(4)
    network = LipschitzNetwork(20, 32, 5, seed)
    with torch.no_grad():
        for layer in network.layers:
            layer.raw_bound.fill_(0.5)  # type: ignore[union-attr]
    first, second = (torch.randn(2000, 20, generator=seed) for _ in range(2))
    moved = (network(first) - network(second)).abs().amax(dim=1)
    bound = network.bound()
    assert (moved <= bound * (first - second).abs().amax(dim=1)).all()
    torch.testing.assert_close(bound, torch.nn.functional.softplus(torch.tensor(0.5)) ** 3)


def test_the_bound_is_twice_what_is_needed_at_first_and_a_loss_on_it_lowers_it() -> None:
    layer = LipschitzLinear(7, 9, torch.Generator().manual_seed(5))
    values = torch.randn(4, 7, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(layer.bound.detach(), 2 * layer.linear.weight.detach().abs().sum(1).max())
    torch.testing.assert_close(layer(values), layer.linear(values))
    layer.bound.backward()
    assert layer.raw_bound.grad is not None
    assert layer.raw_bound.grad > 0
