"""Copies of a version: parts, resuming, damage on either side, full disks; from a store and from a web server."""

import fcntl
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import palm_data
from palm_data.loader.location import version_files
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store import fetch as fetching
from palm_data.store.fetch import fetch, plan_fetch, plan_repair
from palm_data.store.fetched import Selection
from palm_data.store.file_table import file_rows
from palm_data.store.manifest import manifest_bytes, read_manifest, seal
from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.store.tables import rows_bytes
from palm_data.store.verify import verify_release
from palm_data.store.withdrawals import mark_versions
from palm_data.testing import fault_proxy as proxy
from palm_data.testing.tiny import Tiny, tiny_workspace
from pipelines.cli.main import app
from schemas.errors import ConflictError, ConsentError, IntegrityError, StoreError
from schemas.release import FileRow
from schemas.settings import without_labels
from tests.palm_data.remote import web

ALL = Selection()
PART = Selection(subjects=("0002",), modalities=("rgb",))
RGB = "shards/0002.zarr/rgb/full/c/0/0/0/0/0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    made = tiny_workspace(tmp_path_factory.mktemp("tiny"), ["0001", "0002"])
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    return made


@pytest.fixture(scope="module")
def address(tiny: Tiny) -> Iterator[str]:
    with web.serving(Path(tiny.settings.releases)) as served:
        yield served


def palm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def paths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def damage(path: Path, content: bytes | None = None) -> None:
    whole = path.read_bytes()
    path.unlink()
    if content is None:
        content = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes(content)


