"""What lies beside versions, in a store: withdrawing, marks, lists, erasing, and what is left over."""

import json
from pathlib import Path

import pytest

import palm_data
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store.changes import changes
from palm_data.store.leftovers import store_leftovers
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.store.side import published_side
from palm_data.store.verify import verify_release
from palm_data.store.withdraw import erase, withdraw
from palm_data.store.withdrawals import read_ledger, read_status
from palm_data.testing.tiny import tiny_workspace
from schemas.errors import ConsentError, StoreError
from schemas.settings import CacheSettings, without_labels

GONE = "7391"


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_somebody_withdraws_from_a_store(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    made, cache = tiny_workspace(tmp_path_factory.mktemp("tiny"), ["0001", GONE]), tmp_path_factory.mktemp("cache")
    changed = {"releases": url, "cache": CacheSettings(folder=cache)}
    settings, place = without_labels(made.settings.model_copy(update=changed)), place_at(url)
    publish_release("1.0.0", made.workspace, settings)
    old = palm_data.open_release(url, "1.0.0", cache=cache)
    theirs = old.subject(GONE)[0].rgb.tobytes()
    kept = old.subject("0001")[0].rgb.tobytes()
    held = files_of(cache)
    done = withdraw(GONE, made.workspace, settings)
    assert (done.published, done.marked) == ("2.0.0", ("1.0.0",))
    files = place.files("2.0.0")
    report = verify_release(files, deep=True)
    assert report.passed, report.problems
    assert (read_manifest(files).withdrawn, [path for path in files.paths() if GONE in path]) == ((GONE,), [])
    found = changes(published_side(place.files("1.0.0")), published_side(files))
    assert (found.level, found.subjects_removed, found.subjects_changed) == ("major", (GONE,), ())
    assert palm_data.open_release(url).subject_ids == ("0001",)
    with pytest.warns(WithdrawnWarning, match=r"7391 withdrew.*Version 2\.0\.0 is without them"):
        assert palm_data.open_release(url, "1.0.0").subject_ids == ("0001",)
    with pytest.raises(ConsentError, match=GONE):
        palm_data.open_release(f"{url}/1.0.0", subjects=[GONE])
    stored = place.get(f"status/erasure-{GONE}.json")
    assert stored is not None
    assert json.loads(stored.content)["versions"][0]["version"] == "1.0.0"

    erased = erase(done, made.workspace, settings)
    assert erased.erased_versions == ("1.0.0",)
    assert next(item for item in erased.local.items if item.kind == "cache").erased
    gone = held - files_of(cache)
    about = {file.sha256 for file in done.released.versions[0].files}
    assert gone
    assert all(name.partition(".")[0] in about for name in gone)
    assert not any(name.partition(".")[0] in about for name in files_of(cache))
    assert palm_data.open_release(url, cache=cache)[0].rgb.tobytes() == kept != theirs
    assert versions(place) == ["2.0.0"]
    assert [path for path in place.files().paths() if path.startswith("1.0.0/")] == []
    assert verify_release(files, deep=True).passed
    assert read_status(place, "1.0.0").erased is not None
    assert read_ledger(place).withdrawn.keys() == {GONE}
    with pytest.raises(StoreError, match="expected a number never used"):
        publish_release("1.0.0", made.workspace, settings)


def test_what_a_dead_publisher_left_in_a_store_is_named_and_removed(url: str) -> None:
    place = place_at(url)
    for path in ("1.0.0/tables/a.parquet", "2.0.0/README.md", "3.0.0/manifest.json", "notes/mine.txt"):
        place.put_new(path, b"left")
    place.put_new(".claims/2.0.0.json", b"{}")
    (named,) = store_leftovers(place)
    assert (named.path, named.bytes) == (f"{place.name}/1.0.0", 4)
    assert store_leftovers(place, delete=True) == [named]
    assert set(place.files().paths()) == {
        "2.0.0/README.md", "3.0.0/manifest.json", "notes/mine.txt", ".claims/2.0.0.json",
    }  # fmt: skip
