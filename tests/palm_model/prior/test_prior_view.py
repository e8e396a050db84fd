"""What a prior says that a camera sees, against the registered surface as Open3D's rays meet it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from palm_data.loader.release import Release
from palm_data.maps.predicted import PredictedView
from palm_model.prior.build import build_palm_net
from palm_model.prior.checkpoint import write_checkpoint
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.prior import Prior
from schemas.camera import Camera
from tests.palm_model.prior.conftest import Trained
from tests.palm_model.prior.released import HEIGHT, MODEL, WIDTH, camera
from tests.palm_model.prior.settings import SMALL

SHELL = SMALL.volume.sampling.shell_m  # type: ignore[union-attr]


class CanonicalHand(torch.nn.Module):
    """The SDF of somebody's flat hand, by its nearest vertex's tangent plane."""

    def __init__(self, hands: ReleasedHands, prior: Prior) -> None:
        super().__init__()
        from palm_model.prior.canonical import canonical_vertices
        from tests.palm_model.prior.test_network_hand import unit_normals

        self.box = prior.network.box
        (self.surface,) = canonical_vertices(MODEL, hands.poses.betas[:1])
        self.surface = self.surface.float()
        self.normals = unit_normals(self.surface)

    def forward(self, unit: torch.Tensor, *told: object) -> SimpleNamespace:
        points = self.box.from_unit(unit)
        near = torch.cdist(points, self.surface).argmin(dim=1)
        sdf = ((points - self.surface[near]) * self.normals[near]).sum(dim=-1)
        return SimpleNamespace(sdf=sdf, feature=torch.zeros(len(unit), SMALL.fields.features))


@pytest.fixture(scope="module")
def true_hand(whole: Trained, hands: ReleasedHands) -> Prior:
    """A prior whose SDF is the first person's hand, and whose density is sharp."""
    prior = Prior(build_palm_net(SMALL, MODEL, 3).eval(), whole.prior.card, MODEL)
    prior.network.geometry = CanonicalHand(hands, prior)
    with torch.no_grad():
        prior.network.density.above_least.fill_(2e-4)
    return prior


def view(prior: Prior, hands: ReleasedHands, seen_by: Camera) -> PredictedView:
    return prior.view(seen_by, *hands.select([0]))


def moved(seen_by: Camera, **changes: object) -> Camera:
    return seen_by.model_copy(update=changes)


@pytest.mark.parametrize("number", [0, 2])
def test_pictures_are_those_of_the_registered_surface(
    number: int, true_hand: Prior, hands: ReleasedHands, release: Release
) -> None:
    truth = release[0].every_view[number]
    found = view(true_hand, hands, truth.camera)
    assert found.rgb.shape == (HEIGHT, WIDTH, 3)
    assert found.opacity.shape == found.depth.shape == (HEIGHT, WIDTH)
    assert found.albedo is not None
    assert found.roughness is not None
    assert found.opacity.min() >= 0.0
    assert found.opacity.max() <= 1.0
    assert found.rgb.min() >= 0.0
    assert found.rgb.max() <= 1.0
    hit = found.opacity > 0.5
    assert (hit & truth.mask).sum() / (hit | truth.mask).sum() > 0.85
    inside = hit & truth.mask & (found.opacity > 0.98)
    assert inside.sum() > 150
    apart = np.abs(found.depth - truth.depth)[inside]
    assert np.median(apart) < 0.002
    assert (apart < SHELL).mean() > 0.9
    assert (found.depth[found.opacity < 0.01] == 0).all()
    assert (found.rgb[found.opacity == 0] == 0).all()
    normals = (truth.normal @ np.asarray(truth.camera.rotation))[inside]
    shown = found.normal[inside] / np.linalg.norm(found.normal[inside], axis=1, keepdims=True)
    assert np.median((normals * shown).sum(axis=1)) > 0.9


def test_rows_and_columns_are_the_cameras(true_hand: Prior, hands: ReleasedHands) -> None:
    seen_by = camera(2, "MCU_03")
    opacity = view(true_hand, hands, seen_by).opacity
    points = np.c_[hands.poses.vertices[0].numpy(), np.ones(len(MODEL.v_template))] @ seen_by.projection().T
    at = points[:, :2] / points[:, 2:]
    x, y = np.floor(at).astype(int).T
    here = (x >= 0) & (y >= 0) & (x < WIDTH) & (y < HEIGHT)
    assert here.mean() > 0.9
    assert (opacity[y[here], x[here]] > 0.3).mean() > 0.9
    rows, columns = np.nonzero(opacity > 0.5)
    for seen, told in ((rows, at[here, 1]), (columns, at[here, 0])):
        assert abs(seen.min() - np.floor(told.min())) <= 1.5
        assert abs(seen.max() - np.floor(told.max())) <= 3  # the plane SDF is open at the wrist


def test_part_of_a_hand_is_shown_as_in_the_whole_picture(true_hand: Prior, hands: ReleasedHands) -> None:
    seen_by = camera(2, "MCU_03")
    whole = view(true_hand, hands, seen_by)
    part = view(true_hand, hands, moved(seen_by, cx=seen_by.cx - 20, cy=seen_by.cy - 25))
    assert part.opacity[:5, :5].max() > 0.5
    for name in ("opacity", "rgb", "depth"):
        np.testing.assert_allclose(
            getattr(part, name)[:-25, :-20], getattr(whole, name)[25:, 20:], atol=2e-3, err_msg=name
        )


def test_a_hand_outside_of_the_picture_or_behind_the_camera_is_not_seen(true_hand: Prior, hands: ReleasedHands) -> None:
    seen_by = camera(0, "MCU_01")
    for nothing in (moved(seen_by, cx=-900.0), moved(seen_by, translation=(0.0, 0.0, -0.5))):
        found = view(true_hand, hands, nothing)
        assert found.rgb.shape == (HEIGHT, WIDTH, 3)
        assert found.opacity.max() == 0.0
        assert found.depth.max() == 0.0


def test_a_camera_within_the_hands_reach_sees_what_is_before_it(true_hand: Prior, hands: ReleasedHands) -> None:
    found = view(true_hand, hands, moved(camera(0, "MCU_01"), translation=(0.0, 0.0, 0.03)))
    assert np.isfinite(found.rgb).all()
    assert found.depth.min() >= 0.0
    assert found.opacity.max() > 0.5


def test_a_loaded_prior_shows_the_same_picture(whole: Trained, hands: ReleasedHands, tmp_path: Path) -> None:
    before = Prior(whole.prior.network, whole.prior.card, MODEL)
    write_checkpoint(tmp_path, before.network, before.card)
    after = Prior.load(tmp_path, MODEL)
    assert after.settings == SMALL
    pictures = [view(prior, hands, camera(0, "MCU_01")) for prior in (before, after)]
    for name in ("rgb", "opacity", "normal", "depth", "albedo", "roughness"):
        np.testing.assert_array_equal(getattr(pictures[0], name), getattr(pictures[1], name))
