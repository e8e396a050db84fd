"""`palm personalize` and `palm relight`: an avatar from photographs, and that avatar in another light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import progress_bar, say, show_rows
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from palm_data.hand.model import HandModel
    from palm_model.avatar.photo import Photo

_Files = list[Path] | None
_HandModel = Annotated[Path | None, typer.Option(help="Hand model (.npz); the shipped one by default.")]


def _show_formats(wanted: bool) -> None:
    """Print what the JSON files hold, and end."""
    import json

    from schemas.avatar import HandFit, PhotoCamera

    if wanted:
        say(json.dumps({kind.__name__: kind.model_json_schema() for kind in (HandFit, PhotoCamera)}, indent=1))
        raise typer.Exit


def personalize(
    photos: Annotated[_Files, typer.Argument(help="Photographs of one person's right hand, undistorted.")] = None,
    *,
    prior: Annotated[Path, typer.Option(help="The trained prior: its file, or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Where avatar, card and picture go.")],
    mask: Annotated[_Files, typer.Option(help="For each photograph, where the hand is: white.")] = None,
    hand: Annotated[_Files, typer.Option(help="For each photograph, the fitted hand: a HandFit as JSON.")] = None,
    camera: Annotated[_Files, typer.Option(help="For each photograph, or for all: a PhotoCamera as JSON.")] = None,
    release: Annotated[str | None, typer.Option(help="In place of files: a version, its folder or URL.")] = None,
    subject: Annotated[str | None, typer.Option(help="Of the release: whose hand.")] = None,
    frame: Annotated[list[int] | None, typer.Option(help="Of the release: which captures.")] = None,
    camera_id: Annotated[list[str] | None, typer.Option(help="Of the release: a camera for each frame.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    hand_model: _HandModel = None,
    formats: Annotated[
        bool,
        typer.Option(
            "--formats", is_eager=True, callback=_show_formats, help="Show the JSON files' formats, with examples."
        ),
    ] = False,
) -> None:
    """Make an avatar from photographs: a prior's codes, a new light and small corrections of the pose are fitted to them.

    A killed fit goes on where it was when run again. --formats shows what the JSON files hold.
    """
    del formats
    from palm_data.hand.model import load_hand_model
    from palm_model.avatar.stage import fill_avatar_folder
    from schemas.avatar import AvatarSettings

    model = load_hand_model(hand_model)
    if release is None:
        given = _own_photos(photos or [], mask or [], hand or [], camera or [], model)
    else:
        if photos or mask or hand or camera:
            raise SettingsError("personalize: expected photographs or --release, found both.")
        given = _released_photos(release, subject, frame or [], camera_id or [], model)
    changes = {"seed": seed} | ({} if steps is None else {"steps": steps})
    settings = AvatarSettings.model_validate(changes)
    with progress_bar() as bar:
        task = bar.add_task("fitting", total=settings.steps)
        figures = fill_avatar_folder(
            out,
            given,
            prior,
            settings,
            model,
            state_file=out / ".fit.safetensors",
            report=lambda told: bar.update(
                task, completed=told.step, description=f"fitting, loss {told.losses['total']:.3f}"
            ),
        )
    show_rows(figures)
    say(str(out))


def relight(
    avatar: Annotated[Path, typer.Argument(help="The avatar: its file, or the folder it lies in.")],
    *,
    env: Annotated[Path, typer.Option(help="The light: a latitude–longitude picture, .exr or .hdr.")],
    out: Annotated[Path, typer.Option(help="Where pictures go.")],
    layout: Annotated[str, typer.Option(help="How the picture is laid out: rig, mitsuba or official.")] = "rig",
    turn: Annotated[float, typer.Option(help="Turn of the light about the zenith, degrees.")] = 0.0,
    exposure: Annotated[float, typer.Option(help="What the picture's radiance is multiplied by.")] = 1.0,
    motion: Annotated[
        Path | None, typer.Option(help="Poses to follow, Parquet; the photographed one by default.")
    ] = None,
    motion_subject: Annotated[str | None, typer.Option(help="Whose rows of it.")] = None,
    fingers_only: Annotated[bool, typer.Option(help="The wrist stays where the photograph has it.")] = False,
    camera: Annotated[Path | None, typer.Option(help="A PhotoCamera as JSON; the photograph's by default.")] = None,
    hand_model: _HandModel = None,
) -> None:
    """Show an avatar in the light that was chosen, in its own shape whoever the motion was taken from."""
    from palm_data.hand.model import load_hand_model
    from palm_model.avatar.checkpoint import load_avatar
    from palm_model.avatar.environment import read_environment
    from palm_model.avatar.motion import in_place, read_motion
    from palm_model.avatar.photo import read_camera
    from palm_model.avatar.pictures import relight_views

    model = load_hand_model(hand_model)
    person = load_avatar(avatar, model)
    light = read_environment(env, layout=layout, turn_deg=turn, exposure=exposure)
    poses = person.photographed.row(0)
    if motion is not None:
        followed = read_motion(motion, model, person.betas, subject_id=motion_subject)
        poses = in_place(followed, poses) if fingers_only else followed
    seen_by = person.card.photos[0].camera if camera is None else read_camera(camera)
    written = relight_views(person, seen_by, poses, light, out)
    say(f"{len(written)} pictures in {out}")


def _own_photos(
    photos: list[Path], masks: list[Path], hands: list[Path], cameras: list[Path], model: "HandModel"
) -> "list[Photo]":
    from palm_model.avatar.photo import PhotoFiles, read_photo

    if not photos:
        raise SettingsError(
            "personalize: expected photographs, or --release with --subject, --frame and --camera-id, found none."
        )
    for name, found in (("--mask", masks), ("--hand", hands)):
        if len(found) != len(photos):
            raise SettingsError(f"{name}: expected one for each photograph ({len(photos)}), found {len(found)}.")
    if len(cameras) not in (1, len(photos)):
        raise SettingsError(
            f"--camera: expected one, or one for each photograph ({len(photos)}), found {len(cameras)}."
        )
    every = cameras if len(cameras) == len(photos) else cameras * len(photos)
    return [read_photo(PhotoFiles(*files), model) for files in zip(photos, masks, hands, every, strict=True)]


def _released_photos(
    release: str, subject: str | None, frames: list[int], cameras: list[str], model: "HandModel"
) -> "list[Photo]":
    import palm_data
    from palm_model.avatar.photo import released_photo

    if subject is None or not frames or not cameras or len(cameras) not in (1, len(frames)):
        raise SettingsError(
            "--release: expected --subject, and --frame and --camera-id as often as one another, "
            f"found subject {subject}, {len(frames)} frames and {len(cameras)} cameras."
        )
    opened = palm_data.open_release(release)
    every = cameras if len(cameras) == len(frames) else cameras * len(frames)
    return [released_photo(opened, subject, frame, one, model) for frame, one in zip(frames, every, strict=True)]
