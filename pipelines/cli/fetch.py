"""`palm fetch`: copy a version here, or parts of it; go on where it stopped; mend what is damaged."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from pipelines.cli.console import console
from schemas.errors import StoreError
from schemas.settings import Settings, load_settings

if TYPE_CHECKING:
    from palm_data.store.fetch import FetchPlan
    from palm_data.store.files import Files
    from schemas.release import FileRow

_SUBJECTS_SHOWN = 30


def fetch(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A version, or its URL; the highest version by default. With --repair also the copy's own folder."
        ),
    ] = None,
    *,
    source: Annotated[
        str | None, typer.Option("--from", help="Where versions are: a URL or a folder; for --repair, as last time.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for releases; that of the settings by default.")] = None,
    subjects: Annotated[
        str | None, typer.Option(help="Only these subjects, such as 0001,0002; all by default.")
    ] = None,
    modalities: Annotated[str | None, typer.Option(help="Only these, such as rgb,mask; all by default.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only these resolutions, such as half; all by default.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and end.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch again what is damaged or missing in a copy.")] = False,
) -> None:
    """Copy a version, or parts of it, from a store, a web server or a folder.

    Sizes are printed before anything is fetched. What was fetched already is not fetched again; every file is checked.
    """
    from palm_data.store import fetch as fetching
    from palm_data.store.fetched import Selection
    from palm_data.store.withdrawals import status_text

    settings = load_settings()
    if repair and to is None and target is not None and Path(target).is_dir():
        to, target = Path(target).absolute().parent, Path(target).absolute().name
    folder = to or settings.releases_folder
    files = _source(target, source, folder, settings, repair=repair)
    if repair and (subjects or modalities or tier):
        raise StoreError("--repair: expected no selection beside it, found one: a copy is mended as it was fetched.")
    chosen = Selection(subjects=_list(subjects), modalities=_list(modalities), tiers=_list(tier))
    plan = (fetching.plan_repair if repair else fetching.plan_fetch)(files, folder, chosen)
    _print_plan(plan)
    if plan.status.withdrawn:
        console.print(
            f"[yellow]{status_text(plan.status)}[/] Their files are not fetched.", highlight=False, soft_wrap=True
        )
    if dry_run:
        return
    if not yes and plan.missing:
        typer.confirm(f"Fetch {plan.missing_bytes / 1e6:.1f} MB into {plan.folder}?", abort=True)
    with _bar("checking" if repair else "fetching") as progress:
        copied = fetching.fetch(plan, progress=progress)
    for path in copied if repair else ():
        console.print(f"mended: {path}", markup=False, highlight=False, soft_wrap=True)
    number = f"{len(copied)} file{'' if len(copied) == 1 else 's'} fetched, {len(plan.rows)} in all"
    console.print(f"[green]{plan.folder}: whole[/] (every byte): {number}.", highlight=False, soft_wrap=True)
    if not repair:
        opening = f'palm_data.open_release("{plan.to}", version="{plan.manifest.version}")'
        console.print(f"[bold]open it with[/]\n  release = {opening}", highlight=False, soft_wrap=True)


def _source(target: str | None, source: str | None, folder: Path, settings: Settings, *, repair: bool) -> "Files":
    """The version to copy from."""
    from palm_data.loader.location import version_files, version_folder
    from palm_data.store.fetched import read_fetched
    from palm_data.store.files import LocalFiles
    from palm_data.store.manifest import is_version

    version = target if target is not None and is_version(target) else None
    if target is not None and version is None:
        return version_files(target)
    if source is None and repair:
        fetched = read_fetched(LocalFiles(folder / version if version else version_folder(folder)))
        if fetched is None:
            raise StoreError(f"{folder}: expected --from, since this copy does not say where it is from; found none.")
        return version_files(fetched.source)
    if source is None:
        if not isinstance(settings.releases, str):
            raise StoreError("--from: expected where to fetch from, a URL or a folder; found none.")
        source = settings.releases
    return version_files(source, version)


def _list(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _print_plan(plan: "FetchPlan") -> None:
    from palm_data.store.file_table import sizes_by

    console.print(f"[bold]{plan.source.name}[/] → [bold]{plan.folder}[/]", highlight=False, soft_wrap=True)
    table = Table("", "files", "MB", "to fetch, MB", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    of_people = [row for row in plan.rows if row.subject_id is not None]
    rest = [row for row in plan.rows if row.subject_id is None]
    for field, rows in (("modality", of_people), ("subject_id", of_people)):
        sizes, missing = sizes_by(rows, field), sizes_by(set(rows) & set(plan.missing), field)
        if field == "subject_id" and len(sizes) > _SUBJECTS_SHOWN:
            continue
        for name, (count, size) in sizes.items():
            label = name if field == "modality" else f"subject {name}"
            table.add_row(label, str(count), _mb(size), _mb(missing.get(name, (0, 0))[1]))
        table.add_section()
    table.add_row(
        "tables, texts", str(len(rest)), _mb(sum(row.bytes for row in rest)), _mb(_size(set(rest) & set(plan.missing)))
    )
    table.add_row("[bold]all[/]", str(len(plan.rows)), _mb(_size(plan.rows)), _mb(plan.missing_bytes))
    console.print(table)
    console.print(f"{plan.free_bytes / 1e9:.1f} GB free on the disk.", highlight=False)


def _size(rows: "Iterable[FileRow]") -> int:
    return sum(row.bytes for row in rows)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f}"


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
