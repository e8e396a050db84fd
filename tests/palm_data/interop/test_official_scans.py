"""An archive of scans is unpacked as it is, or refused by name."""

import zipfile
from pathlib import Path

import pytest

from palm_data.interop.official_scans import _unpacked
from schemas.errors import BadInputError


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        for name in names:
            stream.writestr(name, name.encode())
    return path


def test_its_files_lie_in_their_folders_for_the_while(tmp_path: Path) -> None:
    with _unpacked(archive(tmp_path / "0003.zip", "a/000001.obj", "b.ply"), tmp_path) as folder:
        assert (folder / "a" / "000001.obj").read_bytes() == b"a/000001.obj"
        assert (folder / "b.ply").read_bytes() == b"b.ply"
    assert not folder.exists()


@pytest.mark.parametrize("names", [("a", "a/b.obj"), ("a/b.obj", "a")])
def test_a_file_where_another_has_its_folder_is_told(names: tuple[str, ...], tmp_path: Path) -> None:
    place = archive(tmp_path / "0003.zip", *names)
    with (
        pytest.raises(BadInputError, match=r"0003\.zip: a.*: expected files that may lie in one folder"),
        _unpacked(place, tmp_path),
    ):
        pass


def test_a_name_that_no_disk_holds_is_told(tmp_path: Path) -> None:
    place = archive(tmp_path / "0003.zip", f"{'long' * 80}.obj")
    with (
        pytest.raises(BadInputError, match="expected a name that a disk can hold, found 324 characters"),
        _unpacked(place, tmp_path),
    ):
        pass
