import numpy as np
import torch

from palm_data.colour import srgb_from_linear
from palm_model.prior.colour import over_background, srgb


def test_the_curve_is_the_stored_colours_own() -> None:
    linear = np.linspace(-0.2, 1.3, 2001)
    np.testing.assert_allclose(srgb(torch.from_numpy(linear)).numpy(), srgb_from_linear(linear), atol=1e-12)


def test_its_gradient_is_finite_everywhere_and_right() -> None:
    linear = torch.tensor([0.0, 0.001, 0.0031, 0.0032, 0.5, 1.0, -0.1, 1.1], dtype=torch.float64, requires_grad=True)
    srgb(linear).sum().backward()
    assert linear.grad is not None
    assert torch.isfinite(linear.grad).all()
    inside = torch.tensor([0.001, 0.02, 0.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(srgb, inside)


def test_background_shows_in_linear_light_where_the_hand_is_not_opaque() -> None:
    colour = torch.tensor([[0.2, 0.0, 0.0], [0.0, 0.0, 0.0]])
    opacity = torch.tensor([0.5, 0.0])
    shown = over_background(colour, opacity, torch.tensor([0.6, 0.6, 0.6]))
    expected = srgb_from_linear(np.array([[0.5, 0.3, 0.3], [0.6, 0.6, 0.6]]))
    np.testing.assert_allclose(shown.numpy(), expected, atol=1e-6)
