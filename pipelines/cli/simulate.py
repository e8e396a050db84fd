"""`palm simulate`: a raw capture session, physically rendered, with its truth kept apart."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipelines.cli.console import console

if TYPE_CHECKING:
    from palm_data.simulate.session import Estimate

INTERRUPTED = 130


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder that gets raw/ and truth/.")],
    *,
    subjects: Annotated[int, typer.Option(min=1, help="People.")] = 4,
    gestures: Annotated[int, typer.Option(min=1, help="Gestures each of them holds.")] = 5,
    scale: Annotated[float, typer.Option(help="Image side as a share of 2448×2048.")] = 0.125,
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 7,
    rgb_spp: Annotated[int, typer.Option(min=1, help="Light paths a pixel, colour cameras.")] = 128,
    mono_spp: Annotated[int, typer.Option(min=1, help="Light paths a pixel, mono cameras.")] = 32,
    mono: Annotated[bool, typer.Option("--mono/--no-mono", help="Whether the mono cameras take images.")] = True,
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Add people with faulty files: every defect that rigs, disks and people make, listed in "
            "truth/faults.json. Everybody else's files stay as they are; a finished session gets them too.",
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the session does not depend on it.")] = os.cpu_count()
    or 1,
) -> None:
    """Simulate a raw 3dMD session as a rig would deliver it. Interrupted, it goes on where it was."""
    from pydantic import ValidationError

    from palm_data.simulate.options import SimulateOptions
    from palm_data.simulate.session import simulate_session
    from schemas.errors import SettingsError

    try:
        options = SimulateOptions(
            subjects=subjects,
            gestures=gestures,
            scale=scale,
            seed=seed,
            rgb_spp=rgb_spp,
            mono_spp=mono_spp,
            mono=mono,
            faults=faults,
        )
    except ValidationError as error:
        problems = "; ".join(f"--{item['loc'][0]}: {item['msg']}, found {item['input']}" for item in error.errors())
        raise SettingsError(f"palm simulate: {problems}.") from None
    start, used = time.perf_counter(), _cpu_seconds()
    columns = (
        SpinnerColumn(), TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("timing a view", total=None)
        try:
            simulate_session(
                out,
                options,
                jobs=jobs,
                progress=lambda label, done, total: bar.update(task, description=label, completed=done, total=total),
                announce=lambda estimate: _announce(estimate, jobs),
            )
        except KeyboardInterrupt:
            bar.stop()
            console.print(f"Interrupted. What is finished is kept; the same command goes on: palm simulate {out} …")
            raise typer.Exit(INTERRUPTED) from None
        bar.update(task, visible=False)
    minutes = (_cpu_seconds() - used) / 60
    console.print(
        f"{out / 'raw'} (what the rig delivers), {out / 'truth'} (what is true of it): {subjects} people × {gestures} "
        f"gestures. {minutes:.1f} CPU-minutes, {time.perf_counter() - start:.0f} s.",
        highlight=False,
    )
    if faults:
        _tell_faults(out)


def _announce(estimate: "Estimate", jobs: int) -> None:
    console.print(
        f"{estimate.captures} captures to make: about {estimate.cpu_minutes:.1f} CPU-minutes, "
        f"{estimate.wall_minutes:.1f} minutes with {jobs} jobs on idle cores.",
        highlight=False,
    )


def _tell_faults(out: Path) -> None:
    from palm_data.simulate.faults.record import FAULTS_FILE, read_faults

    planted = read_faults(out / "truth")
    if planted is None:
        return
    ids = [person.subject_id for person in planted.people]
    console.print(
        f"{len(planted.faults)} faults in the files of {len(ids)} more people, {ids[0]} to {ids[-1]}: "
        f"{out / 'truth' / FAULTS_FILE}.",
        highlight=False,
    )
    for name, reason in planted.left_out.items():
        console.print(f"Left out: {name} ({reason}).", highlight=False)


def _cpu_seconds() -> float:
    """CPU time of this process and of its finished workers."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
