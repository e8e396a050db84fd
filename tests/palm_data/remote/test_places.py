"""What a folder and a store have in common, held to one contract."""

import pickle
import threading
from pathlib import Path

import pytest

from palm_data.store.places import Place, place_at
from palm_data.store.remote_files import RemoteFiles
from palm_data.testing.fault_proxy import Proxy, some
from palm_data.testing.object_server import READER_SECRET, SECRET, Server, fresh_url
from schemas.errors import ConflictError, StoreError


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_at(tmp_path if request.param == "folder" else request.getfixturevalue("url"))


def test_what_is_put_is_read_listed_and_deleted(place: Place, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    place.put_new("1.0.0/a/b", tmp_path / "source")
    place.put_new("1.0.0/c", b"")
    files = place.files("1.0.0")
    assert files.read("a/b") == b"0123456789"
    assert files.read_ranges("a/b", [(2, 3), (0, 1), (8, 5), (20, 2), (4, 0)]) == [b"234", b"0", b"89", b"", b""]
    assert files.size("a/b") == 10
    assert files.size("a") is files.size("none") is None
    assert files.sizes() == {"a/b": 10, "c": 0}
    assert sorted(files.paths()) == ["a/b", "c"]
    assert "1.0.0" in place.folders()
    assert pickle.loads(pickle.dumps(files)).read("a/b") == b"0123456789"
    place.delete("1.0.0/a/b")
    place.delete("1.0.0/a/b")
    assert files.sizes() == {"c": 0}
    for call in (lambda: files.read("a/b"), lambda: files.read_ranges("a/b", [(0, 1)])):
        with pytest.raises(FileNotFoundError):
            call()


def test_a_file_is_created_once_and_the_same_content_again_is_fine(place: Place) -> None:
    place.put_new("claim", b"one")
    place.put_new("claim", b"one")
    with pytest.raises(ConflictError, match="claim: expected nothing here"):
        place.put_new("claim", b"two")
    assert place.files().read("claim") == b"one"


def test_a_file_is_replaced_only_by_who_read_it_last(place: Place) -> None:
    assert place.get("status") is None
    place.put_replacing("status", b"first", None)
    with pytest.raises(ConflictError):
        place.put_replacing("status", b"other", None)
    read = place.get("status")
    assert read is not None
    place.put_replacing("status", b"second", read.tag)
    with pytest.raises(ConflictError):
        place.put_replacing("status", b"third", read.tag)
    with pytest.raises(ConflictError):
        place.put_replacing("nothing", b"third", read.tag)
    assert place.files().read("status") == b"second"


def test_a_copy_has_the_content(place: Place) -> None:
    place.put_new("old/a", b"content")
    place.copy("old/a", "new/b")
    assert place.files("new").read("b") == b"content"
    with pytest.raises(FileNotFoundError):
        place.copy("old/none", "new/c")


def test_of_many_creators_one_wins(place: Place) -> None:
    won, lost = [], []
    start = threading.Barrier(6)

    def create(number: int) -> None:
        start.wait()
        try:
            place.put_new("raced", b"%d" % number)
        except ConflictError:
            lost.append(number)
        else:
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 5)
    assert place.files().read("raced") == b"%d" % won[0]


def test_a_put_whose_answer_is_lost_is_found_to_have_succeeded(door: Proxy, url: str) -> None:
    place = place_at(url)
    door.lose = some(1, most=1)
    place.put_new("a", b"content")
    assert door.struck == 1
    door.lose = some(1, most=1)
    tag = place.get("a").tag  # type: ignore[union-attr]
    place.put_replacing("a", b"changed", tag)
    assert place.files().read("a") == b"changed"
    assert sum(method == "PUT" for method, _ in door.requests) >= 3


def test_a_store_that_fails_some_calls_gives_the_same_answers(door: Proxy, url: str) -> None:
    place, content = place_at(url), bytes(range(256)) * 400
    door.refuse, door.lose, door.cut = some(0.15, 1), some(0.1, 2), some(0.1, 3)
    for number in range(12):
        place.put_new(f"v/{number}", content)
        assert place.files("v").read_ranges(f"{number}", [(1000, 300), (90_000, 5)])[1] == content[90_000:90_005]
    assert place.files("v").sizes() == {str(number): len(content) for number in range(12)}
    assert door.struck >= 5


def test_ranges_near_each_other_are_one_request(door: Proxy, url: str) -> None:
    place = place_at(url)
    place.put_new("a", bytes(1 << 20))
    files = place.files()
    door.forget()
    files.read_ranges("a", [(0, 100), (200, 100), (1000, 50), (900_000, 10)])
    assert len(door.requests) == 2
    assert door.body_bytes < 2000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refusal.*403 SignatureDoesNotMatch.*AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": ""}, "refusal.*none, so the request was not signed"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, r"nobody who answers there.*127\.0\.0\.1:1"),
    ],
)
def test_who_may_not_read_is_told_why_without_a_secret(
    url: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], words: str
) -> None:
    place_at(url).put_new("a", b"content")
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match=words) as caught:
        RemoteFiles(url).read("a")
    for secret in (SECRET, "wrong-secret", "Signature=", "Credential="):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_bucket_that_is_not_there_is_told(url: str) -> None:
    for call in (lambda files: files.read("a"), lambda files: files.sizes()):
        with pytest.raises(StoreError, match="expected a bucket of this name, found none"):
            call(RemoteFiles("s3://nobody-has-this/x"))


def test_who_may_only_read_is_refused_to_write(store: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place_at(url).put_new("a", b"content")
    for name, value in store.environment(reader=True).items():
        monkeypatch.setenv(name, value)
    assert RemoteFiles(url).read("a") == b"content"
    with pytest.raises(StoreError, match=r"expected permission to write it.*403") as caught:
        place_at(url).put_new("b", b"content")
    assert READER_SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user:hunter2@host/palm", "without a user, password"),
        ("https://host/palm?X-Amz-Signature=hunter2", "without a user, password"),
        ("ftp://host/palm", "found ftp://"),
        ("s3:///palm", "name of a bucket"),
    ],
)
def test_a_url_that_will_not_do_is_refused_without_repeating_what_it_carries(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        place_at(url)
    assert "hunter2" not in str(caught.value)


def test_a_connection_is_not_pickled() -> None:
    files = RemoteFiles(fresh_url())
    _ = files.store
    assert b"secret" not in pickle.dumps(files).lower()
