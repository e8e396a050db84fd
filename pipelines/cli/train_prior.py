"""`palm train prior`: the hand prior, from a release."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.cli.console import console, progress_bar, show_rows
from schemas.errors import SettingsError
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.store.workspace import StageReport
    from palm_model.prior.train import Report
    from schemas.prior import PriorSettings


def prior(
    release: Annotated[str, typer.Argument(help="Where all versions are, or one version: a folder or a URL.")],
    *,
    version: Annotated[str | None, typer.Option(help="Learn from this version; the highest by default.")] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="tiny: minutes on two cores, to see that all works; cpu: a usable prior on two cores; gpu: one GPU; "
            "paper: the published sizes."
        ),
    ] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(help="Write the prior to this folder, without a workspace: a release is all that is needed."),
    ] = None,
    workspace: Annotated[
        Path | None, typer.Option(help="Write to this workspace, as the asset `prior` does; as set by default.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Go on from the state of a killed training of the same release and settings; --no-resume removes it."
        ),
    ] = True,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; in tiny and cpu the schedules are as long.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Everything random follows from it.")] = None,
    hold_out_camera: Annotated[
        list[str] | None, typer.Option(help="Never learn from this camera; may be given several times.")
    ] = None,
    hold_out_gesture: Annotated[
        list[str] | None, typer.Option(help="Never learn from this gesture; may be given several times.")
    ] = None,
    hold_out_subject: Annotated[
        list[str] | None, typer.Option(help="Never learn from this person; may be given several times.")
    ] = None,
    pbr: Annotated[
        bool, typer.Option("--pbr", help="Also train the branch that shades material by light; gpu and paper have it.")
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out this term of the loss, such as normal; several times.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value for a setting: training.table_rate=0.01; several times."),
    ] = None,
    least_subjects: Annotated[
        int | None, typer.Option(min=1, help="Refuse a release of fewer people; 2 by default.")
    ] = None,
    hand_model: Annotated[
        Path | None, typer.Option(help="The hand model's .npz that the hands were fitted with; as set by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (a GPU, if there is one), cpu or cuda.")] = "auto",
) -> None:
    """Train a prior of hands on a release with labels. A killed training goes on where it was when run again.

    The same training that is finished already is not done again. Under torchrun all processes share every step:
    torchrun --nproc-per-node 2 -m pipelines.cli.main train prior RELEASE --out DIR. Curves of a training, while it runs
    too: tensorboard --logdir on the folder that is named at its start.
    """
    import palm_data
    from palm_data.hand.model import load_hand_model
    from palm_data.store.workspace import Workspace
    from palm_model.prior.launch import chosen_device, is_first_process, processes
    from palm_model.prior.stage import make_prior, make_prior_in, states_folder
    from pipelines.prior_settings import prior_settings

    if out is not None and workspace is not None:
        raise SettingsError("--out: expected it or --workspace, found both.")
    settings = prior_settings(
        preset,
        steps=steps,
        least_subjects=least_subjects,
        held_out={"cameras": hold_out_camera, "gestures": hold_out_gesture, "subjects": hold_out_subject},
        seed=seed,
        pbr=pbr,
        without=without or (),
        changes=set_ or (),
    )
    told = load_settings(workspace=workspace)
    model, place = load_hand_model(hand_model or told.hand_model), chosen_device(device)
    opened, talks = palm_data.open_release(release, version), is_first_process()
    into = Workspace(told.workspace if out is None else out / ".training")
    with processes(place), _bar(settings, shown=talks) as (progress, pretraining):
        if talks:
            Console(stderr=True).print(
                f"curves: {states_folder(into) / 'tensorboard'}", highlight=False, soft_wrap=True
            )
        options: dict[str, Any] = {
            "model": model, "device": place, "resume": resume, "progress": progress, "pretraining": pretraining
        }  # fmt: skip
        if out is None:
            report = make_prior(opened, into, settings, **options)
        else:
            report = make_prior_in(out, opened, settings, **options)
    if report is not None:
        _show(report, out or into.output(report.stage, report.key))


@contextmanager
def _bar(
    settings: "PriorSettings", *, shown: bool
) -> Iterator[tuple[Callable[["Report"], None], Callable[[int, int, float], None]]]:
    """A bar on standard error, with the loss of the last step and the last PSNR on the views set aside.

    One of its own while the geometry is pre-trained.
    """
    seen = ""
    with progress_bar(shown=shown) as bar:
        task = bar.add_task("prior", total=settings.training.steps)

        def step(report: "Report") -> None:
            nonlocal seen
            if report.validation_psnr is not None:
                seen = f", validation {report.validation_psnr:.2f} dB"
            bar.update(task, completed=report.step, description=f"prior, loss {report.losses['total']:.3f}{seen}")

        first = bar.add_task("hands", total=settings.pretraining.steps, visible=False)

        def hands(done: int, total: int, loss: float) -> None:
            bar.update(first, completed=done, total=total, visible=done < total, description=f"hands, loss {loss:.4f}")

        yield step, hands


def _show(report: "StageReport", folder: Path) -> None:
    show_rows({name.replace("_", " "): value for name, value in report.figures.items()})
    console.print("trained" if report.ran else "unchanged: the same prior was there already")
    console.print(str(folder / "prior.safetensors"), highlight=False, soft_wrap=True)
