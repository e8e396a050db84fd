"""`palm release`, `palm info`: publish a version, say what one holds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

from pipelines.cli import diff
from pipelines.cli.console import console
from schemas.settings import load_settings, without_labels

if TYPE_CHECKING:
    from palm_data.store.files import Files
    from schemas.release import Manifest

_LISTED = 100


class _PublishByDefault(TyperGroup):
    """`palm release 1.2.0` is `palm release publish 1.2.0`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the verb that was left out."""
        known = (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if not args or args[0] in known else ["publish", *args])


app = typer.Typer(
    cls=_PublishByDefault,
    no_args_is_help=True,
    help="Publish a version, or compare two: `palm release 1.2.0`, `palm release diff 1.1.0 1.2.0`.",
)
_Target = Annotated[str | None, typer.Argument(help="A version, or its folder or URL; the highest version by default.")]
_Releases = Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")]


@app.callback()
def group() -> None:
    """Publish a version, or compare two: `palm release 1.2.0`, `palm release diff 1.1.0 1.2.0`."""


@app.command("publish")
def release(
    version: Annotated[str, typer.Argument(help="MAJOR.MINOR.PATCH; published once, never changed.")],
    *,
    parent: Annotated[str | None, typer.Option(help="Carry splits over from this version.")] = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="In a store: clear away what a publisher that died left of this version."),
    ] = False,
    captures_only: Annotated[bool, typer.Option("--captures-only", help="Publish without any label.")] = False,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; consent is read from here.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages wrote.")] = None,
    releases: _Releases = None,
) -> None:
    """Publish every subject that may be released as one immutable version.

    Publishing the same contents again changes nothing; a version with other contents is never replaced. The number has to
    say what changed since the version before: PATCH repackages, MINOR adds, MAJOR changes or removes.
    """
    from palm_data.store.places import place_at
    from palm_data.store.release import publish_release
    from palm_data.store.workspace import Workspace

    settings = load_settings(raw=raw, workspace=workspace, releases=releases)
    if captures_only:
        settings = without_labels(settings)
    with bar("staging") as progress:
        manifest = publish_release(
            version, Workspace(settings.workspace), settings, parent=parent, take_over=take_over, progress=progress
        )
    files = place_at(settings.releases_place).files(manifest.version)
    _print_info(manifest, files.name)
    _print_left_out(files)


app.command("diff")(diff.diff)


def info(target: _Target = None, *, releases: _Releases = None) -> None:
    """Say what a version holds, and how to open it."""
    from palm_data.store.manifest import read_manifest

    files = target_files(target, releases)
    _print_info(read_manifest(files), files.name)


def target_files(target: str | None, releases: str | None) -> "Files":
    """The version that is meant: its folder or URL, or its number where releases are."""
    from palm_data.loader.location import version_files
    from palm_data.store.manifest import is_version

    settings = load_settings(releases=releases)
    if target is None or is_version(target):
        return version_files(settings.releases, target)
    return version_files(target)


@contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes done and bytes in all, on the terminal's error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _print_info(manifest: "Manifest", place: str) -> None:
    from palm_data.store.places import place_at
    from palm_data.store.withdrawals import read_status, status_text

    counts = manifest.counts
    status = read_status(place_at(place.rpartition("/")[0]), manifest.version)
    table = Table("", "", show_header=False, box=None, pad_edge=False)
    rows = {
        "version": f"{manifest.version}, published {manifest.created:%Y-%m-%d %H:%M} UTC by code {manifest.code_version}",
        "parent": manifest.parent or "none",
        "subjects": f"{counts['subjects']} ({counts['subjects_left_out']} left out)",
        "captures": f"{counts['captures']} ({counts['captures_quarantined']} in quarantine)",
        "images": str(counts["images"]) + (f" and {counts['mono_images']} mono" if "mono_images" in counts else ""),
        "tiers": str(manifest.settings.get("shard.tiers", "full")).replace(" ", ", "),
        "splits": ", ".join(f"{name} {len(subjects)}" for name, subjects in manifest.splits.items()),
        "withdrawn": ", ".join(manifest.withdrawn) or "nobody since the parent",
        **({"status": status_text(status)} if status.withdrawn else {}),
        "size": f"{counts['bytes'] / 1e6:.1f} MB in {counts['files']} files",
        "merkle root": manifest.merkle_root,
        "path": place,
    }
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", escape(value))
    console.print(table, soft_wrap=True)
    opening = f'palm_data.open_release("{place.rpartition("/")[0]}", version="{manifest.version}")'
    console.print("[bold]open it with[/]")
    console.print(f"  import palm_data\n  release = {opening}", markup=False, highlight=False, soft_wrap=True)


def _print_left_out(files: "Files") -> None:
    told = json.loads(files.read("report/left_out.json"))
    subjects, withdrawn = told["subjects"], told.get("consent_withdrawn", 0)
    if subjects or withdrawn:
        console.print("[bold]left out[/]")
    if withdrawn:
        console.print(f"  {withdrawn} whose consent is withdrawn")
    for one in subjects[:_LISTED]:
        text = f"  {one['subject_id']}: {'; '.join(one['reasons'])}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if len(subjects) > _LISTED:
        console.print(f"  and {len(subjects) - _LISTED} more, in report/left_out.json.")
