"""`docs/schemas`: what a version's tables, documents and arrays hold, written from the models that hold them to it.

<table>.json, manifest.json, hand_convention.json   JSON Schema of a row or a document, with `unit` and `frame`
arrow.md                                            every table's Arrow schema
arrays.md                                           every array of a subject's group
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel

from palm_data.store.label_tables import LABEL_MODELS
from schemas.arrays import SCAN, TIERED, ArraySchema
from schemas.arrow import arrow_schema
from schemas.hand import HandConvention
from schemas.release import (
    MONO_MODELS,
    SCHEMA_VERSION,
    CameraRow,
    CaptureRow,
    FileRow,
    GestureRow,
    ImageRow,
    Manifest,
    SplitRow,
    SubjectRow,
)

TABLES: Mapping[str, type[BaseModel]] = {
    "files": FileRow,
    "subjects": SubjectRow,
    "gestures": GestureRow,
    "captures": CaptureRow,
    "images": ImageRow,
    "cameras": CameraRow,
    "splits": SplitRow,
    **LABEL_MODELS,
    **MONO_MODELS,
}
"""Table → row, of every table that a version may have."""
DOCUMENTS: Mapping[str, type[BaseModel]] = {"manifest": Manifest, "hand_convention": HandConvention}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MADE = "Made by `palm schemas`; a test holds it to the code."


def schema_pages() -> dict[str, str]:
    """The content of each page, by file name; a function of the code alone."""
    pages = {f"{name}.json": _json_schema(model) for name, model in {**TABLES, **DOCUMENTS}.items()}
    return {**pages, "arrow.md": _tables_page(), "arrays.md": _arrays_page()}


def write_schema_pages(folder: Path) -> list[Path]:
    """Write every page; returns where they are, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in schema_pages().items():
        (folder / name).write_text(content, encoding="utf-8")
    return sorted(folder / name for name in schema_pages())


def _json_schema(model: type[BaseModel]) -> str:
    schema = {"$schema": _DIALECT, "schemaVersion": SCHEMA_VERSION, **model.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _tables_page() -> str:
    intro = f"""# Tables

Every table of a version, schema {SCHEMA_VERSION}: its Arrow schema, as `pyarrow.parquet.read_schema` shows it. `description`,
`unit` and `frame` are in the file, as each field's metadata. A column may be null only where its type says so; unit `1` is a
number without a unit: a count, a share, a position. [formats.md](../formats.md) says which version has which table.
{_MADE}
"""
    return "\n".join([intro, *(line for name, model in TABLES.items() for line in _table(name, model))])


def _table(name: str, model: type[BaseModel]) -> Iterator[str]:
    schema = arrow_schema(model)
    place = "files.parquet" if name == "files" else f"tables/{name}.parquet"
    yield f"## `{place}`\n\n{_said(schema.metadata, 'description')} [JSON Schema of a row]({name}.json)\n"
    yield "| Column | Type | Unit | Axes | Meaning |\n|---|---|---|---|---|"
    for field in schema:
        nullable = ", may be null" if field.nullable else ""
        told = " | ".join(_said(field.metadata, key) for key in ("unit", "frame", "description"))
        yield _row(f"`{field.name}` | {_type(field.type)}{nullable} | {told}")
    yield ""


def _type(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _said(metadata: Mapping[bytes, bytes] | None, key: str) -> str:
    return (metadata or {}).get(key.encode(), b"").decode()


def _arrays_page() -> str:
    intro = f"""# Arrays

What a subject's Zarr group (`shards/<subject>.zarr`) may hold, schema {SCHEMA_VERSION}. `description`, `unit` and `frame` stand
beside each array, as its Zarr attributes; [formats.md](../formats.md) says how they are cut and compressed. {_MADE}

## Images and maps, one array a tier

Axes are capture, view, y, x and, if there are several values a pixel, channel. A tier is `full`, `half` or `quarter`.
"""
    tiers = {f"{name}/<tier>": about for name, about in TIERED.items()}
    tables = "## Scans\n\nRows of all captures, one after the other; the offsets say whose they are.\n"
    return "\n".join([intro, *_array_rows(tiers), "", tables, *_array_rows(SCAN), ""])


def _array_rows(arrays: Mapping[str, ArraySchema]) -> Iterator[str]:
    yield "| Array | Type | Axes | Unit | Frame | Meaning |\n|---|---|---|---|---|---|"
    for name, about in arrays.items():
        values = f" ({about.channels[0]})" if about.channels else ""
        axes = ", ".join(about.axes)
        yield _row(f"`{name}` | {about.dtype} | {axes}{values} | {about.unit} | {about.frame} | {about.description}")


def _row(text: str) -> str:
    return f"| {text} |".replace("|  |", "| |").replace("|  |", "| |")
