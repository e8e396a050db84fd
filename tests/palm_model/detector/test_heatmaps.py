import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palm_model.detector.heatmaps import decode, encode
from palm_model.detector.loss import heatmap_divergence, robust_mean

SIGMA = 1.75


@given(st.floats(6.0, 58.0), st.floats(6.0, 58.0))
def test_a_place_survives_its_heatmap(x: float, y: float) -> None:
    points = torch.tensor([[[x, y]]], dtype=torch.float64)
    found, confidence = decode(encode(points, 64, SIGMA).log(), SIGMA)
    assert (found - points).abs().max() < 0.02
    assert confidence.item() > 0.97


def test_a_heatmap_is_a_distribution_with_its_mean_at_the_place() -> None:
    points = torch.tensor([[[20.25, 40.5]]], dtype=torch.float64)
    heatmap = encode(points, 64, SIGMA)
    assert heatmap.sum().item() == pytest.approx(1.0)
    centres = torch.arange(64, dtype=torch.float64) + 0.5
    assert (heatmap[0, 0].sum(dim=0) @ centres).item() == pytest.approx(20.25, abs=1e-6)
    assert (heatmap[0, 0].sum(dim=1) @ centres).item() == pytest.approx(40.5, abs=1e-6)


def test_doubt_between_two_places_halves_the_confidence() -> None:
    points = torch.tensor([[[16.0, 16.0]], [[48.0, 40.0]]], dtype=torch.float64)
    both = encode(points, 64, SIGMA).mean(dim=0, keepdim=True)
    _, confidence = decode(both.log(), SIGMA)
    assert confidence.item() == pytest.approx(0.5, abs=0.02)


def test_an_empty_heatmap_has_no_confidence() -> None:
    _, confidence = decode(torch.zeros(1, 21, 64, 64), SIGMA)
    assert confidence.max() < 0.05


def test_a_peak_at_the_border_stays_inside_and_finite() -> None:
    logits = torch.full((1, 1, 32, 32), -20.0)
    logits[0, 0, 0, 31] = 20.0
    found, confidence = decode(logits, SIGMA)
    assert torch.allclose(found, torch.tensor([[[31.5, 0.5]]]), atol=1e-3)
    assert confidence.item() <= 1.0


def test_no_divergence_from_itself_and_more_the_farther_away() -> None:
    points = torch.tensor([[[30.0, 30.0], [31.0, 30.0], [45.0, 30.0]]], dtype=torch.float64)
    target = encode(points[:, :1].expand(1, 3, 2), 64, SIGMA)
    divergence = heatmap_divergence(encode(points, 64, SIGMA).log(), target)[0]
    assert divergence[0].abs() < 1e-9
    # Two Gaussians a shift d apart: d² / 2σ².
    assert divergence[1].item() == pytest.approx(1.0 / (2 * SIGMA**2), rel=1e-3)
    assert divergence[2] > 30


def test_a_wrong_label_stops_pulling() -> None:
    divergence = torch.tensor([[0.5, 60.0]], requires_grad=True)
    labelled = torch.tensor([[True, True]])
    robust_mean(divergence, labelled, 3.0).backward()
    assert divergence.grad is not None
    fair, wrong = divergence.grad[0].tolist()
    assert wrong < 0.01 * fair
    assert robust_mean(divergence, labelled, 3.0) < 3.0


def test_only_labelled_joints_count() -> None:
    divergence = torch.tensor([[1.0, 9.0], [3.0, 9.0]])
    labelled = torch.tensor([[True, False], [True, False]])
    assert robust_mean(divergence, labelled, None).item() == 2.0
    assert robust_mean(divergence, torch.zeros(2, 2, dtype=torch.bool), 1.0).item() == 0.0


def test_decoding_matches_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 3.0, (2, 3, 24, 24))
    found, confidence = decode(torch.from_numpy(logits), SIGMA)
    for image, joint in np.ndindex(2, 3):
        mass = np.exp(logits[image, joint])
        mass /= mass.sum()
        row, column = np.unravel_index(mass.argmax(), mass.shape)
        places = [(r, c) for r, c in np.ndindex(24, 24) if abs(r - row) <= 3 * SIGMA and abs(c - column) <= 3 * SIGMA]
        total = sum(mass[place] for place in places)
        x = sum(mass[r, c] * (c + 0.5) for r, c in places) / total
        y = sum(mass[r, c] * (r + 0.5) for r, c in places) / total
        assert np.allclose(found[image, joint], [x, y])
        assert confidence[image, joint].item() == pytest.approx(total)
