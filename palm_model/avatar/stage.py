"""The stages `avatar` and `relit_views`: an avatar of a release's view, and that avatar in another light."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from palm_data.hand.model import HandModel
from palm_data.report.pictures import contact_sheet, write_png
from palm_data.store.atomic import file_sha256, write_bytes
from palm_data.store.workspace import StageReport, Workspace
from palm_model.avatar.avatar import personalise
from palm_model.avatar.checkpoint import AVATAR_FILE, load_avatar, write_avatar
from palm_model.avatar.environment import NAMED, read_environment
from palm_model.avatar.fit import CODE_VERSION, FitReport
from palm_model.avatar.photo import Photo, released_photo
from palm_model.avatar.pictures import as_uint8, avatar_picture, photo_psnr
from palm_model.prior.checkpoint import CHECKPOINT_FILE
from palm_model.prior.prior import Prior
from schemas.avatar import AvatarSettings
from schemas.errors import SettingsError
from schemas.ids import CameraId, SubjectId, VersionId

AVATAR, RELIT = "avatar", "relit_views"
_STATE = "fit.safetensors"
_KEY = re.compile(r"(\d+\.\d+\.\d+)-(\d{4})-(\d+)-((?:MCU|IH)_[0-9AB_]+)")
Report = Callable[[FitReport], None]


class ViewInput(NamedTuple):
    """A release's view that an avatar is made from."""

    version: VersionId
    subject_id: SubjectId
    frame: int
    camera_id: CameraId

    @property
    def key(self) -> str:
        """As a stage's key, and a partition's."""
        return f"{self.version}-{self.subject_id}-{self.frame}-{self.camera_id}"

    @classmethod
    def of(cls, key: str) -> "ViewInput":
        """The view of a key.

        Raises:
            SettingsError: if it is not one.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise SettingsError(f"avatar: expected a key like 1.2.0-0004-3-MCU_02, found {key!r}.")
        version, subject_id, frame, camera_id = match.groups()
        return cls(version, subject_id, int(frame), camera_id)


def fill_avatar_folder(
    folder: Path,
    photos: list[Photo],
    prior_file: Path,
    settings: AvatarSettings,
    model: HandModel,
    *,
    state_file: Path,
    report: Report = lambda report: None,
) -> Mapping[str, float | int]:
    """Personalise, and write avatar, card and picture to a folder; returns the figures.

    A killed fit goes on from its state, which is removed once all is written.

    Raises:
        IntegrityError: if the prior's file is none, or of another hand model.
        BadInputError, GeometryError, TrainingError: as `personalise`.
    """
    file = prior_file / CHECKPOINT_FILE if prior_file.is_dir() else prior_file
    prior = Prior.load(file, model)
    avatar = personalise(prior, photos, settings, prior_sha256=file_sha256(file), state_file=state_file, report=report)
    views = [avatar.view(photo.camera, avatar.posed(avatar.photographed.row(row))) for row, photo in enumerate(photos)]
    own = {
        f"psnr_photo_{row + 1}": round(photo_psnr(view.rgb, photo), 3)
        for row, (view, photo) in enumerate(zip(views, photos, strict=True))
    }
    shaded = {
        f"psnr_photo_{row + 1}_pbr": round(photo_psnr(view.pbr_rgb, photo), 3)
        for row, (view, photo) in enumerate(zip(views, photos, strict=True))
        if view.pbr_rgb is not None
    }
    figures = {**avatar.card.figures, **own, **shaded}
    told = avatar.with_figures(figures)
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "picture.png", avatar_picture(told, photos[0]))
    write_avatar(folder, told)
    state_file.unlink(missing_ok=True)
    return figures


def make_avatar(
    view: ViewInput,
    photo: Photo,
    prior_file: Path,
    workspace: Workspace,
    settings: AvatarSettings,
    *,
    model: HandModel,
    report: Report = lambda report: None,
) -> StageReport:
    """The workspace's avatar of a view, unless the same one is there already.

    Raises:
        IntegrityError, BadInputError, GeometryError, TrainingError: as `fill_avatar_folder`.
    """
    states = _states(workspace, view.key)
    file = prior_file / CHECKPOINT_FILE if prior_file.is_dir() else prior_file

    def work(folder: Path) -> None:
        figures = fill_avatar_folder(folder, [photo], file, settings, model, state_file=states / _STATE, report=report)
        write_bytes(folder / "figures.json", (json.dumps(dict(figures), indent=1) + "\n").encode())

    made = workspace.run_stage(
        AVATAR,
        view.key,
        code_version=CODE_VERSION,
        settings=settings.model_dump(mode="json", exclude={"save_every"}),
        inputs={
            "prior": file_sha256(file),
            "photo": hashlib.sha256(photo.describe().model_dump_json().encode()).hexdigest(),
            "hand_model": model.sha256,
        },
        work=work,
    )
    shutil.rmtree(states, ignore_errors=True)
    return made


def make_released_avatar(
    view: ViewInput,
    releases: str,
    prior_file: Path,
    workspace: Workspace,
    settings: AvatarSettings,
    *,
    model: HandModel,
    report: Report = lambda report: None,
) -> StageReport:
    """The same of a view that is read from its release.

    Args:
        releases: where versions are published, a folder or a URL.

    Raises:
        StoreError: if there is no such version or view.
        IntegrityError, BadInputError, GeometryError, TrainingError: as `make_avatar`.
    """
    import palm_data

    opened = palm_data.open_release(releases, version=view.version)
    photo = released_photo(opened, view.subject_id, view.frame, view.camera_id, model)
    return make_avatar(view, photo, prior_file, workspace, settings, model=model, report=report)


def forget_avatar(workspace: Workspace, key: str) -> None:
    """Remove all that was made of a view, and what a killed fit left: its person has withdrawn."""
    for stage in (AVATAR, RELIT):
        workspace.forget(stage, key)
    shutil.rmtree(_states(workspace, key), ignore_errors=True)


def _states(workspace: Workspace, key: str) -> Path:
    return workspace.root / "training" / AVATAR / key


def make_relit_views(
    view: ViewInput, workspace: Workspace, *, model: HandModel, environments: Mapping[str, Path] | None = None
) -> StageReport:
    """The workspace's avatar of a view in each environment, seen by its photograph's camera.

    Args:
        environments: pictures (EXR or HDR, the rig's layout) by name; None: the two that are made here.

    Raises:
        StoreError: if there is no avatar of the view.
        SettingsError: if its prior was trained without the branch that shades.
    """
    record = workspace.require(AVATAR, view.key)
    chosen = dict(environments or {})

    def work(folder: Path) -> None:
        avatar = load_avatar(workspace.output(AVATAR, view.key), model)
        lights = {name: read_environment(path) for name, path in chosen.items()} or {
            name: made() for name, made in NAMED.items()
        }
        poses, tiles = avatar.posed(avatar.photographed.row(0)), []
        for name, light in lights.items():
            lit = avatar.view(avatar.card.photos[0].camera, poses, light=light)
            assert lit.pbr_rgb is not None  # noqa: S101 - `view` has refused an avatar without a light
            tiles.append(as_uint8(lit.pbr_rgb))
            write_png(folder / f"{name}.png", tiles[-1])
        write_png(folder / "picture.png", contact_sheet(tiles, list(lights), len(tiles)))
        write_bytes(folder / "figures.json", (json.dumps({"environments": len(lights)}) + "\n").encode())

    digests = {f"environment {name}": file_sha256(path) for name, path in chosen.items()}
    return workspace.run_stage(
        RELIT,
        view.key,
        code_version=CODE_VERSION,
        settings={"environments": sorted(chosen) or sorted(NAMED)},
        inputs={"avatar": record.digest_of(AVATAR_FILE), "hand_model": model.sha256, **digests},
        work=work,
    )
