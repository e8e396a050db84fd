"""`palm mano`: bring your own licensed hand model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console

app = typer.Typer(no_args_is_help=True, help="Bring your own licensed MANO file.")


class Side(StrEnum):
    """Which hand the file is of."""

    RIGHT = "right"
    LEFT = "left"


@app.callback()
def group() -> None:
    """Bring your own licensed MANO file. Its licence allows non-commercial use only."""


@app.command("import")
def import_file(
    source: Annotated[Path, typer.Argument(help="MANO_RIGHT.pkl, MANO_LEFT.pkl, or an .npz with the same arrays.")],
    out: Annotated[Path, typer.Option(help="The checked .npz to write.")] = Path("mano_right.npz"),
    side: Annotated[Side, typer.Option(help="Which hand it is; never guessed from the file name.")] = Side.RIGHT,
    tips: Annotated[
        str, typer.Option(help="Tip vertices thumb,index,middle,ring,pinky; default: smplx's set for MANO.")
    ] = "",
) -> None:
    """Turn a MANO file into a checked .npz; nothing in it is ever executed."""
    from palm_data.hand.mano_import import import_mano
    from schemas.errors import SettingsError

    try:
        ids = tuple(int(part) for part in tips.split(",")) if tips else None
        if ids is not None and len(ids) != 5:
            raise ValueError
    except ValueError:
        raise SettingsError(f"--tips: expected five whole numbers with commas between, found {tips!r}.") from None
    report = import_mano(source, out, side=side.value, tip_vertex_ids=ids)
    console.print(
        f"{report.path}: {report.side} hand, {report.vertices} vertices, {report.faces} faces, sha256 {report.sha256}"
    )
    if report.mended_shape_sign:
        console.print(
            "The shape directions had the right hand's sign along x, a known defect of left-hand files: mended."
        )
