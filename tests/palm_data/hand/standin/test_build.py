"""The builder makes the file that is shipped."""

from pathlib import Path

import numpy as np
import pytest

from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.hand.standin.build import StandIn, build_standin, write_model

pytestmark = pytest.mark.slow
GRID = 1e-6
"""A micrometre: what another processor's arithmetic may change."""


@pytest.fixture(scope="module")
def standin() -> StandIn:
    return build_standin()


def test_the_builder_reproduces_the_shipped_file(standin: StandIn) -> None:
    with np.load(SHIPPED_MODEL) as shipped:
        assert sorted(shipped.files) == sorted(standin.arrays)
        for name, built in standin.arrays.items():
            assert (built.shape, built.dtype) == (shipped[name].shape, shipped[name].dtype), name
            if built.dtype.kind in "iuU":
                np.testing.assert_array_equal(built, shipped[name], err_msg=name)
            else:
                np.testing.assert_allclose(built, shipped[name], rtol=0, atol=GRID, err_msg=name)


def test_building_twice_gives_the_same_bytes(standin: StandIn, tmp_path: Path) -> None:
    for name, arrays in (("one.npz", standin.arrays), ("two.npz", build_standin().arrays)):
        write_model(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_what_is_built_is_a_hand_model_and_came_out_well(standin: StandIn, tmp_path: Path) -> None:
    write_model(tmp_path / "hand.npz", standin.arrays)
    load_hand_model(tmp_path / "hand.npz")
    figures = standin.figures
    assert figures["shape_variance_explained"] > 0.997
    assert figures["joint_regressor_error_mm_mean"] < 0.1
    assert figures["joint_regressor_error_mm_max"] < 1.0
    assert figures["skinning_residual_mm_after"] < 0.1
