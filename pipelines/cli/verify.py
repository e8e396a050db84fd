"""`palm verify`: a version's files against what was published."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.cli.console import console
from pipelines.cli.release import bar, chosen_folder
from schemas.errors import IntegrityError
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.store.verify import VerifyReport

_LISTED = 100


def verify(
    target: Annotated[
        str | None, typer.Argument(help="A version, or its folder; the highest version by default.")
    ] = None,
    *,
    deep: Annotated[
        bool, typer.Option("--deep/--shallow", help="Read every byte, or look at presence and sizes only.")
    ] = True,
    every: Annotated[bool, typer.Option("--all", help="Every published version.")] = False,
    releases: Annotated[Path | None, typer.Option(help="Where releases are published.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Compare a version with what was published. Ends with 1 if anything is damaged, missing, truncated or too much.

    People of it who withdrew are named; that is no damage.
    """
    from palm_data.store.verify import verify_release

    reports: list[tuple[Path, VerifyReport, str]] = []
    for folder in _all_folders(releases) if every else [chosen_folder(target, releases)]:
        with bar(f"verifying {folder.name}") as progress:
            report = verify_release(folder, deep=deep, progress=progress)
        reports.append((folder, *_with_status(report, folder)))
    if as_json:
        told = [
            {"path": str(folder), "passed": report.passed, **report.model_dump(mode="json"), "status": status}
            for folder, report, status in reports
        ]
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        for folder, report, status in reports:
            _print(folder, report, status)
    if not all(report.passed for _, report, _ in reports):
        raise typer.Exit(1)


def _all_folders(releases: Path | None) -> list[Path]:
    from palm_data.store.manifest import versions

    place = load_settings(releases=releases).releases.absolute()
    return [place / version for version in versions(place)] or [chosen_folder(None, releases)]


def _with_status(report: "VerifyReport", folder: Path) -> "tuple[VerifyReport, str]":
    """The report, with a problem more if the version's status cannot be read; and the status in words."""
    from palm_data.store.verify import FileProblem
    from palm_data.store.withdrawals import read_status, status_text

    try:
        return report, "" if report.version is None else status_text(read_status(folder.parent, report.version))
    except IntegrityError as error:
        path = f"../status/{report.version}.json"
        problem = FileProblem(path=path, expected="the status that palm wrote", found=str(error))
        return report.model_copy(update={"problems": (*report.problems, problem)}), ""


def _print(folder: Path, report: "VerifyReport", status: str) -> None:
    for problem in report.problems[:_LISTED]:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    if len(report.problems) > _LISTED:
        console.print(f"and {len(report.problems) - _LISTED} more.")
    looked = f"{report.files} files, {report.bytes / 1e6:.1f} MB, merkle root {report.merkle_root or 'unknown'}"
    if report.problems:
        number = f"{len(report.problems)} problem{'' if len(report.problems) == 1 else 's'}"
        console.print(
            f"[bold red]{escape(str(folder))}: {number}[/] in {looked}. What is named was damaged or "
            "edited after release: restore it from another copy of this version, or publish a new one.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    else:
        kind = "every byte" if report.deep else "sizes only"
        console.print(f"[green]{escape(str(folder))}: whole[/] ({kind}): {looked}.", highlight=False, soft_wrap=True)
    if status:
        console.print(f"[yellow]{escape(str(folder))}: {status}[/]", highlight=False, soft_wrap=True)
