"""`palm gc`: remove what nothing refers to."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console
from schemas.settings import load_settings


def gc(
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is named; otherwise it is named only.")] = False,
    workspace: Annotated[Path | None, typer.Option(help="Where stages wrote.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Name what dead publishers and stages left behind, with its size; --delete removes it.

    Published versions, current outputs and the work of live processes are never touched.
    """
    from palm_data.store.leftovers import release_leftovers, store_leftovers, workspace_leftovers
    from palm_data.store.places import place_at
    from palm_data.store.workspace import Workspace

    settings = load_settings(workspace=workspace, releases=releases)
    found = [
        *(
            release_leftovers(settings.releases.absolute(), delete=delete)
            if isinstance(settings.releases, Path)
            else store_leftovers(place_at(settings.releases), delete=delete)
        ),
        *workspace_leftovers(Workspace(settings.workspace), delete=delete),
    ]
    if as_json:
        items = [item.model_dump(mode="json") for item in found]
        typer.echo(
            json.dumps({"deleted": delete, "bytes": sum(item.bytes for item in found), "items": items}, indent=1)
        )
        return
    for item in found:
        text = f"{item.path}: {item.kind}, {item.bytes / 1e6:.1f} MB: {item.why}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    size = f"{len(found)} item{'' if len(found) == 1 else 's'}, {sum(item.bytes for item in found) / 1e6:.1f} MB"
    if not found:
        console.print("Nothing to remove.")
    else:
        console.print(f"Deleted {size}." if delete else f"{size}. Nothing was deleted: palm gc --delete removes it.")
