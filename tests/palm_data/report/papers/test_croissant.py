"""croissant.json, read by the reference implementation: valid, and its record sets are our tables."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import palm_data
from palm_data.store.release import publish_release
from palm_data.testing.tiny import tiny_workspace

# rdflib, which it reads JSON-LD with, warns of itself
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
EXPECTED_WARNINGS = {"citeAs", "datePublished"}
"""A version holds no time, and these tests state no citation."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny = tiny_workspace(tmp_path_factory.mktemp("croissant"))
    publish_release("0.1.0", tiny.workspace, tiny.settings)
    return tiny.settings.releases / "0.1.0"


def opened(folder: Path) -> Any:
    import mlcroissant

    return mlcroissant.Dataset(jsonld=folder / "croissant.json")


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its columns' own names, and text as text."""
    return {
        key.split("/", 1)[1]: value.decode() if isinstance(value, bytes) else value for key, value in record.items()
    }


def test_it_is_valid_but_for_what_is_not_known(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        issues = opened(folder).metadata.issues
    assert issues.errors == set()
    assert {name for text in issues.warnings for name in EXPECTED_WARNINGS if name in text} == EXPECTED_WARNINGS
    assert len(issues.warnings) == len(EXPECTED_WARNINGS)
    conforms = json.loads((folder / "croissant.json").read_text())["conformsTo"]
    assert "http://mlcommons.org/croissant/1.0" in conforms


@pytest.mark.parametrize(
    "name", ["subjects", "captures", "images", "cameras", "hands", "keypoints_3d", "quality", "splits"]
)
def test_its_records_are_the_rows_that_our_loader_reads(folder: Path, name: str) -> None:
    ours = palm_data.open_release(folder).tables[name].to_pylist()
    theirs = [plain(record) for record in opened(folder).records(name)]
    assert theirs == [{key: list(one) if isinstance(one, tuple) else one for key, one in row.items()} for row in ours]


def test_every_column_of_every_table_is_a_field_with_a_description(folder: Path) -> None:
    entry = json.loads((folder / "croissant.json").read_text())
    release = palm_data.open_release(folder)
    assert len(entry["recordSet"]) == len(list((folder / "tables").glob("*.parquet")))
    for record_set in entry["recordSet"]:
        columns = release.tables[record_set["name"]].schema.names
        assert [field["name"] for field in record_set["field"]] == columns
        assert all(field["description"] for field in record_set["field"])


def test_a_table_that_was_tampered_with_is_refused(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    table = copied / "tables" / "subjects.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.chmod(0o644)
    table.write_bytes(content)
    with pytest.raises(Exception, match=r"Download\(tables/subjects\.parquet\)") as refused:
        list(opened(copied).records("subjects"))
    assert "is not identical with the reference" in str(refused.value.__cause__)
    assert len(list(opened(copied).records("captures"))) == 4
