"""`palm release diff`: what changed from one version to another."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.console import console

if TYPE_CHECKING:
    from palm_data.store.changes import ReleaseChanges

_LISTED = 30
_MEANING = {
    "major": "something that was there is changed or removed",
    "minor": "something is added, nothing changed or removed",
    "patch": "the same data, packed or described otherwise",
}


def diff(
    before: Annotated[str, typer.Argument(help="The earlier version, or its folder or URL.")],
    after: Annotated[str, typer.Argument(help="The later version, or its folder or URL.")],
    *,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what changed from one version to another: people, captures, columns, files, and how large a step that is."""
    from palm_data.store.changes import changes
    from palm_data.store.side import published_side
    from pipelines.cli.release import target_files

    found = changes(*(published_side(target_files(one, releases)) for one in (before, after)))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
        return
    _print(found)


def _print(found: "ReleaseChanges") -> None:
    console.print(
        f"[bold]{found.before} → {found.after}[/]: {found.level.upper()}, {_MEANING[found.level]}", highlight=False
    )
    for reason in found.reasons[:_LISTED]:
        console.print(f"  {reason.level.upper():5}  {reason.text}", markup=False, highlight=False, soft_wrap=True)
    if not found.reasons:
        console.print("  nothing changed")
    if len(found.reasons) > _LISTED:
        console.print(f"  and {len(found.reasons) - _LISTED} more; --json has them all")
    table = Table(
        "modality", *(f"{kind} {unit}" for kind in ("shared", "added", "removed") for unit in ("files", "MB"))
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.files:
        table.add_row(
            row.modality, str(row.files_shared), _megabytes(row.bytes_shared), str(row.files_added),
            _megabytes(row.bytes_added), str(row.files_removed), _megabytes(row.bytes_removed),
        )  # fmt: skip
    console.print(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}" if size else "0"
