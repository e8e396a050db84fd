"""`palm mini`: a small release made from a release."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console
from schemas.settings import load_settings


def mini(
    release: Annotated[
        str | None,
        typer.Argument(help="The folder of all releases, or of one version; that of the settings by default."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder to publish the small release in.")] = Path("mini"),
    version: Annotated[str | None, typer.Option(help="The highest published one by default.")] = None,
    max_mb: Annotated[float, typer.Option(help="What all its files may take together, MB.", min=0.1)] = 30.0,
    captures: Annotated[int, typer.Option(help="Captures of each person at most.", min=1)] = 4,
) -> None:
    """Make a small release to try things with: one person of each split, as many captures as fit."""
    import palm_data
    from palm_data.mini.publish import publish_mini

    settings = load_settings()
    opened = palm_data.open_release(settings.releases if release is None else release, version)
    manifest = publish_mini(opened, out, max_bytes=round(max_mb * 1e6), captures=captures)
    people = ", ".join(f"{subject} ({split})" for split, ids in manifest.splits.items() for subject in ids)
    counts = manifest.counts
    console.print(
        f"{out}/{manifest.version}: {counts['captures']} captures of {people}, {counts['bytes'] / 1e6:.1f} MB",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(f"Open it with: palm_data.open_release({str(out)!r})", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Look at it with: palm view {out}", markup=False, highlight=False, soft_wrap=True)
