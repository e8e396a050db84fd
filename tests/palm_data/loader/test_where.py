import contextlib
import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm_data.loader.where import parse_where
from schemas.errors import StoreError

ROWS = [
    {"ok": True, "fit_mm": 2.5, "gesture": "fist", "frame": 1},
    {"ok": False, "fit_mm": 7.0, "gesture": "pinch", "frame": 2},
    {"ok": True, "fit_mm": None, "gesture": "flat", "frame": 3},
    {"ok": False, "fit_mm": -1.0, "gesture": "fist", "frame": 4},
]
TABLE = pa.Table.from_pylist(ROWS)


def chosen(text: str) -> list[int]:
    return TABLE.filter(parse_where(text, TABLE.column_names))["frame"].to_pylist()


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("ok", [1, 3]),
        ("ok and fit_mm < 6", [1]),
        ("not ok", [2, 4]),
        ("fit_mm < 6 or gesture == 'flat'", [1, 3, 4]),
        ("-2 <= fit_mm < 2.6", [1, 4]),
        ("gesture in ('fist', 'flat') and not frame == 4", [1, 3]),
        ("gesture not in ['fist']", [2, 3]),
        ("fit_mm is None", [3]),
        ("fit_mm is not None and frame != 1", [2, 4]),
        ("not fit_mm < 6", [2]),
        ("6 > fit_mm", [1, 4]),
        ("True", [1, 2, 3, 4]),
        ("  ok\n", [1, 3]),
    ],
)
def test_a_condition_keeps_the_captures_it_is_true_of(text: str, frames: list[int]) -> None:
    assert chosen(text) == frames


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fit < 6", "Did you mean fit_mm"),
        ("fit_mm <", "invalid syntax"),
        ("", "condition such as"),
        ("__import__('os').system('true')", "expected a condition, found"),
        ("fit_mm + 1 < 6", "found 'fit_mm \\+ 1'"),
        ("ok is True", "expected None after `is`, found 'True'"),
        ("gesture in 'fist'", "values in brackets"),
        ("gesture == b'fist'", "a text in quotes"),
        ("5", "expected a condition, found '5'"),
        ("(" * 3000 + "ok" + ")" * 3000, "at most 4096"),
        ("(" * 1500 + "ok" + ")" * 1500, "where: expected a condition"),
        ("ok\x00", "where: expected a condition"),
    ],
)
def test_what_is_no_condition_is_refused_and_shown(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        parse_where(text, TABLE.column_names)


@given(st.text(max_size=60) | st.text(alphabet="okfitmm_<>=!()andrfist'0123456789.[], ", max_size=60))
def test_no_text_does_anything_else(text: str) -> None:
    with contextlib.suppress(StoreError):
        parse_where(text, TABLE.column_names)


LIMITS = st.floats(-10, 10, allow_nan=False)


@given(low=LIMITS, high=LIMITS, frames=st.lists(st.integers(0, 5), max_size=4))
def test_conditions_mean_what_they_mean_in_python(low: float, high: float, frames: list[int]) -> None:
    text = f"({low!r} < fit_mm <= {high!r} or frame in {frames!r}) and not (gesture == 'pinch' and frame > 1)"
    expected = []
    for row in ROWS:
        fit = math.nan if row["fit_mm"] is None else row["fit_mm"]
        if (low < fit <= high or row["frame"] in frames) and not (row["gesture"] == "pinch" and row["frame"] > 1):
            expected.append(row["frame"])
    assert chosen(text) == expected
