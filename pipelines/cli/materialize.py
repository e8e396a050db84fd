"""`palm materialize`: the whole graph as one batch, with progress and a table of what came of it."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.cli.console import console

if TYPE_CHECKING:
    from pipelines.batch import AssetResult, BatchResult
    from pipelines.compute import Progress as Step

Result = TypeVar("Result")
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def materialize(
    *,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages write.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    select: Annotated[str, typer.Option(help="Assets, in Dagster's selection syntax: '+scan_maps'.")] = "*",
    subjects: Annotated[str | None, typer.Option(help="Subjects, separated by commas; all by default.")] = None,
    release: Annotated[str | None, typer.Option(help="Publish this version at the end.")] = None,
    captures_only: Annotated[bool, typer.Option("--captures-only", help="Publish it without any label.")] = False,
) -> None:
    """Make everything that is out of date, from raw sessions to shards (and a release), as one batch.

    What is up to date is left alone. A subject at fault is set aside with its reason; the rest goes on, and the exit
    code is 1.
    """
    from pipelines.batch import BatchRequest, run_batch
    from pipelines.instance import end_abandoned, terminal_instance
    from schemas.settings import load_settings

    settings = load_settings(raw=raw, workspace=workspace, releases=releases)
    request = BatchRequest(
        select=select,
        subjects=tuple(subjects.split(",")) if subjects is not None else None,
        release=release,
        captures_only=captures_only,
    )
    start = time.perf_counter()
    with terminal_instance(settings.workspace) as instance, _Bars() as bars:

        def stop() -> None:
            bars.close()
            end_abandoned(instance)

        result = _interruptible(lambda: run_batch(instance, settings, request, watch=bars.step), stop)
    console.print(_table(result))
    _print_problems(result)
    console.print(f"{time.perf_counter() - start:.1f} s. Look at it with: palm ui", highlight=False)
    if not result.whole:
        raise typer.Exit(1)


def _interruptible(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """Do the work beside the main thread, where Dagster leaves interrupts alone; on Ctrl+C end this process at once.

    Stages appear whole or not at all, and worker processes end with this one, so there is nothing to wait for.
    """
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")  # it cleans up; no need to say so
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(copy_context().run, work)
        try:
            return future.result()
        except KeyboardInterrupt:
            stop()
            console.print("Interrupted. What is finished is kept: run it again to go on.")
            os._exit(_INTERRUPTED)


class _Bars:
    """One progress bar for each asset, as its subjects are done."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(), TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.fields[last]}"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bars as they are, and the terminal as it was."""
        self._progress.stop()

    def step(self, step: "Step") -> None:
        """Draw a step forward; a second run or try of the same asset adds to its bar."""
        if step.outcome is None:
            if step.label in self._tasks:
                task = self._tasks[step.label]
                self._progress.update(task, total=(self._progress.tasks[task].total or 0) + step.total)
            else:
                self._tasks[step.label] = self._progress.add_task(step.label, total=step.total, last="")
            return
        self._progress.update(self._tasks[step.label], advance=1, last=step.outcome.key)


def _table(result: "BatchResult") -> Table:
    table = Table("asset", "made", "unchanged", "set aside", "figures", "s")
    for column in table.columns[1:4]:
        column.justify = "right"
    for asset in result.assets:
        reports = [outcome.report for outcome in asset.outcomes if outcome.report is not None]
        made = sum(report.ran for report in reports)
        table.add_row(
            asset.asset,
            str(made) if asset.outcomes else "",
            str(len(reports) - made) if asset.outcomes else "",
            f"[red]{len(asset.set_aside)}[/]" if asset.set_aside else "0" if asset.outcomes else "",
            _figures(asset),
            f"{asset.seconds:.1f}",
        )
    return table


def _figures(asset: "AssetResult") -> str:
    """Whole numbers summed over keys, but for zeros: counts and bytes add up, means and percentiles do not."""
    totals: dict[str, int] = {}
    for outcome in asset.outcomes:
        for name, value in outcome.report.figures.items() if outcome.report else ():
            if isinstance(value, int) and not isinstance(value, bool):
                totals[name] = totals.get(name, 0) + value
    totals = {**asset.counts, **totals}
    return ", ".join(f"{_amount(name, value)}" for name, value in totals.items() if value)


def _amount(name: str, value: int) -> str:
    if name == "bytes":
        return f"{value / 1e6:.1f} MB"
    return f"{value} {name.replace('_', ' ')}"


def _print_problems(result: "BatchResult") -> None:
    for key, reason in result.retired.items():
        console.print(f"nothing is made of {key}: {reason}", highlight=False)
    for asset in result.assets:
        for key, reason in asset.set_aside.items():
            console.print(f"[red]set aside[/] {asset.asset} {key}: ", end="")
            console.print(reason, markup=False, highlight=False, soft_wrap=True)
        for error in asset.errors:
            console.print(f"[bold red]failed[/] {asset.asset}: ", end="")
            console.print(error, markup=False, highlight=False, soft_wrap=True)
        for name, text in asset.red_checks.items():
            if name != "none_set_aside":
                console.print(f"[yellow]check[/] {asset.asset} {name}:")
                console.print(text, markup=False, highlight=False, soft_wrap=True)
