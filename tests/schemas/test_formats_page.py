"""`docs/formats.md` lists the columns that the tables have."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from palm_data.loader.tables import MODELS
from palm_data.store.label_tables import LABEL_MODELS
from schemas.arrow import arrow_schema
from schemas.hand import HandConvention
from schemas.release import FileRow, Manifest

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
TABLES = {"files": FileRow, **MODELS, **LABEL_MODELS}


def columns(name: str, model: type[BaseModel]) -> str:
    """The part of the page about one table, as the schema has it."""
    schema = arrow_schema(model)
    place = "files.parquet" if name == "files" else f"tables/{name}.parquet"
    lines = [
        f"**`{place}`** — {schema.metadata[b'description'].decode()}",
        "",
        "| Column | Type | Meaning |",
        "|---|---|---|",
    ]
    for field in schema:
        description = (field.metadata or {}).get(b"description", b"").decode()
        nullable = ", may be null" if field.nullable else ""
        lines.append(f"| `{field.name}` | {field.type}{nullable} | {description} |".replace("|  |", "| |"))
    return "\n".join(lines)


@pytest.mark.parametrize("name", list(TABLES))
def test_the_page_has_every_column_with_its_type_and_meaning(name: str) -> None:
    expected = columns(name, TABLES[name])
    assert expected in PAGE.read_text(encoding="utf-8"), f"put this into docs/formats.md:\n\n{expected}"


@pytest.mark.parametrize("model", [Manifest, HandConvention])
def test_the_page_names_every_field_of_the_documents(model: type[BaseModel]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in model.model_fields if f"`{name}`" not in page] == []
