"""`palm train`: the networks that the factory needs, from its users' own annotations, and the prior that it is for."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipelines.cli import train_prior, train_sdf
from pipelines.cli.console import console, progress_bar, show_rows
from schemas.errors import SettingsError
from schemas.settings import Settings, load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="Train networks: the keypoint detector on your own annotations, the hand prior on a release.",
)

_Raw = Annotated[list[Path] | None, typer.Option(help="Raw sessions with annotations; may be given several times.")]
_Workspace = Annotated[
    list[Path] | None, typer.Option(help="Where their stages wrote, one for each --raw and in the same order.")
]


@app.callback()
def group() -> None:
    """Train networks: the keypoint detector on your own annotations, the hand prior on a release."""


@app.command("detector")
def detector(
    *,
    raw: _Raw = None,
    workspace: _Workspace = None,
    start: Annotated[Path | None, typer.Option(help="Go on from this detector; ImageNet's encoder by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    release: Annotated[
        list[Path] | None,
        typer.Option(help="Folders of versions with joints in space, imported or our own; may be given several times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also copy the detector to this folder, with card and picture.")
    ] = None,
) -> None:
    """Train the keypoint detector on annotated images. A killed training goes on where it was when run again.

    The sessions must have been ingested and their calibrations imported. With --release and without --raw, only the releases'
    images teach, with their joints projected into them. The first workspace's asset `detector` tunes the result to that
    workspace's annotations and puts it in force.
    """
    import palm_data
    from palm_data.store.workspace import Workspace
    from palm_model.detector.checkpoint import KEY, TRAINING
    from palm_model.detector.dataset import Session, load_examples, merged_examples
    from palm_model.detector.released import released_examples
    from palm_model.detector.stage import make_detector

    settings = _settings(steps)
    raws, places = raw or ([] if release else [settings.raw]), workspace or [settings.workspace]
    if raws and len(raws) != len(places):
        raise SettingsError(f"--workspace: expected one for each --raw ({len(raws)}), found {len(places)}.")
    sessions = [Session(one, Workspace(other)) for one, other in zip(raws, places, strict=bool(raws))]
    parts = [load_examples(sessions, settings)] if sessions else []
    parts += [released_examples(palm_data.open_release(folder), settings) for folder in release or []]
    place = Workspace(places[0])
    with progress_bar() as bar:
        task = bar.add_task("training", total=settings.detector.training.steps)
        report = make_detector(
            merged_examples(parts),
            place,
            settings,
            start=start,
            progress=lambda done, total, loss: bar.update(
                task, completed=done, total=total, description=f"training, loss {loss:.3f}"
            ),
        )
    show_rows(report.figures)
    folder = place.output(TRAINING, KEY)
    console.print("trained" if report.ran else "unchanged: the same detector was there already")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            shutil.copyfile(path, out / path.name)
    console.print(str(out or folder), highlight=False, soft_wrap=True)


app.command("prior")(train_prior.prior)
app.command("sdf")(train_sdf.sdf)


@app.command("annotate-next")
def annotate_next(
    *,
    count: Annotated[int, typer.Option(min=1, help="How many images to name.")] = 20,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages wrote.")] = None,
) -> None:
    """Name the images that would teach the detector most: where it and the other views contradict each other."""
    from palm_data.store.workspace import Workspace
    from palm_data.triangulation.keypoints import KEYPOINTS_3D
    from palm_model.detector.annotations import read_annotations
    from palm_model.detector.selection import images_to_annotate

    settings = load_settings(raw=raw, workspace=workspace)
    place = Workspace(settings.workspace)
    annotated = frozenset(item.path for item in read_annotations(settings.raw))
    table = Table("image", "disagreement", "joints missing")
    for item in images_to_annotate(place, place.keys(KEYPOINTS_3D), count, annotated):
        table.add_row(item.path, f"{100 * item.disagreement:.1f} %", str(item.joints_missing))
    console.print(table)


def _settings(steps: int | None) -> Settings:
    settings = load_settings()
    if steps is None:
        return settings
    training = settings.detector.training.model_copy(update={"steps": steps})
    return settings.model_copy(update={"detector": settings.detector.model_copy(update={"training": training})})
