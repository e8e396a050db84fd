import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from palm_model.prior.harmonics import band_openings, encode_directions, spherical_harmonics


def unit_directions(count: int = 200) -> torch.Tensor:
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def test_harmonics_are_scipys_real_ones() -> None:
    directions = unit_directions()
    x, y, z = directions.numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    columns = []
    for band in range(4):
        for order in range(-band, band + 1):
            value = sph_harm_y(band, abs(order), polar, azimuth) * (-1) ** order
            part = value.real if order >= 0 else value.imag
            columns.append(part * (np.sqrt(2) if order else 1))
    np.testing.assert_allclose(spherical_harmonics(directions).numpy(), np.stack(columns, axis=1), atol=1e-12)


@pytest.mark.parametrize(("open_bands", "opened"), [(0.0, 0), (1.0, 1), (2.0, 4), (3.0, 9), (4.0, 16), (None, 16)])
def test_whole_bands_are_open_or_zero(open_bands: float | None, opened: int) -> None:
    directions = unit_directions()
    encoded = encode_directions(directions, open_bands)
    assert torch.equal(encoded[:, :opened], spherical_harmonics(directions)[:, :opened])
    assert not encoded[:, opened:].any()


def test_a_band_fades_in_by_a_cosine() -> None:
    assert band_openings(1.5)[1:4] == pytest.approx([0.5] * 3)
    assert band_openings(1.25)[1] == pytest.approx(0.5 - np.sqrt(0.125))
    assert band_openings(-3.0) == [0.0] * 16
