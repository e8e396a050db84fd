import numpy as np
import pytest

from palm_data.camera.fold import smallest_positive_root


def test_the_first_crossing_counts() -> None:
    assert smallest_positive_root([1.0, -5.0, 6.0]) == pytest.approx(2.0)  # (x − 2)(x − 3)


def test_no_positive_root_is_infinity() -> None:
    assert smallest_positive_root([1.0, 3.0, 2.0]) == np.inf
    assert smallest_positive_root([1.0, 0.0, 1.0]) == np.inf
    assert smallest_positive_root([0.0, 0.0, 1.0]) == np.inf


def test_coefficients_too_small_to_bend_anything_are_none() -> None:
    assert smallest_positive_root([2e-311, 0.0, 0.0, 1.0]) == np.inf
