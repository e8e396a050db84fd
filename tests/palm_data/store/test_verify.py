import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from palm_data.store.fetched import FETCHED_FILE, Fetched, Selection, fetched_bytes
from palm_data.store.files import LocalFiles
from palm_data.store.manifest import read_manifest
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import tiny_workspace
from schemas.errors import StoreError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published version; tests leave it as they found it."""
    tiny = tiny_workspace(tmp_path_factory.mktemp("released"), ["0001"])
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    return tiny.settings.releases / "0.1.0"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def named(folder: Path, *, deep: bool = True) -> set[str]:
    return {problem.path for problem in verify_release(folder, deep=deep).problems}


def test_a_flipped_bit_in_any_file_is_found_and_the_file_named(folder: Path) -> None:
    for path in files(folder):
        whole = path.read_bytes()
        path.chmod(0o644)
        for at in {0, len(whole) // 2, len(whole) - 1}:
            damaged = bytearray(whole)
            damaged[at] ^= 1 << at % 8
            path.write_bytes(damaged)
            assert named(folder) == {path.relative_to(folder).as_posix()}, (path, at)
        path.write_bytes(whole)
    assert verify_release(folder).passed


@pytest.mark.parametrize("deep", [True, False])
def test_any_file_cut_short_is_named(folder: Path, deep: bool) -> None:
    for path in files(folder):
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(whole[:-1])
        assert path.relative_to(folder).as_posix() in named(folder, deep=deep)
        path.write_bytes(whole)
    assert verify_release(folder).passed


@pytest.mark.parametrize("deep", [True, False])
def test_any_missing_file_is_named(folder: Path, tmp_path: Path, deep: bool) -> None:
    for path in files(folder):
        if path.name == "manifest.json":
            continue
        path.rename(tmp_path / "away")
        assert path.relative_to(folder).as_posix() in named(folder, deep=deep)
        (tmp_path / "away").rename(path)
    assert verify_release(folder).passed


def test_without_its_manifest_there_is_no_version(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").rename(tmp_path / "away")
    with pytest.raises(StoreError, match=r"manifest\.json: expected the manifest of a version, found none"):
        verify_release(folder)
    (tmp_path / "away").rename(folder / "manifest.json")


@pytest.mark.parametrize(
    "add",
    [
        lambda path: path.write_bytes(b"extra"),
        lambda path: path.symlink_to("manifest.json"),
        lambda path: path.symlink_to("tables"),
    ],
)
def test_whatever_is_there_beyond_what_was_published_is_named(folder: Path, add: Callable[[Path], None]) -> None:
    extra = folder / "shards" / "extra.bin"
    add(extra)
    assert named(folder) == {"shards/extra.bin"}
    extra.unlink()


def test_a_link_in_place_of_a_file_is_named(folder: Path, tmp_path: Path) -> None:
    path = folder / "README.md"
    path.rename(tmp_path / "README.md")
    path.symlink_to(tmp_path / "README.md")
    (problem,) = verify_release(folder).problems
    assert (problem.path, problem.found) == ("README.md", "a symbolic link")
    path.unlink()
    (tmp_path / "README.md").rename(path)


def test_a_version_under_another_name_is_told(folder: Path) -> None:
    other = folder.rename(folder.with_name("0.2.0"))
    (problem,) = verify_release(other).problems
    assert str(problem) == "manifest.json: expected version 0.2.0, as the folder, found 0.1.0."
    other.rename(folder)


def test_a_shallow_look_reads_no_content(folder: Path) -> None:
    path = folder / "LICENSE"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes(len(whole)))
    assert named(folder, deep=False) == set()
    assert named(folder, deep=True) == {"LICENSE"}
    path.write_bytes(whole)


def test_the_report_counts_what_was_looked_at(folder: Path) -> None:
    report = verify_release(folder)
    paths = files(folder)
    assert report.files == len(paths)
    assert report.bytes == sum(path.stat().st_size for path in paths)
    assert report.version == "0.1.0"


class Unlisted(LocalFiles):
    """Files behind a web server, which does not say which it has."""

    def sizes(self) -> dict[str, int | None]:
        raise io.UnsupportedOperation("no list")


def test_a_partial_copy_is_verified_where_files_cannot_be_listed(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "0.1.0"))
    manifest = read_manifest(copy)
    chosen = (Selection(modalities=("rgb",)),)
    fetched = Fetched(version="0.1.0", merkle_root=manifest.merkle_root, source="elsewhere", selections=chosen)
    (copy / FETCHED_FILE).write_bytes(fetched_bytes(fetched))
    shutil.rmtree(copy / "shards/0001.zarr/depth")
    report = verify_release(Unlisted(copy))
    assert report.passed
    assert report.not_fetched > 1
    (copy / "shards/0001.zarr/rgb/full/zarr.json").unlink()
    assert [one.path for one in verify_release(Unlisted(copy)).problems] == ["shards/0001.zarr/rgb/full/zarr.json"]
