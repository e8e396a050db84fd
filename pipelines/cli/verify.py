"""`palm verify`: a version's files against what was published."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.cli.console import console
from pipelines.cli.release import bar, target_files
from schemas.errors import IntegrityError
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.store.files import Files
    from palm_data.store.verify import VerifyReport

_LISTED = 100


def verify(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A version, or its folder or URL; the highest version by default. With --all, where releases are published."
        ),
    ] = None,
    *,
    deep: Annotated[
        bool, typer.Option("--deep/--shallow", help="Read every byte, or look at presence and sizes only.")
    ] = True,
    every: Annotated[bool, typer.Option("--all", help="Every published version.")] = False,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Compare a version with what was published. Ends with 1 if anything is damaged, missing, truncated or too much.

    People of it who withdrew are named; that is no damage.
    """
    from palm_data.store.verify import verify_release

    reports: list[tuple[str, VerifyReport, str]] = []
    for files in _all_versions(target or releases) if every else [target_files(target, releases)]:
        with bar(f"verifying {files.name.rpartition('/')[2]}") as progress:
            report = verify_release(files, deep=deep, progress=progress)
        reports.append((files.name, *_with_status(report, files)))
    if as_json:
        told = [
            {"path": name, "passed": report.passed, **report.model_dump(mode="json"), "status": status}
            for name, report, status in reports
        ]
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        for name, report, status in reports:
            _print(name, report, status)
    if not all(report.passed for _, report, _ in reports):
        raise typer.Exit(1)


def _all_versions(releases: str | None) -> "list[Files]":
    from palm_data.store.manifest import versions
    from palm_data.store.places import place_at

    place = place_at(load_settings(releases=releases).releases)
    return [place.files(version) for version in versions(place)] or [target_files(None, releases)]


def _with_status(report: "VerifyReport", files: "Files") -> "tuple[VerifyReport, str]":
    """The report, with a problem more if the version's status cannot be read; and the status in words."""
    from palm_data.loader.withdrawn import status_of
    from palm_data.store.verify import FileProblem
    from palm_data.store.withdrawals import status_text

    try:
        status = None if report.version is None else status_of(files, report.version)
        return report, "" if status is None else status_text(status)
    except IntegrityError as error:
        path = f"../status/{report.version}.json"
        problem = FileProblem(path=path, expected="the status that palm wrote", found=str(error))
        return report.model_copy(update={"problems": (*report.problems, problem)}), ""


def _print(name: str, report: "VerifyReport", status: str) -> None:
    for problem in report.problems[:_LISTED]:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    if len(report.problems) > _LISTED:
        console.print(f"and {len(report.problems) - _LISTED} more.")
    looked = f"{report.files} files, {report.bytes / 1e6:.1f} MB, merkle root {report.merkle_root or 'unknown'}"
    if report.problems:
        number = f"{len(report.problems)} problem{'' if len(report.problems) == 1 else 's'}"
        console.print(
            f"[bold red]{escape(name)}: {number}[/] in {looked}. What is named was damaged or "
            "edited after release: mend it with palm fetch --repair, or publish a new version.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    else:
        if report.not_fetched:
            looked += f"; {report.not_fetched} files, {report.not_fetched_bytes / 1e6:.1f} MB, were not fetched"
        kind = "every byte" if report.deep else "sizes only"
        console.print(f"[green]{escape(name)}: whole[/] ({kind}): {looked}.", highlight=False, soft_wrap=True)
    if status:
        console.print(f"[yellow]{escape(name)}: {status}[/]", highlight=False, soft_wrap=True)
