"""`palm evaluate`: figures against the truth of a simulated session. The one command that opens truth."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipelines.cli.console import console

app = typer.Typer(no_args_is_help=True, help="Compare what was delivered, or made, with the truth of a simulation.")


@app.callback()
def root() -> None:
    """Compare what was delivered, or made, with the truth of a simulation."""


@app.command("capture")
def capture(
    truth: Annotated[Path, typer.Argument(help="The truth folder of a simulated session.")],
    *,
    raw: Annotated[Path, typer.Option(help="The raw folder of the same session.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Figures of the simulated capture itself: light, labels, scans, calibration, and the best fit there can be."""
    from palm_data.evaluate.capture import evaluate_capture

    figures = evaluate_capture(truth, raw)
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    table = Table("Figure", "Value")
    for name, value in figures.items():
        table.add_row(name, str(value) if isinstance(value, int) else f"{value:.4g}")
    console.print(table)
