"""Damage in an archive is the archive's; a disk that fails is not."""

import errno
import os
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

from palm_data.interop.zip_files import ZipFiles
from schemas.errors import BadInputError, StoreError

CONTENT = bytes(range(256)) * 50


def archive(path: Path, method: int) -> ZipFiles:
    with zipfile.ZipFile(path, "w", method) as stream:
        stream.writestr("a.bin", CONTENT)
    return ZipFiles(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_may_ask_for_any_amount_of_memory_is_refused(method: int, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"a\.bin: expected a file stored or deflated, found (bzip2|lzma)"):
        archive(tmp_path / "a.zip", method)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_an_error_of_ours_however_a_file_was_compressed(method: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    files = archive(path, method)
    assert files.read("a.bin") == CONTENT
    whole = path.read_bytes()
    for at in range(35, 75, 2):  # the first bytes of the member
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(BadInputError):
            files.read("a.bin")


def test_a_failing_disk_is_not_held_against_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = archive(tmp_path / "a.zip", zipfile.ZIP_STORED)

    def fails(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        files.read("a.bin")


def test_no_archive_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="readable zip file"):
        ZipFiles(tmp_path / "none.zip")