def test_a_version_is_fetched_whole_from_a_web_server(tiny: Tiny, address: str, tmp_path: Path) -> None:
    plan = plan_fetch(version_files(f"{address}/0.1.0"), tmp_path, ALL)
    seen: list[tuple[int, int]] = []
    copied = fetch(plan, progress=lambda done, total: seen.append((done, total)))
    original = Path(tiny.settings.releases) / "0.1.0"
    assert {*copied, "manifest.json", "files.parquet"} == paths(original)
    assert {path: (tmp_path / "0.1.0" / path).read_bytes() for path in paths(original)} == {
        path: (original / path).read_bytes() for path in paths(tmp_path / "0.1.0")
    }
    assert all((tmp_path / "0.1.0" / path).stat().st_mode & 0o777 == 0o444 for path in paths(original))
    assert seen[-1][0] == seen[-1][1] == sum(row.bytes for row in plan.rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.1.0"]
    assert verify_release(tmp_path / "0.1.0").passed
    assert fetch(plan_fetch(version_files(address, "0.1.0"), tmp_path, ALL)) == ()


def test_a_part_opens_and_is_verified_as_a_part(tiny: Tiny, address: str, tmp_path: Path) -> None:
    fetch(plan_fetch(version_files(address, "0.1.0"), tmp_path, PART))
    report = verify_release(tmp_path / "0.1.0")
    assert report.passed, report.problems
    assert report.not_fetched > 20
    assert not (tmp_path / "0.1.0/shards/0001.zarr").exists()
    sample = palm_data.open_release(tmp_path, subjects=["0002"])[0]
    assert (sample.rgb == tiny.arrays["0002"]["rgb"][0]).all()
    (tmp_path / "0.1.0" / RGB).unlink()
    assert [problem.path for problem in verify_release(tmp_path / "0.1.0").problems] == [RGB]


def test_what_was_not_fetched_is_told_from_what_is_damaged(address: str, tmp_path: Path) -> None:
    fetch(plan_fetch(version_files(address, "0.1.0"), tmp_path, PART))
    files = version_files(tmp_path)
    words = r"was not fetched \(depth of 0002\).*palm fetch 0\.1\.0 --from http.* --subjects 0002 --modalities depth"
    for call in (files.read, files.size, lambda path: files.read_ranges(path, [(0, 1)])):
        with pytest.raises(StoreError, match=words):
            call("shards/0002.zarr/depth/full/c/0/0/0/0")
    (tmp_path / "0.1.0" / RGB).unlink()
    assert files.size(RGB) is None
    with pytest.raises(FileNotFoundError):
        files.read(RGB)


def test_a_part_grows_to_the_whole(address: str, tmp_path: Path) -> None:
    source = version_files(address, "0.1.0")
    fetch(plan_fetch(source, tmp_path, PART))
    more = fetch(plan_fetch(source, tmp_path, Selection(modalities=("mask",))))
    assert any("0001.zarr/mask" in path for path in more)
    assert not any("0002.zarr/rgb" in path or path.startswith("tables") for path in more)
    report = verify_release(tmp_path / "0.1.0")
    assert report.passed
    assert report.not_fetched > 0
    rest = plan_fetch(source, tmp_path, ALL)
    assert not {row.path for row in rest.missing} & set(more)
    fetch(rest)
    assert not (tmp_path / "0.1.0/fetched.json").exists()
    assert verify_release(tmp_path / "0.1.0").not_fetched == 0


def test_a_person_who_withdrew_is_not_fetched_and_the_copy_knows(tiny: Tiny, tmp_path: Path) -> None:
    source = tmp_path / "source"
    fetch(plan_fetch(version_files(tiny.settings.releases), source, ALL))
    mark_versions(place_at(source), ["0001"])
    with pytest.raises(ConsentError, match=r"0001 withdrew"):
        plan_fetch(version_files(source), tmp_path / "copy", Selection(subjects=("0001",)))
    result = palm("fetch", "0.1.0", "--from", str(source), "--to", str(tmp_path / "copy"), "--yes")
    assert result.exit_code == 0, result.output
    assert "0001 withdrew" in result.output
    assert not (tmp_path / "copy/0.1.0/shards/0001.zarr").exists()
    assert verify_release(tmp_path / "copy/0.1.0").passed
    with pytest.warns(WithdrawnWarning):
        assert palm_data.open_release(tmp_path / "copy").subject_ids == ("0002",)


def test_what_does_not_exist_cannot_be_selected(address: str, tmp_path: Path) -> None:
    source = version_files(address, "0.1.0")
    for selection, words in (
        (Selection(subjects=("0009",)), "subjects: expected some of 0001, 0002, found 0009"),
        (Selection(modalities=("sound",)), "modalities: expected some of depth, .*rgb.*, found sound"),
        (Selection(tiers=("tiny",)), "tiers: expected some of full, found tiny"),
    ):
        with pytest.raises(StoreError, match=words):
            plan_fetch(source, tmp_path, selection)
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_broke_off_goes_on_in_the_middle_of_a_file(
    tiny: Tiny, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path(tiny.settings.releases) / "0.1.0"
    large, size = max(((path, (original / path).stat().st_size) for path in paths(original)), key=lambda one: one[1])
    piece = size // 8
    monkeypatch.setattr(fetching, "_PIECE", piece)
    monkeypatch.setattr(fetching, "_AT_ONCE", 1)
    with proxy.before(address) as door:
        source = version_files(door.endpoint, "0.1.0")
        plan = plan_fetch(source, tmp_path, PART)
        door.forget()
        door.refuse = lambda _method, path: path.endswith(large) and sum(one[1] == path for one in door.requests) > 3
        monkeypatch.setattr("palm_data.store.remote._RETRIES", {"max_retries": 0})
        with pytest.raises(StoreError, match=f"{large}: expected to read it, found status 503"):
            fetch(plan_fetch(version_files(door.endpoint, "0.1.0"), tmp_path, PART))
        (part,) = (tmp_path / ".fetching/0.1.0").iterdir()
        assert part.stat().st_size == 3 * piece
        assert plan.missing_bytes < sum(row.bytes for row in plan.missing)
        assert not (tmp_path / "0.1.0/manifest.json").exists()
        door.forget()
        door.refuse = proxy.some(0)
        fetch(plan_fetch(source, tmp_path, PART))
        assert sum(path.endswith(large) for _, path in door.requests) == -(-size // piece) - 3 > 0
    assert verify_release(tmp_path / "0.1.0").passed
    assert not (tmp_path / ".fetching").exists()


def test_what_an_earlier_try_left_damaged_is_fetched_anew(address: str, tmp_path: Path) -> None:
    plan = plan_fetch(version_files(address, "0.1.0"), tmp_path, ALL)
    parts = tmp_path / ".fetching/0.1.0"
    parts.mkdir(parents=True)
    for row in plan.rows[::3]:
        (parts / fetching._part_name(row)).write_bytes(b"?" * (row.bytes // 2))
    for row in plan.rows[1::3]:
        (parts / fetching._part_name(row)).write_bytes(b"?" * (row.bytes + 5))
    fetch(plan)
    assert verify_release(tmp_path / "0.1.0").passed


def test_a_killed_fetch_is_no_version_until_the_next_one_finished(address: str, tmp_path: Path) -> None:
    with proxy.before(address) as door:
        door.delay_s = 0.05
        command = ["fetch", f"{door.endpoint}/0.1.0", "--to", str(tmp_path), "--yes"]
        process = subprocess.Popen([sys.executable, "-c", "from pipelines.cli.main import main; main()", *command])
        try:
            while sum("shards" in path for _, path in list(door.requests)) < 20:
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.kill()
            process.wait()
    assert (tmp_path / "0.1.0").is_dir()
    with pytest.raises(StoreError, match="expected a published version, found none"):
        palm_data.open_release(tmp_path)
    there = len(paths(tmp_path / "0.1.0"))
    assert there > 0
    plan = plan_fetch(version_files(address, "0.1.0"), tmp_path, ALL)
    assert len(fetch(plan)) == len(plan.rows) - there
    assert verify_release(tmp_path / "0.1.0").passed


def test_two_fetches_into_one_folder_do_not_mix(address: str, tmp_path: Path) -> None:
    plan = plan_fetch(version_files(address, "0.1.0"), tmp_path, ALL)
    with (
        fetching._alone(tmp_path / ".fetching", "0.1.0"),
        pytest.raises(ConflictError, match="found another one at work"),
    ):
        fetch(plan)


def test_damage_of_the_source_is_told_and_nothing_of_it_enters(tiny: Tiny, tmp_path: Path) -> None:
    source = tmp_path / "source"
    fetch(plan_fetch(version_files(tiny.settings.releases), source, ALL))
    damage(source / "0.1.0" / RGB)
    with pytest.raises(IntegrityError, match=rf"{RGB}: expected sha256 .*The source is damaged"):
        fetch(plan_fetch(version_files(source), tmp_path / "copy", ALL))
    assert not (tmp_path / "copy/0.1.0" / RGB).exists()
    assert not (tmp_path / "copy/0.1.0/manifest.json").exists()


@pytest.mark.parametrize("path", ["../escaped", "/escaped", "shards/../../escaped", "manifest.json", "a\\b", "a//b"])
def test_a_source_that_names_files_outside_the_version_is_refused(tiny: Tiny, tmp_path: Path, path: str) -> None:
    source = tmp_path / "source"
    fetch(plan_fetch(version_files(tiny.settings.releases), source, ALL))
    files = version_files(source)
    rows = [*file_rows(files), FileRow(path=path, bytes=1, sha256="0" * 64, modality="document")]
    table = rows_bytes(FileRow, rows)
    values = read_manifest(files).model_dump() | {"files_sha256": hashlib.sha256(table).hexdigest()}
    for name, content in (("files.parquet", table), ("manifest.json", manifest_bytes(seal(values)))):
        damage(source / "0.1.0" / name, content)
    with pytest.raises(
        IntegrityError, match=r"path: expected one below the version's folder.*Do not trust this source"
    ):
        plan_fetch(files, tmp_path / "copy", ALL)


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_fetch(version_files(address, "0.1.0"), tmp_path, ALL)
    monkeypatch.setattr(fetching, "_SPARE_BYTES", plan.free_bytes)
    with pytest.raises(StoreError, match=r"expected \d+\.\d\d GB free, found \d+\.\d\d GB. Nothing was fetched"):
        fetch(plan)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_holder_unlinked_meanwhile_holds_nobody_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = tmp_path / "0.1.0.lock", fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        lock.unlink()  # the holder ends, and the next one begins, between our opening the file and our locking it
        lock.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ConflictError, match="found another one at work"), fetching._alone(tmp_path, "0.1.0"):
        pass
    assert lock.exists()


def test_another_version_of_the_same_number_is_left_alone(address: str, tmp_path: Path) -> None:
    other = tiny_workspace(tmp_path, ["0001"], seed=9)
    publish_release("0.1.0", other.workspace, without_labels(other.settings))
    for plan in (plan_fetch, plan_repair):
        with pytest.raises(ConflictError, match=r"expected no version 0\.1\.0, or one with merkle root"):
            plan(version_files(address, "0.1.0"), Path(other.settings.releases), ALL)


@pytest.mark.parametrize("selection", [ALL, PART])
def test_repair_mends_what_verify_named_and_nothing_else(address: str, tmp_path: Path, selection: Selection) -> None:
    fetch(plan_fetch(version_files(address, "0.1.0"), tmp_path, selection))
    folder = tmp_path / "0.1.0"
    damage(folder / RGB)
    damage(folder / "tables/captures.parquet", b"short")
    damage(folder / "files.parquet")
    (folder / "LICENSE").unlink()
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(folder / "LICENSE")
    before = {path: (folder / path).stat().st_ino for path in paths(folder)}
    named = {problem.path for problem in verify_release(folder).problems}
    assert named == {"files.parquet"}
    result = palm("fetch", "0.1.0", "--repair", "--from", address, "--to", str(tmp_path), "--yes")
    assert result.exit_code == 0, result.output
    for path in (RGB, "tables/captures.parquet", "LICENSE", "README.md"):
        assert f"mended: {path}\n" in result.stdout
    report = verify_release(folder)
    assert report.passed, report.problems
    mended = {RGB, "tables/captures.parquet", "files.parquet", "LICENSE", "README.md"}
    assert {path for path in paths(folder) if before.get(path) != (folder / path).stat().st_ino} == mended
    assert (report.not_fetched > 0) == (selection == PART)


def test_the_command_prints_sizes_first_asks_and_knows_where_a_part_came_from(address: str, tmp_path: Path) -> None:
    arguments = (
        "fetch",
        "0.1.0",
        "--from",
        address,
        "--to",
        str(tmp_path),
        "--subjects",
        "0001",
        "--modalities",
        "rgb,mask",
    )
    dry = palm(*arguments, "--dry-run")
    assert dry.exit_code == 0
    for words in ("rgb", "mask", "subject 0001", "tables, texts", "GB free"):
        assert words in dry.stdout
    assert "depth" not in dry.stdout
    asked = CliRunner().invoke(app, list(arguments), input="n\n")
    assert asked.exit_code == 1
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(app, list(arguments), input="y\n").exit_code == 0
    path = tmp_path / "0.1.0/shards/0001.zarr/rgb/full/zarr.json"
    damage(path)
    result = palm("verify", str(tmp_path / "0.1.0"))
    assert (result.exit_code, "palm fetch --repair" in result.output) == (1, True)
    for where in (("--to", str(tmp_path)), (str(tmp_path / "0.1.0"),)):
        damage(path)
        assert palm("fetch", "--repair", *where, "--yes").exit_code == 0
        result = palm("verify", str(tmp_path / "0.1.0"))
        assert result.exit_code == 0
        assert "were not fetched" in result.stdout


def test_a_part_is_fetched_from_a_store_and_published_there_by_the_command(
    tiny: Tiny, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("raw", "workspace"):
        monkeypatch.setenv(f"PALM_{name.upper()}", str(getattr(tiny.settings, name)))
    monkeypatch.setenv("PALM_SHARD__TILE_PX", str(tiny.settings.shard.tile_px))
    monkeypatch.setenv("PALM_SHARD__TIERS", json.dumps(tiny.settings.shard.tiers))
    monkeypatch.setenv("PALM_RELEASES", url)
    result = palm("release", "0.1.0", "--captures-only")
    assert result.exit_code == 0, result.output
    assert f'palm_data.open_release("{url}", version="0.1.0")' in result.stdout
    for verb in ("verify", "info"):
        for target in ([], ["0.1.0"], [f"{url}/0.1.0"]):
            result = palm(verb, *target)
            assert result.exit_code == 0, result.output
            assert url in result.stdout
    result = palm("fetch", "--to", str(tmp_path), "--modalities", "rgb", "--yes")
    assert result.exit_code == 0, result.output
    assert verify_release(tmp_path / "0.1.0").passed


def test_a_web_server_has_no_list_of_versions(address: str) -> None:
    with pytest.raises(StoreError, match=r'a web server does not say which it has.*Open it with version="…"'):
        palm_data.open_release(address)
    with pytest.raises(StoreError, match=r"0\.9\.0/manifest\.json: expected the manifest of a version, found none"):
        palm_data.open_release(address, "0.9.0")
    release = palm_data.open_release(address, "0.1.0")
    assert release.subject_ids == ("0001", "0002")
    assert verify_release(version_files(address, "0.1.0")).passed
