"""What is kept of remote versions: by content, bounded, verified, purged; and what a patch costs over the network."""

import multiprocessing
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.loader.location import version_files
from palm_data.store import cache as caching
from palm_data.store.cache import CachedFiles, CacheFolder, default_cache, digests_of_subjects
from palm_data.store.file_table import file_rows
from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.testing import fault_proxy as proxy
from palm_data.testing import object_server as server
from palm_data.testing.tiny import Tiny, tiny_workspace
from schemas.errors import IntegrityError
from schemas.settings import without_labels

RGB = "shards/0001.zarr/rgb/full/c/0/0/0/0/0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_workspace(tmp_path_factory.mktemp("tiny"), ["0001", "0002"])


@pytest.fixture
def published(tiny: Tiny, url: str, door: proxy.Proxy) -> str:
    """Two versions of the same contents in the store, behind a door that has counted nothing yet."""
    for version in ("0.1.0", "0.2.0"):
        publish_release(version, tiny.workspace, without_labels(tiny.settings.model_copy(update={"releases": url})))
    door.forget()
    return url


def asked(door: proxy.Proxy) -> list[str]:
    """What was asked for since the last time, without the bucket and prefix."""
    found = [path.partition("?")[0].split("/", 3)[-1] for _, path in door.requests]
    door.forget()
    return found


def test_what_was_read_once_is_not_asked_for_again(
    tiny: Tiny, published: str, door: proxy.Proxy, tmp_path: Path
) -> None:
    first = palm_data.open_release(published, "0.1.0", cache=tmp_path)
    assert (first[0].rgb == tiny.arrays["0001"]["rgb"][0]).all()
    assert f"0.1.0/{RGB}" in asked(door)
    again = palm_data.open_release(published, "0.1.0", cache=tmp_path)
    assert (again[0].rgb == tiny.arrays["0001"]["rgb"][0]).all()
    assert asked(door) == ["0.1.0/manifest.json", "status/0.1.0.json"]  # who withdrew since is asked anew


def test_versions_share_what_they_have_in_common(published: str, door: proxy.Proxy, tmp_path: Path) -> None:
    _ = palm_data.open_release(published, "0.1.0", cache=tmp_path)[0].rgb
    door.forget()
    _ = palm_data.open_release(published, "0.2.0", cache=tmp_path)[0].rgb
    assert not any("shards" in path or "captures" in path for path in asked(door))


