"""Somebody withdraws: written down, out of the next version, marked in the old ones, listed, erased."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zarr

import palm_data
from palm_data.capture.ingest import ingest_subject
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store import release as publishing
from palm_data.store.files import LocalFiles
from palm_data.store.learned import learned_from, read_seen
from palm_data.store.manifest import read_manifest, versions
from palm_data.store.places import Place, place_at
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.withdraw import erase, local_path, withdraw
from palm_data.store.withdrawals import people_of, read_ledger, read_status, reinstate, withdraw_consent
from palm_data.testing.tiny import Tiny, add_subject, tiny_workspace, write_subjects
from schemas.errors import ConsentError, IntegrityError, StoreError
from schemas.settings import Settings

GONE = "7391"
TODAY = datetime.now(UTC).date()


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Two people in 0.1.0, of whom one will withdraw."""
    made = tiny_workspace(tmp_path, ["0001", GONE])
    publish_release("0.1.0", made.workspace, made.settings)
    return made


def where_named(folder: Path, subject_id: str) -> list[str]:
    """Every place of a version where a number stands: paths, tables, attributes and texts, all decoded."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if subject_id in name:
            found.append(f"path {name}")
        if path.suffix == ".parquet":
            table = pq.read_table(path, use_threads=False)
            text = json.dumps([*table.to_pylist(), str(table.schema.metadata)], default=str)
        elif path.is_file() and "/c/" not in name:
            text = path.read_text(encoding="utf-8")
        else:
            continue
        if re.search(rf"(?<![0-9a-f]){subject_id}(?![0-9a-f])", text):
            found.append(name)
    for group in folder.glob("shards/*.zarr"):
        found += (
            [f"attributes of {group.name}"] if subject_id in str(dict(zarr.open_group(group, mode="r").attrs)) else []
        )
    return found


def test_the_next_version_has_the_person_nowhere_and_shares_the_rest(tiny: Tiny) -> None:
    releases = tiny.settings.releases
    assert len(where_named(releases / "0.1.0", GONE)) > 40  # so that the search is known to find
    done = withdraw(GONE, tiny.workspace, tiny.settings, reason="asked by letter")
    assert (done.published, done.marked) == ("0.2.0", ("0.1.0",))
    manifest = read_manifest(releases / "0.2.0")
    assert where_named(releases / "0.2.0", GONE) == ["manifest.json"]
    assert (manifest.withdrawn, manifest.parent, GONE in str(manifest.splits)) == ((GONE,), "0.1.0", False)
    assert manifest.counts["subjects"] == 1
    assert manifest.counts["captures"] == 2
    assert verify_release(releases / "0.2.0").passed
    assert verify_release(releases / "0.1.0").passed
    file = "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    assert (releases / "0.1.0" / file).samefile(releases / "0.2.0" / file)
    assert palm_data.open_release(releases, "0.2.0").subject_ids == ("0001",)


def test_the_version_made_from_the_old_one_is_what_publishing_would_make(tiny: Tiny) -> None:
    withdraw(GONE, tiny.workspace, tiny.settings)
    made = {path.name: path.read_bytes() for path in (tiny.settings.releases / "0.2.0/tables").iterdir()}
    publish_release("0.3.0", tiny.workspace, tiny.settings)
    again = tiny.settings.releases / "0.3.0"
    assert {path.name: path.read_bytes() for path in (again / "tables").iterdir()} == made
    assert {k: v for k, v in read_manifest(again).counts.items() if k != "bytes"} == {
        k: v for k, v in read_manifest(tiny.settings.releases / "0.2.0").counts.items() if k != "bytes"
    }


def test_nothing_lets_them_in_again_but_a_new_consent(tiny: Tiny) -> None:
    withdraw(GONE, tiny.workspace, tiny.settings)
    add_subject(tiny.workspace, tiny.settings, GONE)  # delivered and indexed anew, and subjects.csv says granted
    assert GONE not in people_of_version(tiny, "0.3.0")
    write_session(tiny.settings)
    with pytest.raises(ConsentError, match=rf"expected no withdrawal of {GONE}"):
        ingest_subject(GONE, tiny.workspace, tiny.settings)
    assert tiny.workspace.record("capture_index", GONE) is None
    with pytest.raises(ConsentError, match="expected a day from"):
        reinstate(place(tiny), GONE, TODAY - timedelta(days=3))
    reinstate(place(tiny), GONE, TODAY)
    with pytest.raises(ConsentError, match="expected a withdrawal in the ledger"):
        reinstate(place(tiny), GONE, TODAY)
    add_subject(tiny.workspace, tiny.settings, GONE)
    assert GONE in people_of_version(tiny, "0.4.0")
    events = read_ledger(place(tiny)).events
    assert [(event.kind, event.consent_date) for event in events] == [("withdrawn", None), ("reinstated", TODAY)]


def place(tiny: Tiny) -> Place:
    return place_at(tiny.settings.releases)


def people_of_version(tiny: Tiny, version: str) -> frozenset[str]:
    publish_release(version, tiny.workspace, tiny.settings)
    return people_of(LocalFiles(tiny.settings.releases / version))


def write_session(settings: Settings) -> None:
    (settings.raw / GONE).mkdir(exist_ok=True)


def test_who_withdraws_while_a_version_is_made_is_not_in_it(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = publishing._stage  # the moment between the plan and the version

    def meanwhile(*arguments: object) -> str:
        withdraw_consent(place(tiny), GONE)
        return stage(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(publishing, "_stage", meanwhile)
    with pytest.raises(ConsentError, match=GONE):
        publish_release("0.2.0", tiny.workspace, tiny.settings)
    assert versions(tiny.settings.releases) == ["0.1.0"]


def test_readers_of_an_old_version_are_told_and_get_nothing_of_them(tiny: Tiny) -> None:
    withdraw(GONE, tiny.workspace, tiny.settings)
    releases = tiny.settings.releases
    with pytest.warns(WithdrawnWarning, match=rf"{GONE} withdrew.*Version 0\.2\.0 is without them.*left out"):
        release = palm_data.open_release(releases, "0.1.0")
    assert release.subject_ids == ("0001",)
    with pytest.raises(StoreError, match=f"found {GONE}"):
        release.subject(GONE)
    with pytest.raises(ConsentError, match=GONE):
        palm_data.open_release(releases, "0.1.0", subjects=[GONE])
    path = releases / "status" / "0.1.0.json"
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(IntegrityError, match=r"0\.1\.0\.json"):
        palm_data.open_release(releases, "0.1.0")


def test_the_raw_table_marks_old_versions_too_when_the_next_is_published(tiny: Tiny) -> None:
    write_subjects(tiny.settings.raw, ["0001", GONE], withdrawn=[GONE])
    assert publish_release("0.2.0", tiny.workspace, tiny.settings).withdrawn == (GONE,)
    (mark,) = read_status(place(tiny), "0.1.0").withdrawn
    assert (mark.subject_id, mark.replaced_by) == (GONE, "0.2.0")
    assert where_named(tiny.settings.releases / "0.2.0", GONE) == ["manifest.json"]


def test_withdrawing_again_changes_nothing(tiny: Tiny) -> None:
    first = withdraw(GONE, tiny.workspace, tiny.settings)
    before = {path: path.read_bytes() for path in (tiny.settings.releases / "status").glob("*.json")}
    second = withdraw(GONE, tiny.workspace, tiny.settings)
    assert {path: path.read_bytes() for path in (tiny.settings.releases / "status").glob("*.json")} == before
    assert (second.published, second.marked) == (None, first.marked)
    assert versions(tiny.settings.releases) == ["0.1.0", "0.2.0"]


def test_the_lists_name_every_file_that_holds_them(tiny: Tiny) -> None:
    done = withdraw(GONE, tiny.workspace, tiny.settings)
    (version,) = done.released.versions
    about = {file.path for file in version.files if file.holds == "about"}
    shard = tiny.settings.releases / "0.1.0" / "shards" / f"{GONE}.zarr"
    assert about == {path.relative_to(shard.parents[1]).as_posix() for path in shard.rglob("*") if path.is_file()}
    contains = {file.path for file in version.files if file.holds == "contains"}
    assert {"manifest.json", "files.parquet", "tables/hands.parquet", "tables/subjects.parquet"} <= contains
    assert "tables/gestures.parquet" not in contains
    stages = {Path(item.path).parent.name for item in done.local.items if item.kind == "stage"}
    assert {"capture_index", "subject_shard", "subject_labels", "scan_maps", "quality"} <= stages
    assert any(item.path.endswith("subjects.csv") for item in done.local.items)
    assert json.loads(local_path(tiny.workspace, GONE).read_bytes())["subject_id"] == GONE


def test_erasing_deletes_what_is_ours_and_no_number_comes_back(tiny: Tiny) -> None:
    done = withdraw(GONE, tiny.workspace, tiny.settings)
    erased = erase(done, tiny.workspace, tiny.settings)
    releases, root = tiny.settings.releases, tiny.workspace.root
    assert versions(releases) == ["0.2.0"]
    assert not (releases / "0.1.0").exists()
    assert verify_release(releases / "0.2.0").passed
    assert not list(root.glob(f"stages/*/{GONE}"))
    assert tiny.workspace.record("subject_shard", "0001") is not None
    assert read_status(place(tiny), "0.1.0").erased is not None
    assert {item.kind for item in erased.local.items if not item.erased} == {"raw"}
    with pytest.raises(StoreError, match=r"expected a number never used, found 0\.1\.0"):
        publish_release("0.1.0", tiny.workspace, tiny.settings)
    kept = withdraw(GONE, tiny.workspace, tiny.settings).released.versions
    assert [one.version for one in kept] == ["0.1.0"]  # for whoever has a copy


def test_a_number_of_nobody_is_told_apart_whatever_else_lies_there(tiny: Tiny) -> None:
    for name in ("dagster/history.db", "training/detector/state.bin", "stages/detector/all/silent.safetensors"):
        path = tiny.workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of everybody")
    nobody = withdraw("0999", tiny.workspace, tiny.settings)
    assert {item.kind for item in nobody.local.items} == {"history", "training", "model"}  # listed all the same
    assert not nobody.known
    assert withdraw(GONE, tiny.workspace, tiny.settings).known


def test_the_last_person_leaves_no_version_and_a_mark(tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, [GONE])
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    done = withdraw(GONE, tiny.workspace, tiny.settings)
    assert (done.published, done.marked) == (None, ("1.0.0",))
    (mark,) = read_status(place(tiny), "1.0.0").withdrawn
    assert mark.replaced_by is None


def test_models_are_told_apart_by_whom_they_saw(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    release = palm_data.open_release(tiny.settings.releases)
    everybody, others = learned_from(release), learned_from(release.filtered(subjects=["0001"]))
    person = withdraw(GONE, tiny.workspace, tiny.settings).released.person
    cards = {
        "saw": {"learned_from": everybody.model_dump_json()},
        "others": {"learned_from": others.model_dump_json()},
        "detector": {"card": json.dumps({"subjects": [person, "0" * 64]})},
        "stranger": {"card": json.dumps({"subjects": ["0" * 64]})},
        "silent": {},
        "elsewhere": {"learned_from": everybody.model_copy(update={"merkle_root": "1" * 64}).model_dump_json()},
    }
    for name, words in cards.items():
        save_file({}, tmp_path / f"{name}.safetensors", metadata=words)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    done = withdraw(GONE, tiny.workspace, tiny.settings, models=[tmp_path])
    found = {Path(item.path).stem: item.holds for item in done.local.items if item.kind == "model"}
    assert found == {"saw": "learned", "detector": "learned", "silent": "unknown", "broken": "unknown"}
    assert read_seen(tmp_path / "saw.safetensors").releases == (everybody,)


@pytest.mark.parametrize("content", [b"", b'{"events": [', b'{"events": [{"subject_id": "7391"}]}'])
def test_a_damaged_ledger_stops_publishing(tiny: Tiny, content: bytes) -> None:
    withdraw_consent(place(tiny), GONE)
    (tiny.settings.releases / "status" / "withdrawals.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"withdrawals\.json: expected what palm wrote"):
        publish_release("0.2.0", tiny.workspace, tiny.settings)
