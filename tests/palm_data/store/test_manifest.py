import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from palm_data.store.manifest import create_manifest, is_version, manifest_bytes, read_manifest, seal, versions
from schemas.errors import ConflictError, IntegrityError, StoreError
from schemas.release import Manifest


def values(**changes: Any) -> dict[str, Any]:
    return {
        "version": "1.2.0",
        "schema_version": "1.0.0",
        "parent": None,
        "created": datetime(2026, 1, 2, tzinfo=UTC),
        "code_version": "0.1.0",
        "settings": {"shard.tile_px": 256, "maps.depth_unit_mm": 0.05, "ratio": 1.0, "name": "é"},
        "splits": {"train": ("0001",), "val": (), "test": ()},
        "counts": {"subjects": 1},
        "merkle_root": "1" * 64,
        "files_sha256": "2" * 64,
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1.2.0").mkdir()
    return tmp_path / "1.2.0"


def test_a_manifest_comes_back_as_it_was_sealed(folder: Path, tmp_path: Path) -> None:
    manifest = seal(values())
    create_manifest(manifest, folder, tmp_path)
    assert read_manifest(folder) == manifest
    assert (folder / "manifest.json").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.0"]


def test_a_flipped_bit_in_any_byte_of_a_manifest_is_found(folder: Path) -> None:
    whole = manifest_bytes(seal(values()))
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 7  # the highest bit makes it no UTF-8, which is too easy
        (folder / "manifest.json").write_bytes(damaged)
        with pytest.raises(StoreError):
            read_manifest(folder)


def test_an_edited_manifest_is_found(folder: Path) -> None:
    edited = json.loads(manifest_bytes(seal(values())))
    edited["code_version"] = "9.9.9"
    (folder / "manifest.json").write_text(json.dumps(edited, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(IntegrityError, match="manifest_sha256: expected"):
        read_manifest(folder)


def test_a_manifest_of_a_later_schema_says_so(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(manifest_bytes(seal(values(schema_version="2.0.0"))))
    with pytest.raises(StoreError, match=r"schema_version: expected 1\.x, found 2\.0\.0"):
        read_manifest(folder)


def test_of_many_writers_one_creates_the_manifest(folder: Path, tmp_path: Path) -> None:
    manifests = [seal(values(code_version=f"0.{n}.0")) for n in range(8)]
    won: list[Manifest] = []
    lost: list[str] = []
    start = threading.Barrier(len(manifests))

    def write(manifest: Manifest) -> None:
        start.wait()
        try:
            create_manifest(manifest, folder, tmp_path)
        except ConflictError as error:
            lost.append(str(error))
        else:
            won.append(manifest)

    threads = [threading.Thread(target=write, args=(manifest,)) for manifest in manifests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert read_manifest(folder) == won[0]


def test_versions_are_folders_with_a_manifest_lowest_first(tmp_path: Path) -> None:
    for name in ("1.10.0", "1.9.0", "0.1.0", "not-a-version", ".partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    (tmp_path / "3.0.0").mkdir()
    assert versions(tmp_path) == ["0.1.0", "1.9.0", "1.10.0"]
    with pytest.raises(StoreError, match=r"found none\. Published there: 0\.1\.0, 1\.9\.0, 1\.10\.0"):
        read_manifest(tmp_path / "3.0.0")


def test_a_manifest_of_brackets_is_damage_not_a_crash(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(IntegrityError, match=r"manifest\.json: expected a manifest, found maximum recursion"):
        read_manifest(folder)


def test_a_schema_version_of_thousands_of_digits_is_refused_not_a_crash(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(manifest_bytes(seal(values(schema_version="9" * 5000 + ".0.0"))))
    with pytest.raises(StoreError):
        read_manifest(folder)


@pytest.mark.parametrize(
    "text", ["1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.-3", "", "1.2.²", "9" * 5000 + ".0.0", "1.2.3\n"]
)
def test_what_is_not_a_version(text: str) -> None:
    assert not is_version(text)
