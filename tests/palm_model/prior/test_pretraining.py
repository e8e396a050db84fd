"""Pre-training of the SDF: what is learned, what is not touched, and that it is the same each time."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from palm_model.prior.canonical import canonical_vertices
from palm_model.prior.canonical_sdf import CanonicalSdf, Told
from palm_model.prior.closed_surface import closed_hands
from palm_model.prior.network import PalmNet
from palm_model.prior.pretraining import learned_sdf, levels_to_open, pretrain_geometry, pretraining_digest
from schemas.errors import SettingsError, TrainingError
from schemas.prior_encoding import EncodingSettings
from schemas.prior_pretraining import PretrainingSettings
from tests.palm_model.prior.small_fields import KnownGeometry
from tests.palm_model.prior.small_pretraining import MODEL, SMALL, fresh, taught

FEW = SMALL.model_copy(update={"steps": 6, "shapes": 4, "points": 256})


def asked(network: PalmNet, points: Tensor, betas: Tensor, *, levels: int | None = None) -> Tensor:
    """Signed distance at points of one hand in zero pose, whose shape code is zero."""
    learned = CanonicalSdf.of(network, levels)
    count, sizes = len(points), learned.geometry.settings
    pose = learned.encoder(torch.zeros(1, 48)).expand(count, -1)
    told = Told(pose, torch.zeros(count, sizes.shape_code), betas.expand(count, -1))
    with torch.no_grad():
        return learned(points, told)


def weights(network: PalmNet, *, of_geometry: bool) -> dict[str, Tensor]:
    return {
        name: tensor.clone()
        for name, tensor in network.state_dict().items()
        if name.startswith("geometry.") == of_geometry
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_few_steps_come_near_to_hands_of_unseen_shapes() -> None:
    _, figures = taught()
    assert figures["surface_mm_mean"] < 2.0
    assert figures["surface_mm_mean"] < figures["surface_mm_p95"]
    assert figures["surface_mm_mean"] <= figures["worst_shape_mm"]
    assert figures["normal_deg_mean"] < 25.0
    assert figures["pose_mm_mean"] < 0.3
    assert figures["slope_mean"] == pytest.approx(1.0, abs=0.2)
    assert figures["open_levels"] == 4  # of 16, 24, 36, 54, 81 and 122 vertices


def test_a_sphere_is_far_off_by_the_same_figures() -> None:
    _, begun = fresh(), pretrain_geometry(fresh(), MODEL, FEW.model_copy(update={"learning_rate": 1e-9}))
    assert begun["surface_mm_mean"] > 20.0
    assert begun["normal_deg_mean"] > 40.0


def test_the_figure_is_the_error_on_the_surface() -> None:
    """Measured in another way: at other hands' vertices, which are densest where hands are hardest, at the finger tips."""
    network, figures = taught()
    betas = 0.7 * torch.randn(4, 10, generator=torch.Generator().manual_seed(11))
    surfaces = canonical_vertices(MODEL, betas)
    off = torch.cat([asked(network, one, shape) for one, shape in zip(surfaces, betas, strict=True)]).abs()
    assert 0.5 < 1e3 * float(off.mean()) / figures["surface_mm_mean"] < 2.5


def test_a_larger_hand_has_its_surface_farther_out() -> None:
    """β has a say: points just outside the mean hand lie inside a larger one, and not in a smaller one."""
    network, _ = taught()
    size = torch.zeros(10)
    size[0] = 2.0
    # Which sign of the first coefficient makes it larger is the hand model's matter.
    larger, smaller = sorted(
        (size, -size), key=lambda betas: -float(np.ptp(canonical_vertices(MODEL, betas[None])[0].numpy(), axis=0).max())
    )
    (larger_hand,) = closed_hands(MODEL, larger[None])
    (smaller_hand,) = closed_hands(MODEL, smaller[None])
    points, normals = (torch.from_numpy(one).float() for one in larger_hand.points(2000, np.random.default_rng(0)))
    inside = points - 0.001 * normals
    truly_outside = torch.from_numpy(smaller_hand.signed_distance(inside.numpy()) > 0.004)
    assert int(truly_outside.sum()) > 200
    of_larger, of_smaller = (asked(network, inside, betas)[truly_outside] for betas in (larger, smaller))
    assert float((of_larger < of_smaller).float().mean()) > 0.95
    assert float((of_smaller > 0).float().mean()) > 0.9
    known = torch.from_numpy(smaller_hand.signed_distance(inside.numpy()))[truly_outside]
    assert float((of_smaller - known).abs().mean()) < 0.5 * float(known.abs().mean())


