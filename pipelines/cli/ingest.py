"""`palm ingest`: index raw sessions, and say what was set aside."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.cli.console import console
from schemas.errors import BadInputError
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.store.workspace import Workspace
    from pipelines.compute import Outcome
    from schemas.capture import Quarantined

_LISTED = 100


def ingest(
    subjects: Annotated[list[str] | None, typer.Argument(help="Subjects, four digits each; all by default.")] = None,
    *,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages write.")] = None,
) -> None:
    """Validate and index raw sessions. What is bad is set aside with its reason, and the rest goes on.

    Ends with 1 only if no capture of any subject could be indexed.
    """
    from palm_data.capture.ingest import ingest_subject
    from palm_data.capture.layout import raw_subjects
    from palm_data.store.workspace import Workspace
    from pipelines.compute import map_keys, watching

    settings = load_settings(raw=raw, workspace=workspace)
    present = raw_subjects(settings.raw)
    chosen = sorted(set(subjects)) if subjects else present
    for subject_id in chosen:
        if subject_id not in present:
            raise BadInputError(settings.raw, field="subject", expected=f"a folder {subject_id}", found="none")
    place = Workspace(settings.workspace)
    with _progress() as bar:
        task = bar.add_task("subjects", total=len(chosen))
        with watching(lambda step: bar.update(task, advance=0 if step.outcome is None else 1)):
            outcomes = map_keys(
                ingest_subject,
                chosen,
                place,
                settings,
                where=settings.compute.where if len(chosen) > 1 else "here",
                workers=settings.compute.workers,
            )
    console.print(_summary(outcomes))
    _print_quarantine(outcomes, place)
    if not any(outcome.report is not None and outcome.report.figures["captures"] for outcome in outcomes):
        console.print("[bold red]Nothing could be indexed.[/]")
        raise typer.Exit(1)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _summary(outcomes: "Sequence[Outcome]") -> Table:
    table = Table("subject", "captures", "images", "absent", "set aside", "GB", "m/unit", "outcome")
    for outcome in outcomes:
        if outcome.report is None:
            reason = "" if outcome.failure is None else f"{outcome.failure.kind}: {outcome.failure.message}"
            table.add_row(outcome.key, "–", "–", "–", "–", "–", "–", f"[red]{escape(reason)}[/]")
            continue
        figures = outcome.report.figures
        counts = (figures[name] for name in ("captures", "images", "images_absent", "quarantined"))
        state = f"indexed in {outcome.seconds:.1f} s" if outcome.report.ran else "unchanged"
        gigabytes = f"{float(figures['bytes']) / 1e9:.3f}"
        table.add_row(outcome.key, *map(str, counts), gigabytes, str(figures["metres_per_unit"]), state)
    return table


def _print_quarantine(outcomes: "Sequence[Outcome]", workspace: "Workspace") -> None:
    from palm_data.capture.index import load_index

    items: list[Quarantined] = []
    for outcome in outcomes:
        if outcome.report is not None and outcome.report.figures["quarantined"]:
            items.extend(load_index(workspace, outcome.key).quarantined)
    if not items:
        return
    console.print("[bold]Set aside:[/]")
    for item in items[:_LISTED]:
        scope = "the whole capture" if item.whole_capture else "this file only"
        text = f"{item.source}: {item.field}: expected {item.expected}, found {item.found} ({scope})"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if len(items) > _LISTED:
        console.print(f"and {len(items) - _LISTED} more, in each subject's index.json.")
