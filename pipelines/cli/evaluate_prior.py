"""`palm evaluate prior`: a trained prior's figures against the truth of a simulation."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import progress_bar

if TYPE_CHECKING:
    from schemas.settings import Settings

STAGE = "prior"
_BARS: dict[str, tuple[str, float]] = {
    "psnr_fg_train": ("at least", 26.0),
    "normal_deg_mean": ("at most", 12.0),
    "silhouette_iou_mean": ("at least", 0.95),
    "surface_mm_mean": ("at most", 2.0),
    "irradiance_correlation": ("at least", 0.8),
}
_AGAINST: dict[str, tuple[str, str, float]] = {
    "psnr_fg": ("at least", "psnr_fg_baked", 2.0),
    "psnr_fg_new_pose": ("at least", "psnr_fg_new_pose_baked", 1.5),
    "psnr_fg_pbr": ("at least", "psnr_fg", -2.0),
    "albedo_error": ("at most", "albedo_error_input", 0.0),
}
"""Figures whose bar is another figure, and a margin."""


def prior(
    workspace: Annotated[Path, typer.Argument(help="The workspace that holds the trained prior.")],
    *,
    truth: Annotated[
        Path | None, typer.Option(help="The session's truth folder; beside the workspace by default.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="The version that the prior learned from, or where all are; as set by default.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Score the prior of this version; of the highest by default.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A prior's file, instead of the workspace's.")] = None,
    views: Annotated[
        Path | None, typer.Option(help="Where true views are kept once rendered; truth_views beside truth by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that render true views.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Figures of a prior on a held-out camera and held-out gestures, beside colours baked on the registered mesh."""
    import palm_data
    from palm_data.hand.model import load_hand_model
    from palm_model.prior.prior import Prior
    from pipelines.cli.evaluate import show_figures
    from pipelines.prior_scoring import Truth, score_prior
    from schemas.prior_evaluation import PriorEvaluationSettings
    from schemas.settings import load_settings

    settings = load_settings(workspace=workspace)
    trained = Prior.load(checkpoint or _trained(settings, version), load_hand_model(settings.hand_model))
    opened = palm_data.open_release(release or settings.releases_place, trained.card.release_version)
    folder = truth or settings.workspace.absolute().parent / "truth"
    kept = Truth(folder, views or folder.absolute().parent / "truth_views", threads)
    with progress_bar() as bar:
        task = bar.add_task("choosing views")
        figures = score_prior(
            trained, opened, kept, PriorEvaluationSettings(),
            progress=lambda name, done, total: bar.update(task, completed=done, total=total, description=name),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
        return
    known = {name: value for name, value in figures.items() if value is not None}
    show_figures(known, as_json=False, bars=prior_bars(known))


def prior_bars(figures: dict[str, float | int | str]) -> dict[str, tuple[str, float]]:
    """What each figure should reach, where there is a bar for it."""
    bars = dict(_BARS)
    for name, (relation, other, margin) in _AGAINST.items():
        limit = figures.get(other)
        if isinstance(limit, (int, float)):
            bars[name] = (relation, limit + margin)
    return bars


def _trained(settings: "Settings", version: str | None) -> Path:
    """The folder of the workspace's prior.

    Raises:
        StoreError: if it holds none, or none of that version.
    """
    from palm_data.store.workspace import Workspace

    place = Workspace(settings.workspace)
    keys = sorted(place.keys(STAGE), key=lambda key: tuple(map(int, key.split("."))))
    return place.output(STAGE, version or (keys[-1] if keys else "any version"))
