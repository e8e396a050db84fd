"""The sRGB curve: published points, and there and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from palm_data.colour import linear_from_srgb, srgb_from_linear


@given(st.floats(0.0, 1.0))
def test_encoding_and_decoding_are_inverses(value: float) -> None:
    assert np.isclose(srgb_from_linear(linear_from_srgb(np.array(value))), value, atol=1e-7)


def test_known_points_of_the_standard() -> None:
    assert np.allclose(
        linear_from_srgb(np.array([0.0, 0.04045, 0.5, 1.0])), [0.0, 0.0031308, 0.21404114, 1.0], atol=1e-6
    )


def test_light_outside_the_range_is_clipped() -> None:
    assert np.allclose(srgb_from_linear(np.array([-1.0, 7.0])), [0.0, 1.0], atol=1e-12)
