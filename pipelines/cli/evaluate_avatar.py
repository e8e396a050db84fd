"""`palm evaluate avatar`: an avatar's figures against the truth of a simulation, beside the prior without personalisation."""

import json
from pathlib import Path
from typing import Annotated

import typer

_AGAINST = {"psnr_fg": "psnr_fg_unpersonalised", "psnr_fg_new_camera": "psnr_fg_new_camera_unpersonalised"}


def avatar(
    workspace: Annotated[Path, typer.Argument(help="The workspace that holds avatar and prior.")],
    *,
    truth: Annotated[
        Path | None, typer.Option(help="The session's truth folder; beside the workspace by default.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(help="Where the avatar's version is, or that version; as set by default.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Which avatar, like 0.2.0-0004-1-MCU_02; the last by default.")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="The prior that it was made from; the workspace's by default.")
    ] = None,
    views: Annotated[
        Path | None, typer.Option(help="Where true views are kept once rendered; truth_views beside truth by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that render true views.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """PSNR of an avatar of a released view, in its photograph's camera and in two others, and of the prior's mean codes."""
    import palm_data
    from palm_data.hand.model import load_hand_model
    from palm_data.store.workspace import Workspace
    from palm_model.avatar.stage import AVATAR, ViewInput
    from palm_model.prior.stage import STAGE as PRIOR
    from pipelines.avatar_scoring import score_avatar
    from pipelines.cli.evaluate import show_figures
    from pipelines.prior_scoring import Truth
    from schemas.errors import StoreError
    from schemas.settings import load_settings

    settings = load_settings(workspace=workspace)
    place = Workspace(settings.workspace)
    known = sorted(place.keys(AVATAR))
    if not known and key is None:
        raise StoreError(
            f"{workspace}: expected an avatar, found none. Make one with the asset `avatar`, or palm demo."
        )
    view = ViewInput.of(key or known[-1])
    folder = truth or settings.workspace.absolute().parent / "truth"
    score = score_avatar(
        place.output(AVATAR, view.key),
        prior or place.output(PRIOR, view.version),
        palm_data.open_release(release or settings.releases_place, view.version),
        Truth(folder, views or folder.absolute().parent / "truth_views", threads),
        model=load_hand_model(settings.hand_model),
    )
    if as_json:
        typer.echo(json.dumps(score.figures, indent=1))
        return
    bars = {
        name: ("at least", float(score.figures[other])) for name, other in _AGAINST.items() if other in score.figures
    }
    show_figures(score.figures, as_json=False, bars=bars)
