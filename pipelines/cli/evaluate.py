"""`palm evaluate`: figures against the truth of a simulated session. The one command that opens truth."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.cli.console import console
from pipelines.cli.evaluate_avatar import avatar
from pipelines.cli.evaluate_prior import prior

if TYPE_CHECKING:
    from palm_data.store.workspace import Workspace
    from schemas.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Compare what was delivered, or made, with the truth of a simulation.")

ANNOTATION_BARS: dict[str, tuple[str, float]] = {
    "recall_10mm": ("at least", 0.95),
    "coverage": ("at least", 0.97),
    "joint_error_mm_mean": ("at most", 4.0),
    "fit_vs_keypoints_mm_mean": ("at most", 5.3),
    "model_to_scan_mm_mean": ("at most", 2.0),
    "border_share_mean": ("at most", 0.15),
    "model_to_truth_mm_mean": ("at most", 2.5),
    "silhouette_iou_mean": ("at least", 0.93),
}
"""What the paper reports, and what a simulated session must reach."""


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

    show_figures(evaluate_capture(truth, raw), as_json=as_json)


@app.command("annotation")
def annotation(
    workspace: Annotated[Path, typer.Argument(help="The workspace whose labels are scored.")],
    *,
    truth: Annotated[Path, typer.Option(help="The truth folder of the session that it was made of.")],
    raw: Annotated[Path | None, typer.Option(help="The session's raw folder; beside truth by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Figures of joints and fitted hands. People whom the detector saw in training are not scored."""
    from palm_data.evaluate.annotation import evaluate_annotation, refused_subjects
    from palm_data.store.workspace import Workspace
    from schemas.settings import load_settings

    beside = truth.absolute().parent / "raw"
    settings = load_settings(raw=raw or (beside if beside.is_dir() else None), workspace=workspace)
    place = Workspace(settings.workspace)
    seen = _seen_in_training(place, settings)
    refused = refused_subjects(place, seen)
    if refused:
        sys.stderr.write(f"Not scored, because the detector saw them in training: {', '.join(refused)}\n")
    show_figures(evaluate_annotation(place, truth, settings, seen=seen), as_json=as_json, bars=ANNOTATION_BARS)


@app.command("detector")
def detector(
    release: Annotated[str, typer.Argument(help="A version with joints in space: a folder or URL.")],
    *,
    checkpoint: Annotated[Path | None, typer.Option(help="The detector; the one in force by default.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split's people.")] = None,
    where: Annotated[str | None, typer.Option(help='Only these captures: "quality_ok and frame < 9".')] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Figures of a detector on a release, imported or our own. People whom it saw in training are not scored."""
    import torch

    import palm_data
    from palm_data.store.workspace import Workspace
    from palm_model.detector.checkpoint import current_checkpoint, load_checkpoint
    from palm_model.detector.released import evaluate_released, released_examples
    from schemas.settings import load_settings

    settings = load_settings()
    path = checkpoint or current_checkpoint(Workspace(settings.workspace), settings)
    network, card, _ = load_checkpoint(path)
    opened = palm_data.open_release(release, split=split, where=where)  # type: ignore[arg-type]
    examples = released_examples(opened, settings)
    show_figures(evaluate_released(network, card, examples, settings.detector, torch.device("cpu")), as_json=as_json)


app.command("prior")(prior)
app.command("avatar")(avatar)


@app.command("faults")
def faults(
    workspace: Annotated[Path, typer.Argument(help="The workspace that was made of the session.")],
    *,
    truth: Annotated[Path, typer.Option(help="The truth folder of a session simulated with --faults.")],
    raw: Annotated[Path | None, typer.Option(help="The session's raw folder; beside truth by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """What became of every planted fault. Ends with 1 if one was not handled or set aside as it has to be."""
    from palm_data.evaluate.faults import evaluate_faults
    from palm_data.store.workspace import Workspace
    from schemas.settings import load_settings

    beside = truth.absolute().parent / "raw"
    settings = load_settings(raw=raw or (beside if beside.is_dir() else None), workspace=workspace)
    verdicts = evaluate_faults(truth, Workspace(settings.workspace), settings)
    if as_json:
        typer.echo(json.dumps([item.model_dump(mode="json") for item in verdicts], indent=1, ensure_ascii=False))
    else:
        table = Table("Fault", "Subject", "Has to be", "", "Found")
        for item in verdicts:
            planted, passed = item.planted, "yes" if item.passed else "[red]no[/red]"
            table.add_row(planted.fault, planted.subject_id, planted.outcome.value, passed, escape(item.found))
        console.print(table)
    if not all(item.passed for item in verdicts):
        raise typer.Exit(1)


def _seen_in_training(workspace: "Workspace", settings: "Settings") -> frozenset[str]:
    """Digests of everybody on the card of the detector that made the workspace's detections.

    Raises:
        StoreError: if there is no detector, or a subject's detections are not of the one in force.
    """
    from palm_model.detector.checkpoint import checkpoint_sha256, current_checkpoint, read_card
    from schemas.errors import StoreError

    checkpoint = current_checkpoint(workspace, settings)
    expected = checkpoint_sha256(checkpoint)
    for subject_id in workspace.keys("keypoints_2d"):
        found = workspace.require("keypoints_2d", subject_id).inputs.get("detector", "none")
        if found != expected:
            raise StoreError(
                f"keypoints_2d of {subject_id}: inputs.detector: expected {expected} ({checkpoint}), found {found}. "
                "Whom that detector saw in training is not known here. Materialize keypoints_2d again, or name the "
                "detector: PALM_DETECTOR__CHECKPOINT=FILE"
            )
    return frozenset(read_card(checkpoint).subjects)


def show_figures(
    figures: Mapping[str, float | int | str], *, as_json: bool, bars: Mapping[str, tuple[str, float]] | None = None
) -> None:
    """JSON on stdout and nothing else, or a table; with bars, what each figure should reach beside it."""
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    table = Table("Figure", "Value", *(("Wanted", "") if bars else ()))
    for name, value in figures.items():
        cells = [name, f"{value:.4g}" if isinstance(value, float) else str(value)]
        if bars and name in bars and not isinstance(value, str):
            relation, limit = bars[name]
            reached = value >= limit if relation == "at least" else value <= limit
            cells += [f"{relation} {limit:g}", "yes" if reached else "[red]no[/red]"]
        table.add_row(*cells)
    console.print(table)
