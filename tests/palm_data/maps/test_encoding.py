import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_data.maps.encoding import decode_depth, decode_normals, encode_depth, encode_normals
from schemas.errors import GeometryError


@given(st.lists(st.floats(0.011, 3.27), min_size=1, max_size=20), st.sampled_from([0.05, 0.1]))
def test_depth_reads_back_within_half_a_unit(metres: list[float], unit_mm: float) -> None:
    depth = np.array([0.0, *metres], dtype=np.float32)
    back = decode_depth(encode_depth(depth, unit_mm), unit_mm)
    assert back[0] == 0
    assert np.abs(back - depth).max() <= 0.5001 * unit_mm / 1000 + 1e-6
    np.testing.assert_array_equal(encode_depth(back, unit_mm), encode_depth(depth, unit_mm))


@pytest.mark.parametrize("metres", [3.2769, 1e-6, -0.1, np.nan, np.inf])
def test_depth_out_of_range_is_refused(metres: float) -> None:
    with pytest.raises(GeometryError, match="depth"):
        encode_depth(np.array([0.5, metres], dtype=np.float32), 0.05)


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=20))
def test_normals_read_back_within_half_a_unit(rows: list[tuple[float, float, float]]) -> None:
    vectors = np.array(rows)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    normals = np.where(length > 1e-3, vectors / np.maximum(length, 1e-3), 0.0)
    assert np.abs(decode_normals(encode_normals(normals)) - normals).max() <= 0.5001 / 32767


@pytest.mark.parametrize("value", [1.01, np.nan])
def test_what_is_no_unit_vector_is_refused(value: float) -> None:
    with pytest.raises(GeometryError, match="normals"):
        encode_normals(np.array([[0.0, 0.0, value]]))
