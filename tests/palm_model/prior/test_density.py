import numpy as np
import pytest
import torch
from scipy.stats import laplace

from palm_model.prior.density import LaplaceDensity
from schemas.errors import SettingsError


def test_density_is_laplaces_distribution() -> None:
    sdf = torch.linspace(-0.05, 0.05, 101)
    density = LaplaceDensity(0.004)
    expected = laplace.cdf(-sdf.double().numpy(), scale=0.004) / 0.004
    np.testing.assert_allclose(density(sdf).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_far_points_have_finite_densities_and_gradients() -> None:
    sdf = torch.tensor([-1e5, -1.0, 0.0, 1.0, 1e5], requires_grad=True)
    density = LaplaceDensity(0.0002)
    density(sdf).sum().backward()
    assert sdf.grad is not None
    assert sdf.grad.isfinite().all()
    assert density.above_least.grad is not None
    assert density.above_least.grad.isfinite()


def test_beta_never_falls_below_its_least_value() -> None:
    density = LaplaceDensity(0.3, 1e-4)
    assert density.beta.item() == pytest.approx(0.3)
    for value in (0.0, -0.01):
        density.above_least.data.fill_(value)
        assert density.beta.item() == pytest.approx(1e-4 + abs(value))
    with pytest.raises(SettingsError, match="beta_initial"):
        LaplaceDensity(1e-5, 1e-4)
