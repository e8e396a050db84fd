import pickle
from pathlib import Path

import pytest

from palm_data.store.files import LocalFiles


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "tables")
    return LocalFiles(tmp_path)


def test_a_file_is_read_whole_or_in_parts(files: LocalFiles) -> None:
    assert files.read("tables/a") == b"0123456789"
    assert files.read_ranges("tables/a", [(2, 3), (0, 1), (8, 5)]) == [b"234", b"0", b"89"]


def test_what_is_not_a_file_has_no_size(files: LocalFiles) -> None:
    assert files.size("tables/a") == 10
    assert files.size("tables") is files.size("link") is files.size("missing") is None
    with pytest.raises(FileNotFoundError):
        files.read("missing")
    with pytest.raises(FileNotFoundError):
        files.read_ranges("missing", [(0, 1)])


def test_links_are_named_and_not_followed(files: LocalFiles) -> None:
    assert sorted(files.paths()) == ["link", "tables/a"]


def test_files_travel_to_other_processes(files: LocalFiles) -> None:
    assert pickle.loads(pickle.dumps(files)).read("tables/a") == b"0123456789"
