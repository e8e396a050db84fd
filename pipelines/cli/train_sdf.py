"""`palm train sdf`: the SDF of hands from which the training of a prior starts."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console, progress_bar, show_rows
from schemas.settings import load_settings


def sdf(
    *,
    out: Annotated[Path, typer.Option(help="The .safetensors to write; a picture goes beside it.")],
    preset: Annotated[str, typer.Option(help="Sizes of the prior that will start from it: tiny, cpu, gpu or paper.")],
    hand_model: Annotated[
        Path | None,
        typer.Option(help="A hand model's .npz; the one in force by default (PALM_HAND_MODEL, else the shipped one)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the preset's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Other optimiser steps than the preset's.")] = None,
) -> None:
    """Pre-train the geometry network on the hand model's surfaces of random shapes; no release is needed."""
    from palm_data.hand.model import load_hand_model
    from palm_data.report.pictures import write_png
    from palm_model.prior.build import build_palm_net
    from palm_model.prior.presets import preset as preset_named
    from palm_model.prior.pretrained import pretrained_card, write_pretrained
    from palm_model.prior.pretraining import learned_sdf, pretrain_geometry
    from palm_model.prior.pretraining_picture import pretraining_picture

    prior = preset_named(preset)
    changed = {"seed": seed, "steps": steps}
    settings = prior.pretraining.model_copy(update={name: one for name, one in changed.items() if one is not None})
    network_seed = prior.seed if seed is None else seed
    model = load_hand_model(hand_model or load_settings().hand_model)
    network = build_palm_net(prior.model_copy(update={"seed": network_seed}), model, 1)
    with progress_bar() as bar:
        task = bar.add_task(f"{settings.shapes} hands", total=settings.steps)
        figures = pretrain_geometry(
            network,
            model,
            settings,
            progress=lambda done, total, loss: bar.update(
                task, completed=done, total=total, description=f"pre-training, loss {loss:.5f}"
            ),
        )
    write_pretrained(out, network, pretrained_card(network, model, settings, figures, network_seed=network_seed))
    picture = out.with_suffix(".png")
    write_png(picture, pretraining_picture(learned_sdf(network, settings), model))
    show_rows(figures)
    for path in (out, picture):
        console.print(str(path), highlight=False, soft_wrap=True)
