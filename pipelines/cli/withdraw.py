"""`palm withdraw`: take a person out of all that follows, and say what has to be erased where."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import console
from pipelines.cli.release import bar
from schemas.errors import SettingsError
from schemas.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from palm_data.store.withdraw import Withdrawal
    from schemas.withdrawal import LocalItem


def withdraw(
    subject: Annotated[str, typer.Argument(help="The person's number, four digits.")],
    *,
    reason: Annotated[str, typer.Option(help="Kept beside the releases; readable by whoever reads those.")] = "",
    erase: Annotated[bool, typer.Option("--erase", help="Also erase what is ours, old versions included.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    models: Annotated[list[Path] | None, typer.Option(help="Folder of trained networks to look through.")] = None,
    reinstate: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The person agreed anew on this day: lift the withdrawal."),
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages wrote.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Take a person out: no later version can have them, and the latest gets a successor without them, now.

    Older versions are marked, readers leave the person out of them, and lists say what to erase where. Done again, it
    finishes what was not finished.
    """
    from palm_data.store.withdraw import erase as erase_all
    from palm_data.store.withdraw import withdraw as take_out
    from palm_data.store.workspace import Workspace

    if len(subject) != 4 or not (subject.isascii() and subject.isdigit()):
        raise SettingsError(f"SUBJECT: expected four digits, found {subject!r}.")
    settings = load_settings(raw=raw, workspace=workspace, releases=releases)
    if reinstate is not None:
        _reinstate(subject, reinstate, reason, settings)
        return
    place = Workspace(settings.workspace)
    with bar("publishing without them") as progress:
        done = take_out(subject, place, settings, reason=reason, models=models or (), progress=progress)
    if not as_json:
        _print(done, settings)
    if erase and (yes or _sure(done)):
        done = erase_all(done, place, settings)
        if not as_json:
            _print_erased(done)
    if as_json:
        typer.echo(done.model_dump_json(indent=1))


def _reinstate(subject: str, day: datetime, reason: str, settings: Settings) -> None:
    from palm_data.store.places import place_at
    from palm_data.store.withdrawals import reinstate

    event = reinstate(place_at(settings.releases), subject, day.date(), reason=reason)
    console.print(
        f"{subject} agreed anew on {event.consent_date}: they may enter the next version, if subjects.csv says granted. "
        "Marks on older versions stay.", highlight=False,
    )  # fmt: skip


def _sure(done: "Withdrawal") -> bool:
    versions = ", ".join(done.marked) or "none"
    return typer.confirm(
        f"Erase stage outputs that hold {done.subject_id}, and these published versions, whole: {versions}? "
        "Nobody can bring them back.", err=True,
    )  # fmt: skip


def _print(done: "Withdrawal", settings: Settings) -> None:
    subject = done.subject_id
    if not done.known:
        console.print(f"[yellow]Nothing of {subject} was found here or in any version; check the number.[/]")
    console.print(f"[bold]{subject} is withdrawn[/]: no version can have them from now on.", highlight=False)
    if done.published:
        console.print(f"Published without them: {done.published}", highlight=False)
    if done.marked:
        console.print(f"Marked, as they show them: {', '.join(done.marked)}", highlight=False)
    console.print("[bold]To erase, in every copy of a version[/]")
    for version in done.released.versions:
        about = [one for one in version.files if one.holds == "about"]
        contains = [one.path for one in version.files if one.holds == "contains"]
        size = f"{sum(one.bytes for one in about) / 1e6:.1f} MB"
        text = f"  {version.version}: {len(about)} files about them ({size}); them among others: {', '.join(contains)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print("[bold]To erase on this machine[/]")
    _print_local(done.local.items)
    if done.released.versions:
        path = f"{settings.releases_place}/status/erasure-{subject}.json"
        console.print(f"Files of versions, for whoever has copies: {path}", highlight=False, soft_wrap=True)
    local = settings.workspace.absolute() / "erasures" / f"{subject}.json"
    console.print(f"This machine's: {local}", highlight=False, soft_wrap=True)


def _print_local(items: "Sequence[LocalItem]") -> None:
    """One line an item; stage outputs that are only theirs are added up."""
    theirs = [item for item in items if item.kind == "stage" and item.holds == "about"]
    for item in items:
        if item not in theirs:
            text = f"  {item.path} ({item.kind}, {item.bytes / 1e6:.1f} MB, {item.holds}): {item.remedy}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    if theirs:
        size = f"{sum(item.bytes for item in theirs) / 1e6:.1f} MB"
        console.print(f"  {len(theirs)} stage outputs of theirs ({size}): {theirs[0].remedy}", highlight=False)


def _print_erased(done: "Withdrawal") -> None:
    size = sum(item.bytes for item in done.local.items if item.erased) / 1e6
    console.print(
        f"[bold]Erased[/] {sum(item.erased for item in done.local.items)} items, {size:.1f} MB.", highlight=False
    )
    for item in done.local.items:
        if not item.erased:
            console.print(f"  left to you: {item.path}: {item.remedy}", markup=False, highlight=False, soft_wrap=True)
