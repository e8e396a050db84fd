"""Publishing in a store: races, deaths, lost answers, leftovers; and opening what was published."""

import json
import threading
from pathlib import Path

import pytest

import palm_data
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.fault_proxy import Proxy, some
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace
from schemas.errors import ConflictError, IntegrityError, StoreError
from schemas.release import Manifest
from schemas.settings import Settings, without_labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A subject; captures only, which are few files."""
    return tiny_workspace(tmp_path_factory.mktemp("tiny"), ["0001"])


@pytest.fixture
def other(tmp_path: Path) -> Tiny:
    """The same subject with other contents."""
    return tiny_workspace(tmp_path / "other", ["0001"], seed=5)


def publish(tiny: Tiny, url: str, version: str = "0.1.0", *, take_over: bool = False) -> Manifest:
    return publish_release(version, tiny.workspace, to(tiny, url), take_over=take_over)


def to(tiny: Tiny, url: str) -> Settings:
    return without_labels(tiny.settings.model_copy(update={"releases": url}))


def left(url: str) -> set[str]:
    """What is there beside the versions."""
    return {path for path in place_at(url).files().paths() if not path[0].isdigit()}


def test_a_version_in_a_store_is_the_one_in_a_folder(tiny: Tiny, url: str) -> None:
    local = publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings))
    manifest = publish(tiny, url)
    assert manifest.merkle_root == local.merkle_root
    for deep in (True, False):
        report = verify_release(place_at(url).files("0.1.0"), deep=deep)
        assert report.passed, report.problems
        assert report.merkle_root == local.merkle_root
    assert versions(place_at(url)) == ["0.1.0"]
    assert left(url) == set()
    assert publish(tiny, url) == manifest


def test_a_release_opens_by_the_place_the_version_or_its_own_address(tiny: Tiny, url: str) -> None:
    publish(tiny, url)
    publish(tiny, url, "0.2.0")
    for location, version in ((url, None), (f"{url}/", "0.2.0"), (f"{url}/0.2.0", None), (f"{url}/0.2.0/", "0.2.0")):
        release = palm_data.open_release(location, version)
        assert (release.version, release.subject_ids, len(release)) == ("0.2.0", ("0001",), 2)
    assert palm_data.open_release(url, "0.1.0").version == "0.1.0"
    for location, version, words in (
        (url, "0.3.0", r"0\.3\.0/manifest\.json: expected the manifest.*Published there: 0\.1\.0, 0\.2\.0"),
        (f"{url}/nowhere", None, "expected a published version, found none"),
        (f"{url}/0.2.0", "0.1.0", r"expected version 0\.1\.0, found the address of version 0\.2\.0"),
        (url, "latest", "expected MAJOR.MINOR.PATCH"),
    ):
        with pytest.raises(StoreError, match=words):
            palm_data.open_release(location, version)


def test_files_of_the_parent_are_copied_by_the_store_and_not_sent_again(tiny: Tiny, door: Proxy, url: str) -> None:
    publish(tiny, url)
    door.forget()
    publish(tiny, url, "0.2.0")
    sent = [path for method, path in door.requests if method == "PUT" and path.endswith("shards/0001.zarr/zarr.json")]
    assert len(sent) == 1
    assert verify_release(place_at(url).files("0.2.0")).passed


def test_a_damaged_file_of_the_parent_is_not_passed_on(tiny: Tiny, url: str) -> None:
    publish(tiny, url)
    place, path = place_at(url), "0.1.0/shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    whole = place.files().read(path)
    place.delete(path)
    place.put_new(path, whole[:-1] + bytes([whole[-1] ^ 1]))
    publish(tiny, url, "0.2.0")
    assert verify_release(place.files("0.2.0")).passed
    (problem,) = verify_release(place.files("0.1.0")).problems
    assert f"0.1.0/{problem.path}" == path


def test_a_damaged_workspace_is_told_and_nothing_is_published(url: str, tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, ["0001"])
    path = next(path for path in (tmp_path / "workspace").rglob("rgb/full/c/0/0/0/0/0"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(IntegrityError, match=r"expected sha256.*The workspace is damaged"):
        publish(tiny, url)
    assert versions(place_at(url)) == []


def test_a_version_with_other_contents_is_never_replaced(tiny: Tiny, other: Tiny, url: str) -> None:
    manifest = publish(tiny, url)
    for take_over in (False, True):
        with pytest.raises(ConflictError, match=manifest.merkle_root):
            publish(other, url, take_over=take_over)
    assert read_manifest(place_at(url).files("0.1.0")) == manifest
    assert verify_release(place_at(url).files("0.1.0")).passed
    assert left(url) == set()


def test_of_publishers_with_different_contents_one_wins_and_the_others_are_told(tmp_path: Path, url: str) -> None:
    candidates = [tiny_workspace(tmp_path / str(seed), ["0001"], seed=seed) for seed in (1, 2, 3)]
    won, lost = race(candidates, url)
    assert (len(won), len(lost)) == (1, 2)
    report = verify_release(place_at(url).files("0.1.0"))
    assert report.passed, report.problems
    assert report.merkle_root == won[0].merkle_root
    assert left(url) == set()


def test_publishers_of_the_same_contents_all_succeed(tiny: Tiny, url: str) -> None:
    won, lost = race([tiny, tiny, tiny], url)
    assert len({manifest.manifest_sha256 for manifest in won}) == 1
    assert (len(won), lost) == (3, [])
    assert verify_release(place_at(url).files("0.1.0")).passed
    assert left(url) == set()


def race(candidates: list[Tiny], url: str) -> tuple[list[Manifest], list[str]]:
    won: list[Manifest] = []
    lost: list[str] = []
    start = threading.Barrier(len(candidates))

    def run(tiny: Tiny) -> None:
        start.wait()
        try:
            won.append(publish(tiny, url))
        except ConflictError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=run, args=(tiny,)) for tiny in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost


class Killed(BaseException):
    """Where a publisher dies."""


@pytest.mark.parametrize("writes", [0, 1, 9, -2, -1])
def test_a_publisher_stopped_after_any_write_leaves_no_version_and_the_next_one_finishes(
    tiny: Tiny, other: Tiny, url: str, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """A negative number counts from the last write, which is the manifest."""
    from palm_data.store.remote_places import RemotePlace

    whole = RemotePlace.put_new
    if writes < 0:
        publish_release("0.1.0", tiny.workspace, without_labels(tiny.settings))
        writes += len(list(place_at(tiny.settings.releases).files("0.1.0").paths())) + 1  # and the claim
    done, lock = [0], threading.Lock()

    def dying(self: RemotePlace, path: str, source: bytes | Path) -> None:
        with lock:
            done[0] += 1
            if done[0] > writes:
                raise Killed
        whole(self, path, source)

    monkeypatch.setattr(RemotePlace, "put_new", dying)
    with pytest.raises(Killed):
        publish(tiny, url)
    monkeypatch.setattr(RemotePlace, "put_new", whole)
    assert versions(place_at(url)) == []
    if writes:
        with pytest.raises(ConflictError, match=r"found a claim for [0-9a-f]{64}.*palm release 0\.1\.0 --take-over"):
            publish(other, url)
    publish(tiny, url)
    assert verify_release(place_at(url).files("0.1.0")).passed
    assert left(url) == set()


def test_what_a_dead_publisher_of_other_contents_left_is_cleared_away_on_request(
    tiny: Tiny, other: Tiny, url: str
) -> None:
    place = place_at(url)
    claim = {"version": "0.1.0", "merkle_root": "1" * 64}
    place.put_new(".claims/0.1.0.json", json.dumps(claim).encode())
    place.put_new("0.1.0/LICENSE", b"another one")
    place.put_new("0.1.0/files.parquet", b"another one")
    place.put_new("0.1.0/shards/9999.zarr/zarr.json", b"somebody else's")
    with pytest.raises(ConflictError, match=r"1{64}"):
        publish(tiny, url)
    assert place.files().read("0.1.0/LICENSE") == b"another one"
    publish(tiny, url, take_over=True)
    assert verify_release(place.files("0.1.0")).passed
    assert left(url) == set()


def test_whose_claim_was_taken_over_publishes_nothing(tiny: Tiny, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from palm_data.store import remote_release

    upload = remote_release._upload

    def slow(place, plan, entries, claim, progress) -> None:  # type: ignore[no-untyped-def]
        upload(place, plan, entries, claim, progress)
        found = place.get(".claims/0.1.0.json")
        place.put_replacing(".claims/0.1.0.json", b'{"merkle_root": "2"}', found.tag)

    monkeypatch.setattr(remote_release, "_upload", slow)
    with pytest.raises(ConflictError, match=r"found it taken over. Nothing was published"):
        publish(tiny, url)
    assert versions(place_at(url)) == []


def test_a_store_that_refuses_loses_and_delays_gives_the_same_version(tiny: Tiny, door: Proxy, url: str) -> None:
    door.refuse, door.lose, door.cut, door.delay_s = some(0.1, 1), some(0.05, 2), some(0.05, 3), 0.002
    manifest = publish(tiny, url)
    door.refuse = door.lose = door.cut = some(0)
    assert door.struck > 10
    report = verify_release(place_at(url).files("0.1.0"))
    assert report.passed, report.problems
    assert report.merkle_root == manifest.merkle_root
    assert left(url) == set()


def test_the_parent_and_its_splits_come_from_the_store(url: str, tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, ["0001"])
    first = publish(tiny, url)
    add_subject(tiny.workspace, tiny.settings, "0002")
    (tmp_path / "raw" / "subjects.csv").unlink()
    (tmp_path / "raw").rmdir()
    second = publish(tiny, url, "0.2.0")
    assert second.parent == "0.1.0"
    assert second.counts["subjects"] == 2
    assert first.splits["train"] == ("0001",)
    assert "0001" in second.splits["train"]


@pytest.mark.parametrize("damage", ["edit", "cut", "delete", "add"])
def test_damage_in_a_store_is_named(tiny: Tiny, url: str, damage: str) -> None:
    publish(tiny, url)
    place, path = place_at(url), "shards/0001.zarr/depth/full/c/1/0/0/0"
    whole = place.files("0.1.0").read(path)
    if damage != "add":
        place.delete(f"0.1.0/{path}")
    if damage in ("edit", "cut"):
        place.put_new(f"0.1.0/{path}", whole[:-1] + (b"x" if damage == "edit" else b""))
    elif damage == "add":
        path = "extra"
        place.put_new(f"0.1.0/{path}", b"x")
    files = place.files("0.1.0")
    assert [problem.path for problem in verify_release(files).problems] == [path]
    assert verify_release(files, deep=False).passed == (damage == "edit")


def test_whose_claim_was_taken_over_in_the_middle_stops_writing(
    tiny: Tiny, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palm_data.store import remote_release

    monkeypatch.setattr(remote_release, "_LOOK_S", 0)
    monkeypatch.setattr(remote_release, "_UPLOADS", 1)
    upload_entry, written = remote_release._upload_entry, []

    def slow(place, files, entry, **others) -> None:  # type: ignore[no-untyped-def]
        upload_entry(place, files, entry, **others)
        written.append(entry.row.path)
        if len(written) == 5:
            found = place.get(".claims/0.1.0.json")
            place.put_replacing(".claims/0.1.0.json", b'{"merkle_root": "2"}', found.tag)

    monkeypatch.setattr(remote_release, "_upload_entry", slow)
    with pytest.raises(ConflictError, match=r"found it taken over"):
        publish(tiny, url)
    assert len(written) == 5
    assert left(url) == {".claims/0.1.0.json"}
