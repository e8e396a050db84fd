"""What people see: one console, and a bar beside it while something takes its time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console()


def say(text: str) -> None:
    """Print a text as it is: no markup, no colours, lines as long as they are."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def show_rows(rows: Mapping[str, object]) -> None:
    """Print names and values in two columns."""
    table = Table("", "", show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", str(value))
    console.print(table)


def progress_bar(*, shown: bool = True) -> Progress:
    """A bar on standard error that says how many are done, for how long and until when; nothing stays of it."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)


@contextmanager
def counting_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Such a bar of one task; what it gives is to be called with the number done and the number in all."""
    with progress_bar() as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
