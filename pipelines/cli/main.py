"""The root of the `palm` command."""

import sys
from typing import Annotated

import typer

from pipelines.cli import (
    avatar,
    demo,
    doctor,
    evaluate,
    export,
    fetch,
    gc,
    hand,
    imports,
    ingest,
    mano,
    materialize,
    mini,
    release,
    schemas,
    simulate,
    train,
    ui,
    verify,
    view,
    withdraw,
)
from pipelines.cli.console import console
from pipelines.logs import configure_logs
from schemas.errors import PalmError
from schemas.version import VERSION

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(hand.app, name="hand")
app.add_typer(mano.app, name="mano")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.command("ingest")(ingest.ingest)
app.command("materialize")(materialize.materialize)
app.add_typer(release.app, name="release")
app.command("verify")(verify.verify)
app.command("withdraw")(withdraw.withdraw)
app.command("gc")(gc.gc)
app.command("info")(release.info)
app.command("export")(export.export)
app.command("import")(imports.import_)
app.command("mini")(mini.mini)
app.command("personalize")(avatar.personalize)
app.command("relight")(avatar.relight)
app.command("view")(view.view)
app.command("fetch")(fetch.fetch)
app.command("schemas")(schemas.schemas)
app.command("ui")(ui.ui)
app.command("doctor")(doctor.doctor)


@app.callback()
def root(
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON lines.")] = False,
) -> None:
    """PALM: raw 3dMD hand captures in, a versioned and verified dataset out."""
    configure_logs(verbose=verbose, json_lines=json_logs)


@app.command()
def version() -> None:
    """Print the version of the code."""
    console.print(VERSION)


def main() -> None:
    """Run the command; an expected error is one message and exit code 1, not a traceback."""
    try:
        app()
    except PalmError as error:
        console.print(f"[bold red]palm:[/] {type(error).__name__}: ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
