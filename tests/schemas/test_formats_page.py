"""`docs/formats.md` names what there is, and `docs/schemas` says what it holds."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel

from palm_data.loader import tables as loader_tables
from palm_data.store.label_tables import LABEL_MODELS
from palm_data.store.schema_pages import DOCUMENTS, TABLES, schema_pages, write_schema_pages
from schemas.arrays import ARRAYS, SCAN, TIERED
from schemas.arrow import arrow_schema
from schemas.hand import HandConvention
from schemas.release import MONO_MODELS, Manifest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "formats.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(schema_pages()))
def test_the_committed_schemas_are_those_of_the_code(name: str) -> None:
    committed = (DOCS / "schemas" / name).read_text(encoding="utf-8")
    assert committed == schema_pages()[name], "docs/schemas is of other code: run palm schemas"


def test_no_page_is_left_of_a_schema_that_is_gone(tmp_path: Path) -> None:
    written = [path.name for path in write_schema_pages(tmp_path)]
    assert written == sorted(path.name for path in (DOCS / "schemas").iterdir())


def test_every_table_that_a_version_may_have_is_described() -> None:
    released = {**loader_tables.MODELS, **LABEL_MODELS, **MONO_MODELS}
    assert {name: TABLES[name] for name in released} == released
    assert sorted(TABLES) == sorted([*released, "files"])


@pytest.mark.parametrize("name", list(TABLES))
def test_every_column_says_what_it_means_and_every_number_its_unit(name: str) -> None:
    for field in arrow_schema(TABLES[name]):
        said = field.metadata or {}
        assert said.get(b"description"), field.name
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            assert said.get(b"unit"), field.name
        for suffix, unit in (("_px", "px"), ("_mm", "mm"), ("_deg", "deg")):
            if re.search(rf"{suffix}(_|$)", field.name):
                assert said[b"unit"].decode() == unit


def test_coordinates_say_in_which_axes_they_are() -> None:
    places = {
        "keypoints_2d": ["x_px", "y_px"],
        "keypoints_3d": ["x", "y", "z", "cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz"],
        "hands": ["global_orient", "hand_pose", "transl"],
        "cameras": ["intrinsics", "world_to_camera", "raw_intrinsics", "raw_distortion"],
    }
    for table, columns in places.items():
        framed = [field.name for field in arrow_schema(TABLES[table]) if b"frame" in (field.metadata or {})]
        assert framed == columns


def test_json_schemas_carry_units_and_axes_too() -> None:
    for name, model in TABLES.items():
        properties = json.loads(schema_pages()[f"{name}.json"])["properties"]
        for field in arrow_schema(model):
            said = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
            assert {key: properties[field.name].get(key) for key in said} == said


@pytest.mark.parametrize("model", [Manifest, HandConvention])
def test_documents_are_described_and_named_on_the_page(model: type[BaseModel]) -> None:
    assert model in DOCUMENTS.values()
    assert [name for name, field in model.model_fields.items() if not field.description] == []
    assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []


def test_the_page_names_every_table_and_every_array() -> None:
    places = ["files.parquet", *(f"tables/{name}.parquet" for name in TABLES if name != "files")]
    assert [place for place in places if f"| `{place}` |" not in PAGE] == []
    assert [name for name in TIERED if f"| `{name}/<tier>` |" not in PAGE] == []
    assert [name for name in SCAN if f"`{name.removeprefix('scan/')}`" not in PAGE.replace("`scan/", "`")] == []
    assert all(about.description and about.unit and about.frame for about in ARRAYS.values())


def test_links_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert [link for link in links if not (DOCS / link).exists()] == []
