import tracemalloc
from pathlib import Path

import pytest

from palm_data.capture.raw_files import read_bounded
from schemas.errors import BadInputError


def test_a_small_file_costs_its_own_size_however_large_it_might_have_been(tmp_path: Path) -> None:
    path = tmp_path / "small.obj"
    path.write_bytes(b"v 0 0 0\n")
    tracemalloc.start()
    try:
        assert read_bounded(path, max_bytes=1 << 30) == b"v 0 0 0\n"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_of_the_most_bytes_passes_and_one_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert len(read_bounded(path, max_bytes=100)) == 100
    with pytest.raises(BadInputError, match="size: expected at most 99 bytes, found 100 bytes"):
        read_bounded(path, max_bytes=99)