def test_without_a_cache_nothing_is_kept(published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALM_CACHE__FOLDER", str(tmp_path / "kept"))
    _ = palm_data.open_release(published, cache=False)[0].rgb
    assert not (tmp_path / "kept").exists()
    _ = palm_data.open_release(published)[0].rgb
    assert CacheFolder(tmp_path / "kept", 1).size() > 1000


def test_the_default_folder_is_that_for_what_may_be_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "palm"


def test_what_is_damaged_in_the_cache_is_read_again_and_never_returned(
    tiny: Tiny, published: str, tmp_path: Path
) -> None:
    def look() -> None:
        sample = palm_data.open_release(published, cache=tmp_path)[0]
        assert (sample.rgb == tiny.arrays["0001"]["rgb"][0]).all()
        assert (sample.scan.vertices == tiny.arrays["0001"]["vertices"][0]).all()

    look()
    for damage in (lambda whole: whole[:-9] + b"?" + whole[-8:], lambda whole: whole[: len(whole) // 2], lambda _: b""):
        for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
            path.write_bytes(damage(path.read_bytes()))
        look()


def test_damage_at_the_source_is_raised_and_not_kept(tiny: Tiny, published: str, tmp_path: Path) -> None:
    place, table = place_at(published), "0.2.0/tables/captures.parquet"
    whole, pixels = place.files().read(table), place.files().read(f"0.2.0/{RGB}")
    for path in (table, f"0.2.0/{RGB}"):
        content = place.files().read(path)
        place.delete(path)
        place.put_new(path, content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with pytest.raises(IntegrityError, match=r"captures\.parquet: expected sha256"):
        palm_data.open_release(published, cache=tmp_path)
    place.delete(table)
    place.put_new(table, whole)
    release = palm_data.open_release(published, cache=tmp_path)
    with pytest.raises(IntegrityError, match=RGB):
        _ = release[0].rgb
    place.delete(f"0.2.0/{RGB}")
    place.put_new(f"0.2.0/{RGB}", pixels)
    assert (release[0].rgb == tiny.arrays["0001"]["rgb"][0]).all()  # nothing damaged was kept either


def test_parts_are_those_of_the_file_whatever_blocks_they_lie_in(url: str, tiny: Tiny, tmp_path: Path) -> None:
    caching_files = _files_of_one(tmp_path)
    content = (tmp_path / "0.1.0" / "big").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        starts = random.integers(0, len(content) + 100, 5).tolist()
        ranges = [(start, int(random.integers(0, 3 * caching.BLOCK))) for start in starts]
        assert caching_files.read_ranges("big", ranges) == [content[start : start + length] for start, length in ranges]
    assert pickle.loads(pickle.dumps(caching_files)).read_ranges("big", [(7, 5)]) == [content[7:12]]


def _files_of_one(root: Path) -> CachedFiles:
    """A place with one big file, whose table says so."""
    from palm_data.store.files import LocalFiles

    (root / "0.1.0").mkdir()
    content = np.random.default_rng(1).bytes(5 * caching.BLOCK + 1234)
    (root / "0.1.0" / "big").write_bytes(content)
    files = CachedFiles(LocalFiles(root / "0.1.0"), CacheFolder(root / "kept", 10**9))
    files._rows = {"big": (len(content), "a" * 64)}
    return files


def test_the_cache_keeps_to_its_bound_and_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 50_000)
    folder.put("aa-loved", b"x" * 1000)
    for number in range(120):
        folder.put(f"{number:03d}", b"x" * 1000)
        time.sleep(0.0002)  # times of use are told apart
        assert folder.get("aa-loved") is not None
        assert folder.size() <= 50_000 * (1 + 1 / 32) + 1000
    assert folder.get("119") is not None
    assert folder.get("000") is None
    folder.put("huge", b"x" * 50_000)
    assert folder.get("huge") is None


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = CacheFolder(tmp_path / "file" / "below", 1000)
    folder.put("aa", b"x")
    assert folder.get("aa") is None


def test_a_cache_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    folder = CacheFolder(tmp_path, 1000)
    folder.put("aa", b"x")
    monkeypatch.setattr(caching.os, "utime", refuse)
    assert folder.get("aa") == b"x"


def test_processes_share_a_cache(published: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    import os

    names = ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = {name: os.environ[name] for name in names}
    with context.Pool(2) as pool:
        sums = pool.starmap(_sum, [(published, tmp_path, environment)] * 2)
    assert len(set(sums)) == 1
    assert not list(tmp_path.rglob("*.partial"))


def _sum(url: str, cache: Path, environment: dict[str, str]) -> int:
    import os

    os.environ.update(environment)
    return sum(int(sample.rgb.sum()) for sample in palm_data.open_release(url, cache=cache))


def test_a_withdrawn_person_is_purged(published: str, door: proxy.Proxy, tmp_path: Path) -> None:
    release = palm_data.open_release(published, cache=tmp_path)
    expected = [sample.rgb for sample in release]
    folder = CacheFolder(tmp_path, 10**9)
    before = folder.size()
    gone = folder.purge(digests_of_subjects(file_rows(version_files(published)), ["0001"]))
    assert 0 < gone < before
    assert folder.size() == before - gone
    left = {path.name.partition(".")[0] for path in tmp_path.rglob("*") if path.is_file()}
    rows = file_rows(version_files(published))
    assert left & {row.sha256 for row in rows if row.subject_id == "0002"}
    assert not left & {row.sha256 for row in rows if row.subject_id != "0002"} - {
        row.sha256 for row in rows if row.subject_id == "0002"
    }
    door.forget()
    assert (release[0].rgb == expected[0]).all()
    assert any(RGB in path for path in asked(door))


def test_a_key_reaches_neither_the_cache_nor_a_pickle(published: str, tmp_path: Path) -> None:
    release = palm_data.open_release(published, cache=tmp_path)
    _ = release[0].rgb
    assert server.SECRET.encode() not in pickle.dumps(release)
    assert all(server.SECRET.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