def test_it_is_the_same_each_time_whatever_the_global_generator_says() -> None:
    first, second, other = fresh(), fresh(), fresh()
    pretrain_geometry(first, MODEL, FEW)
    torch.rand(7)
    before = torch.get_rng_state()
    pretrain_geometry(second, MODEL, FEW)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(weights(first, of_geometry=True), weights(second, of_geometry=True))
    pretrain_geometry(other, MODEL, FEW.model_copy(update={"seed": 1}))
    assert not same(weights(first, of_geometry=True), weights(other, of_geometry=True))


def test_only_the_geometry_changes_and_no_gradient_stays() -> None:
    network = fresh()
    before, geometry = weights(network, of_geometry=False), weights(network, of_geometry=True)
    pretrain_geometry(network, MODEL, FEW)
    assert same(before, weights(network, of_geometry=False))
    assert not same(geometry, weights(network, of_geometry=True))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_opening_the_finer_levels_later_changes_nothing_at_first() -> None:
    network, figures = taught()
    points = canonical_vertices(MODEL, torch.zeros(1, 10))[0]
    open_as_learned = asked(network, points, torch.zeros(10), levels=int(figures["open_levels"]))
    torch.testing.assert_close(asked(network, points, torch.zeros(10)), open_as_learned, atol=1e-9, rtol=0.0)
    assert float((asked(network, points, torch.zeros(10), levels=1) - open_as_learned).abs().mean()) > 1e-4


def test_levels_are_opened_up_to_a_size_and_never_none() -> None:
    encoding = EncodingSettings(levels=4, base_resolution=16, growth=2.0)
    for finest, count in ((8, 1), (16, 1), (31, 1), (32, 2), (127, 3), (128, 4), (1000, 4)):
        assert levels_to_open(encoding, PretrainingSettings(finest_vertices=finest)) == count


def test_the_gradient_of_the_loss_reaches_beta_and_the_open_levels_only() -> None:
    network, _ = taught()
    learned = learned_sdf(network, SMALL)
    first = learned.geometry.network[0]
    betas_columns = first.weight[:, -10:]
    assert float(betas_columns.detach().abs().max()) > 1e-2
    closed = learned.geometry.encoding.levels[4].first
    begun = fresh().state_dict()["geometry.encoding.table"]
    now = learned.geometry.encoding.table.detach()
    assert torch.equal(now[closed:], begun[closed:])
    assert not torch.equal(now[:closed], begun[:closed])


def test_progress_is_told_at_every_step() -> None:
    told: list[tuple[int, int, float]] = []
    pretrain_geometry(fresh(), MODEL, FEW, progress=lambda *now: told.append(now))
    assert [(done, total) for done, total, _ in told] == [(step, 6) for step in range(1, 7)]
    assert all(math.isfinite(loss) and loss > 0 for *_, loss in told)


def test_numbers_that_are_not_finite_stop_it_before_the_weights_are_spoilt() -> None:
    network = fresh()
    with pytest.raises(TrainingError, match=r"step \d+: expected finite gradients.*learning_rate"):
        pretrain_geometry(network, MODEL, FEW.model_copy(update={"learning_rate": 1e30, "steps": 40}))
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


def test_a_network_of_other_parts_is_refused() -> None:
    network: Any = fresh()
    del network.geometry
    network.geometry = KnownGeometry(lambda points: points[:, 0])
    with pytest.raises(
        SettingsError, match="expected a network of GeometryField and Conditioning, found KnownGeometry"
    ):
        pretrain_geometry(network, MODEL, FEW)


def test_the_digest_follows_all_that_the_weights_do() -> None:
    network = fresh()
    digest = pretraining_digest(network, MODEL, SMALL, 0)
    assert digest == pretraining_digest(fresh(), MODEL, SMALL, 0)
    assert digest != pretraining_digest(network, MODEL, SMALL, 1)
    assert digest != pretraining_digest(network, MODEL, SMALL.model_copy(update={"far_m": 0.02}), 0)
