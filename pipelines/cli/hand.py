"""`palm hand`: the hand model that is shipped, and how it is made."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console

app = typer.Typer(no_args_is_help=True, help="The hand model: build the shipped one, describe any.")


@app.callback()
def group() -> None:
    """The hand model: build the shipped one, describe any."""


@app.command("build")
def build(out: Annotated[Path, typer.Argument(help="The .npz to write.")]) -> None:
    """Build the stand-in hand from the MakeHuman and ANSUR II files that come with PALM."""
    from palm_data.hand.model import load_hand_model
    from palm_data.hand.standin.build import build_standin, write_model

    with console.status("Building the hand: 600 people, 1,000 poses; about 20 seconds"):
        standin = build_standin()
        write_model(out, standin.arrays)
    for name, value in standin.figures.items():
        console.print(f"{name.replace('_', ' ')}: {value:.4g}", highlight=False)
    shipped = load_hand_model()
    same = (
        "the same bytes as the shipped model"
        if load_hand_model(out).sha256 == shipped.sha256
        else "not the shipped model"
    )
    console.print(f"{out}: {same}", soft_wrap=True)


@app.command("info")
def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A hand model's .npz; if none is named, the one in force (PALM_HAND_MODEL, else the shipped one)."
        ),
    ] = None,
) -> None:
    """Check a hand model's file and say what is in it."""
    from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
    from schemas.settings import load_settings

    path = path or load_settings().hand_model
    model = load_hand_model(path)
    lines = {
        "file": path or SHIPPED_MODEL,
        "model": f"{model.model_id}, {model.side} hand",
        "sha256": model.sha256,
        "mesh": f"{len(model.v_template)} vertices, {len(model.faces)} faces, wrist rim of {len(model.rim_vertices())}",
        "tips": ", ".join(map(str, model.tip_vertex_ids)),
        "texture": "none" if model.vt is None else f"{len(model.vt)} coordinates",
        "convention": "MANO axis-angle, flat_hand_mean = False, 10 shape coefficients, metres",
    }
    for name, value in lines.items():
        console.print(f"{name:>10}  {value}", highlight=False, soft_wrap=True)
