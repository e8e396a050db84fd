"""`palm schemas`: write what a version's tables, documents and arrays hold."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console


def schemas(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/schemas"),
) -> None:
    """Write the JSON and Arrow schemas of a release, with units and frames, as pages."""
    from palm_data.store.schema_pages import write_schema_pages

    pages = write_schema_pages(out)
    console.print(f"{len(pages)} pages in {out}", highlight=False, soft_wrap=True)
