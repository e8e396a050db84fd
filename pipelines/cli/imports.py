"""`palm import`: other people's data as a release of ours."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import counting_bar, say
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.interop.interhand_import import InterHandImport
    from palm_data.interop.official_import import OfficialImport

_LISTED = 20


class Format(StrEnum):
    """Whose format."""

    OFFICIAL = "official"
    INTERHAND = "interhand"


class Split(StrEnum):
    """Whose frames."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="official: a version's folder such as PALM/XR20A, or one subject's folder or zip. interhand: the folder that "
            "holds annotations and images."
        ),
    ],
    *,
    format: Annotated[
        Format,
        typer.Option(
            help="official: the official PALM release, as zips or folders. interhand: InterHand2.6M, unpacked."
        ),
    ],
    version: Annotated[str, typer.Option(help="MAJOR.MINOR.PATCH to publish it as; published once.")] = "1.0.0",
    hand_model: Annotated[
        Path | None, typer.Option(help="The MANO file that the hands are of, made by: palm mano import.")
    ] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where work in progress is kept.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where the version is published: a folder or a URL.")] = None,
    split: Annotated[Split, typer.Option(help="interhand: which split.")] = Split.TEST,
    capture: Annotated[list[int] | None, typer.Option(help="interhand: only this capture; may be repeated.")] = None,
    sequence: Annotated[list[str] | None, typer.Option(help="interhand: only this sequence; may be repeated.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="interhand: only this camera (six digits); may be repeated.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="interhand: of each sequence, only each n-th frame.")] = 30,
    mirror_left: Annotated[
        bool, typer.Option(help="interhand: take left hands too, in a mirror, as subjects of their own.")
    ] = False,
) -> None:
    """Publish other people's data as a version of ours. Asked for again, an interrupted import goes on where it was.

    What cannot be read is left out and listed; checksums are verified if gt_checksums.json lies beside the data. Nothing in
    the files is executed, and archives are never unpacked by the names they give.
    """
    from palm_data.store.workspace import Workspace

    settings = load_settings(workspace=workspace, releases=releases, hand_model=hand_model)
    place = Workspace(settings.workspace)
    done: OfficialImport | InterHandImport
    with counting_bar("subjects") as progress:
        if format is Format.OFFICIAL:
            from palm_data.interop.official_import import import_official

            done = import_official(path, version, place, settings, progress=progress)
        else:
            from palm_data.interop.interhand_import import import_interhand
            from palm_data.interop.interhand_source import Wanted

            wanted = Wanted(capture, sequence, camera, every, "mirror" if mirror_left else "skip")
            done = import_interhand(path, split.value, version, place, settings, wanted=wanted, progress=progress)
    counts = done.manifest.counts
    folder = f"{settings.releases_place}/{done.manifest.version}"
    say(
        f"{folder}: {counts['captures']} captures of {counts['subjects']} subjects, {counts['images']} images, "
        f"{counts['hands']} hands."
    )
    _list("Left out", [f"{one.subject_id}: {'; '.join(one.reasons)}" for one in done.left_out])
    _list("Set aside or not known", done.met)
    say(f'Open it with: palm_data.open_release("{settings.releases_place}", version="{done.manifest.version}")')


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        say(f"{title} ({len(lines)}):")
    for line in lines[:_LISTED]:
        say(f"  {line}")
    if len(lines) > _LISTED:
        say(f"  and {len(lines) - _LISTED} more, in the version's report folder.")
