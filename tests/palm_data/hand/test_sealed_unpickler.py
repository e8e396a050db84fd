"""What a pickle may not do to its reader, beyond running code: stay in it, or hang it."""

import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from palm_data.hand.pickle_reader import read_pickled_arrays
from palm_data.testing.pickles import hostile_pickles
from schemas.errors import BadInputError


def named(folder: Path, part: str) -> list[bytes]:
    found = [content for name, content in hostile_pickles(folder / "marker") if part in name]
    assert found
    return found


def read(folder: Path, content: bytes) -> dict[str, np.ndarray | str]:
    path = folder / "model.pkl"
    path.write_bytes(content)
    return read_pickled_arrays(path)


@pytest.mark.parametrize(
    "part", ["hashes for years", "prints for years", "a memo of", "of itself", "its own value", "text for bytes"]
)
@pytest.mark.timeout(60)  # each of them used to take years, or to raise something else
def test_a_bomb_is_refused_at_once_or_means_nothing(tmp_path: Path, part: str) -> None:
    for content in named(tmp_path, part):
        with suppress(BadInputError):
            assert read(tmp_path, content) == {}


@pytest.mark.parametrize("part", ["BUILD attributes", "BUILD slots", "BUILD defaults"])
def test_no_state_is_set_on_what_stays_after_the_reading(tmp_path: Path, part: str) -> None:
    for content in named(tmp_path, part):
        with pytest.raises(BadInputError, match=r"UnpicklingError: a state of"):
            read(tmp_path, content)


def test_sets_and_plain_keys_are_read_as_before(tmp_path: Path) -> None:
    content = {"a": np.arange(3.0), "tags": {"x", "y"}, "inner": {1: 2, None: "z", b"k": 1.5}, "text": "right"}
    for protocol in range(5):
        found = read(tmp_path, pickle.dumps(content, protocol=protocol))
        assert sorted(found) == ["a", "text"]
        np.testing.assert_array_equal(found["a"], [0.0, 1.0, 2.0])
