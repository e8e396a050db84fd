import errno
import os
from pathlib import Path

import pytest

from palm_data.store.atomic import file_sha256
from palm_data.store.objects import check_file, describe_difference, place
from schemas.errors import IntegrityError


def test_a_file_is_shared_by_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert place(tmp_path / "a", tmp_path / "deep" / "b") == "link"
    assert (tmp_path / "a").samefile(tmp_path / "deep" / "b")


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_a_link_is_not_possible_the_content_is_cloned_or_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    (tmp_path / "a").write_bytes(b"content" * 1000)

    def no_link(*_: object, **__: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", no_link)
    assert place(tmp_path / "a", tmp_path / "b") in ("clone", "copy")
    assert (tmp_path / "b").read_bytes() == b"content" * 1000
    assert not (tmp_path / "a").samefile(tmp_path / "b")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        place(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"old"


def test_a_difference_says_what_was_expected_and_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    digest = file_sha256(path)
    assert describe_difference(path, size=7, sha256=digest) is None
    assert describe_difference(path, size=7, sha256=None) is None
    assert describe_difference(path, size=8, sha256=digest) == ("8 bytes", "7 bytes")
    assert describe_difference(path, size=7, sha256="0" * 64) == (f"sha256 {'0' * 64}", digest)
    assert describe_difference(tmp_path, size=7, sha256=digest) == ("a file of 7 bytes", "a folder")
    assert describe_difference(tmp_path / "none", size=7, sha256=digest) == ("a file of 7 bytes", "nothing")
    (tmp_path / "link").symlink_to(path)
    assert describe_difference(tmp_path / "link", size=7, sha256=digest) == ("a file of 7 bytes", "a symbolic link")


def test_a_file_that_is_another_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with pytest.raises(IntegrityError, match=r"/a: expected sha256 0+, found [0-9a-f]+\. Fetch it again"):
        check_file(tmp_path / "a", size=7, sha256="0" * 64, hint="Fetch it again.")
