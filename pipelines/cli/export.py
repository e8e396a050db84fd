"""`palm export`: a release in other people's formats."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import counting_bar, say
from schemas.settings import load_settings

if TYPE_CHECKING:
    from palm_data.interop.official_sidecar import OfficialExport
    from palm_data.loader.release import Release

_LISTED = 20
_MEGABYTE = 1 << 20


class Format(StrEnum):
    """Whose format."""

    COCO = "coco"
    OFFICIAL = "official"
    WEBDATASET = "webdataset"


class Split(StrEnum):
    """Which part of the subjects."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def export(
    target: Annotated[str, typer.Argument(metavar="RELEASE", help="A version, or its folder.")],
    *,
    format: Annotated[
        Format,
        typer.Option(
            help="coco: images and keypoints; official: the official PALM layout; webdataset: tar shards of views."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; it appears when it is whole.")],
    subjects: Annotated[str | None, typer.Option(help="Subjects, separated by commas; all by default.")] = None,
    split: Annotated[Split | None, typer.Option(help="Only the subjects of this split.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Only captures of which this is true, such as 'quality_ok and fit_mm < 6'.")
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option(help="official: resize to this many px on the longer side. The official validation takes 1600."),
    ] = None,
    keep_small: Annotated[
        bool, typer.Option("--keep-small", help="official: keep masks too small for the official training's patches.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="official: then read all of it as the official code would, and list problems."),
    ] = False,
    maps: Annotated[
        str | None,
        typer.Option(help="webdataset: mask, normal, depth, hand_mask, training_mask; all there are by default."),
    ] = None,
    shard_mb: Annotated[int, typer.Option(help="webdataset: close a shard once it holds this many MiB.")] = 1024,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
) -> None:
    """Write a release for other people's code. Asked for again, an interrupted export goes on where it was."""
    release = _opened(target, releases, subjects, split, where)
    if format is Format.OFFICIAL:
        from palm_data.interop.official import export_official

        with counting_bar("captures") as progress:
            done = export_official(release, out, keep_small=keep_small, longest=longest, progress=progress)
        _say_official(done, out)
        if check:
            _check(out)
    elif format is Format.WEBDATASET:
        from palm_data.interop.webdataset import export_webdataset

        chosen = None if maps is None else maps.split(",")
        with counting_bar("captures") as progress:
            made = export_webdataset(
                release, out, maps=chosen, shard_bytes=shard_mb * _MEGABYTE, progress=progress
            )  # fmt: skip
        say(f"{out}: {made.samples} views in {made.shards} shards, listed in {out / 'index.json'}.")
    else:
        from palm_data.interop.coco import ANNOTATIONS, export_coco

        with counting_bar("captures") as progress:
            counts = export_coco(release, out, progress=progress)
        say(f"{out}: {counts.images} images, {counts.hands} annotated hands.")
        say(f"Read it with pycocotools, FiftyOne or any other COCO reader: {out / ANNOTATIONS}")


def _opened(
    target: str, releases: str | None, subjects: str | None, split: Split | None, where: str | None
) -> "Release":  # fmt: skip
    from palm_data.loader.release import open_release
    from palm_data.store.manifest import is_version

    version = target if is_version(target) else None
    location = load_settings(releases=releases).releases if version is not None else target
    chosen = subjects.split(",") if subjects is not None else None
    return open_release(
        location, version, split=split.value if split is not None else None, subjects=chosen, where=where
    )  # fmt: skip


def _check(out: Path) -> None:
    from palm_data.interop.official_checks import check_official

    with counting_bar("checked subjects") as progress:
        problems = check_official(out, progress=progress)
    for problem in problems[:_LISTED]:
        say(str(problem))
    if len(problems) > _LISTED:
        say(f"and {len(problems) - _LISTED} more.")
    if problems:
        raise typer.Exit(1)
    say("Checked: nothing in it that the official code would stumble over.")


def _say_official(done: "OfficialExport", out: Path) -> None:
    say(f"{out}: {done.frames} captures of {len(done.subjects)} subjects.")
    if done.left_out:
        say(f"Left out: {len(done.left_out)} captures, listed in palm_export.json.")
    for one in done.left_out[:_LISTED]:
        say(f"  {one.subject_id} frame {one.frame}: {one.reason}")
    if len(done.left_out) > _LISTED:
        say(f"  and {len(done.left_out) - _LISTED} more.")
    say("Link it as code/load/PALM/NAME, and train with dataset.dataroot=./load/PALM/NAME/folders/")
    say(f"Put these subjects in the place of the official ranges, for training: {', '.join(done.subjects)}.")
    if done.validation_subjects:
        say(f"For validation, which reads 12 frames: {', '.join(done.validation_subjects)}.")
    else:
        say("No subject has 12 frames, which the official validation asks for.")
    if done.standin:
        say(
            "The hands are of the shipped stand-in, not of MANO: the official code would pose them wrongly. "
            "Register with your own MANO file first: palm mano import."
        )
