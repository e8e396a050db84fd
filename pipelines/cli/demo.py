"""`palm demo`: the main job on a simulated session, and a table of what came of it."""

import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.console import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from palm_data.store.workspace import Workspace
    from schemas.ids import SubjectId
    from schemas.release import Manifest
    from schemas.settings import Settings

CAPTURES_VERSION = "0.1.0"
VERSION = "0.2.0"
_PHOTO_CAMERA, _PHOTO_GESTURE = "MCU_02", "flat"
"""The photograph that an avatar is made of."""
_CAPTURES = '+key:"subject_shard" or key:"release"'
_STAGES = (
    "capture_index", "calibration", "scan_maps", "subject_shard", "detector", "keypoints_2d", "keypoints_3d", "hand_shape",
    "hand_pose", "hand_maps", "quality", "subject_labels",
    "prior", "avatar", "relit_views",
)  # fmt: skip


def demo(
    home: Annotated[Path, typer.Argument(help="Everything the demo makes lies below this folder.")] = Path("demo"),
) -> None:
    """Simulate a capture session, take it through the factory, publish two releases, verify and score them, train a prior, and personalise it.

    The first release holds what was captured; the second adds the labels, and shares every other file with the first.
    The prior is a tiny one, of a few minutes: it shows that all works, not how well it can. It never sees the last person
    of the release, whose avatar is made of one photograph, relit, and scored beside the prior without personalisation.
    Run again it finds nothing changed.
    """
    import palm_data
    from palm_data.store.manifest import read_manifest
    from palm_data.store.workspace import Workspace
    from pipelines.cli.evaluate import annotation
    from pipelines.cli.materialize import materialize
    from pipelines.cli.simulate import simulate
    from pipelines.cli.train_prior import prior
    from pipelines.cli.verify import verify
    from schemas.settings import load_settings

    settings = load_settings(raw=home / "raw", workspace=home / "workspace", releases=home / "releases")
    start = time.perf_counter()
    console.rule("1 of 7: simulate a capture session")
    simulate(home)
    make = partial(materialize, raw=settings.raw, workspace=settings.workspace, releases=str(settings.releases_folder))
    console.rule("2 of 7: raw session → index → calibration → maps → shards → a release of the captures")
    make(select=_CAPTURES, release=CAPTURES_VERSION, captures_only=True)
    console.rule("3 of 7: detector → keypoints → hands → quality → a release with labels")
    make(release=VERSION)
    console.rule("4 of 7: verify both releases")
    for version in (CAPTURES_VERSION, VERSION):
        verify(str(settings.releases_folder / version))
    console.rule("5 of 7: score the labels against the simulation's truth")
    annotation(settings.workspace, truth=home / "truth", raw=settings.raw)
    console.rule("6 of 7: train a tiny prior on the release with labels, but for one person")
    released = str(settings.releases_folder)
    unseen = palm_data.open_release(released, VERSION).subject_ids[-1]
    prior(released, version=VERSION, preset="tiny", workspace=settings.workspace, pbr=True, hold_out_subject=[unseen])
    console.rule("7 of 7: an avatar of that person from one photograph, in two environments, scored against truth")
    workspace = Workspace(settings.workspace)
    figures = _make_avatar(workspace, settings, unseen, home)
    pictures = _collect_pictures(workspace, home / "pictures")
    manifest = read_manifest(settings.releases_folder / VERSION)
    console.print(_table(manifest, workspace, settings, pictures, _avatar_rows(figures)))
    console.print(f"Done in {time.perf_counter() - start:.0f} s. Open the release:", highlight=False)
    console.print(f'  palm_data.open_release("{settings.releases}", version="{VERSION}")', highlight=False)
    console.print("Look at how it was made:\n  make ui", highlight=False)


def _make_avatar(
    workspace: "Workspace", settings: "Settings", subject_id: "SubjectId", home: Path
) -> "Mapping[str, float | int | str]":
    """Personalise the prior from one released photograph, relight the avatar, and score it; returns the score's figures."""
    import palm_data
    from palm_data.hand.model import load_hand_model
    from palm_data.report.pictures import write_png
    from palm_model.avatar.stage import AVATAR, ViewInput, make_released_avatar, make_relit_views
    from palm_model.prior.stage import STAGE as PRIOR
    from pipelines.avatar_scoring import score_avatar
    from pipelines.prior_scoring import Truth
    from schemas.avatar import AvatarSettings

    model, releases = load_hand_model(settings.hand_model), str(settings.releases_folder)
    release = palm_data.open_release(releases, VERSION)
    shown = next(one for one in release.subject(subject_id) if one.gesture == _PHOTO_GESTURE)
    view = ViewInput(VERSION, subject_id, shown.frame, _PHOTO_CAMERA)
    trained = workspace.output(PRIOR, VERSION)
    make_released_avatar(view, releases, trained, workspace, AvatarSettings(), model=model)
    make_relit_views(view, workspace, model=model)
    truth = Truth(home / "truth", home / "truth_views")
    score = score_avatar(workspace.output(AVATAR, view.key), trained, release, truth, model=model)
    write_png(home / "pictures" / "avatar_beside_truth.png", score.picture)
    return score.figures


def _avatar_rows(figures: "Mapping[str, float | int | str]") -> dict[str, str]:
    """The avatar's score as the table shows it: PSNR of the foreground, dB."""
    names = {
        "avatar: PSNR": "psnr_fg",
        "without personalisation: PSNR": "psnr_fg_unpersonalised",
        "avatar: PSNR, other cameras": "psnr_fg_new_camera",
        "without personalisation: PSNR, other cameras": "psnr_fg_new_camera_unpersonalised",
        "avatar, shaded: PSNR": "psnr_fg_pbr",
    }
    return {title: f"{float(figures[name]):.2f} dB" for title, name in names.items() if name in figures}


def _collect_pictures(workspace: "Workspace", folder: Path) -> int:
    """Copy each stage's picture to one folder that people can leaf through; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, stage in enumerate(_STAGES, start=1):
        for key in workspace.keys(stage):
            picture = workspace.report(workspace.require(stage, key), ran=False).picture
            if picture is not None:
                shutil.copyfile(picture, folder / f"{number:02d}_{stage}_{key}.png")
                count += 1
    return count


def _table(
    manifest: "Manifest", workspace: "Workspace", settings: "Settings", pictures: int, scored: "Mapping[str, str]"
) -> Table:
    table = Table("what", "made", title="PALM demo")
    for name, count in sorted(manifest.counts.items()):
        table.add_row(name, f"{count / 1e6:.1f} MB" if name == "bytes" else str(count))
    for split, subjects in manifest.splits.items():
        table.add_row(f"split {split}", ", ".join(subjects) or "nobody")
    for stage in _STAGES:
        for name, text in _mean_figures(workspace, stage).items():
            table.add_row(f"{stage}: {name}", text)
    for name, text in scored.items():
        table.add_row(name, text)
    table.add_row("release", str(settings.releases_folder / manifest.version))
    table.add_row("identity (merkle root)", manifest.merkle_root)
    table.add_row("pictures", f"{pictures} in {settings.workspace.parent / 'pictures'}")
    return table


def _mean_figures(workspace: "Workspace", stage: str) -> dict[str, str]:
    """The figures of a stage that are not counts, averaged over its keys."""
    values: dict[str, list[float]] = {}
    for key in workspace.keys(stage):
        for name, value in workspace.report(workspace.require(stage, key), ran=False).figures.items():
            if isinstance(value, float):
                values.setdefault(name, []).append(value)
    return {name.replace("_", " "): f"{sum(found) / len(found):.4g}" for name, found in values.items()}
