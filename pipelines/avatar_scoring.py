"""An avatar against true views of its person, beside the same prior that was told nothing of the person."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.evaluate.prior_scores import Figures, ViewRegion
from palm_data.evaluate.true_views import TrueViews, ViewName
from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from palm_data.report.pictures import contact_sheet
from palm_data.store.atomic import file_sha256
from palm_model.avatar.avatar import Avatar, personalise
from palm_model.avatar.checkpoint import load_avatar
from palm_model.avatar.photo import released_photo
from palm_model.avatar.pictures import as_uint8
from palm_model.prior.checkpoint import CHECKPOINT_FILE
from palm_model.prior.prior import Prior
from pipelines.prior_scoring import PICTURE_SCORES, Progress, Truth
from schemas.avatar import PhotoOrigin
from schemas.errors import SettingsError, StoreError
from schemas.ids import CameraId
from schemas.prior_evaluation import PriorEvaluationSettings

_TILE_PX = 240


@dataclass(frozen=True, eq=False)
class AvatarScore:
    """How well an avatar shows its person."""

    figures: dict[str, float | int | str]
    """`psnr_fg` of the avatar and `psnr_fg_unpersonalised`, dB, means over the photograph's own camera and others, and
    with `_new_camera` over the others alone; `psnr_fg_pbr` of the shaded picture in the light that was fitted."""
    picture: UInt8[ndarray, "height width 3"]
    """A row a view: truth, avatar, prior without personalisation."""


def score_avatar(
    avatar_file: Path,
    prior_file: Path,
    release: Release,
    truth: Truth,
    *,
    model: HandModel,
    other_cameras: int = 2,
    settings: PriorEvaluationSettings | None = None,
    progress: Progress = lambda *_: None,
) -> AvatarScore:
    """PSNR of the foreground of an avatar of a released view, in the photograph's camera and others of its capture.

    The prior beside it has the mean codes of the people it learned from, and the person's own fitted hand and β: what a
    fit of no steps ends with. Both are scored on the same pixels, where the released training mask meets the true skin.

    Args:
        avatar_file: the avatar, or the folder it lies in.
        prior_file: the prior that it was made from, or its folder.
        other_cameras: how many beside the photograph's, spread over those that see the hand.

    Raises:
        SettingsError: if the avatar is of a user's own photograph, whose truth nobody knows.
        StoreError: if prior or release are not those that the avatar was made from.
        BadInputError: if the truth is another session's.
    """
    avatar = load_avatar(avatar_file, model)
    origin = _origin(avatar, release)
    plain = _unpersonalised(avatar, prior_file, release, origin, model)
    sample = release.capture(origin.subject_id, origin.frame)
    chosen = settings or PriorEvaluationSettings()
    views = TrueViews(truth.folder, truth.views, chosen, threads=truth.threads)
    cameras = scored_cameras(sample, origin.camera_id, other_cameras)
    found, tiles, names = Figures(), [], []
    for done, camera_id in enumerate(cameras, 1):
        region = _region(sample, camera_id, views)
        shown = _score(avatar, plain, region, found, "" if camera_id == origin.camera_id else "_new_camera")
        tiles += [_cropped(one, region) for one in (region.true.rgb, *shown)]
        names += [f"{camera_id}: truth", "avatar", "without personalisation"]
        progress(f"scoring {camera_id}", done, len(cameras))
    figures: dict[str, float | int | str] = {
        "subject": origin.subject_id,
        "known_to_prior": int(origin.subject_id in avatar.card.prior.subjects),
        "views": len(cameras),
        **{name: float(np.mean(values)) for name, values in found.values.items()},
    }
    return AvatarScore(figures, contact_sheet(tiles, names, 3, tile_px=_TILE_PX))


def scored_cameras(sample: Sample, own: CameraId, others: int) -> list[CameraId]:
    """A photograph's camera, and so many others that see the hand, evenly spread over them."""
    seen = [
        one.camera_id
        for one in sample.cameras
        if one.camera_id != own
        and sample.view(one.camera_id).present
        and sample.view(one.camera_id).training_mask.any()
    ]
    count = min(others, len(seen))
    return [own, *(seen[(2 * number + 1) * len(seen) // (2 * count)] for number in range(count))]


def _origin(avatar: Avatar, release: Release) -> PhotoOrigin:
    origin = avatar.card.photos[0].origin
    if origin is None:
        raise SettingsError(
            "avatar: expected one of a simulated session's released view, found one of other photographs."
        )
    if origin.merkle_root != release.manifest.merkle_root:
        raise StoreError(
            f"{release}: merkle_root: expected {origin.merkle_root} (version {origin.release_version}), which the avatar's "
            f"photograph is of, found {release.manifest.merkle_root}. Name that version."
        )
    return origin


def _unpersonalised(
    avatar: Avatar, prior_file: Path, release: Release, origin: PhotoOrigin, model: HandModel
) -> Avatar:
    file = prior_file / CHECKPOINT_FILE if prior_file.is_dir() else prior_file
    digest = file_sha256(file)
    if digest != avatar.card.prior_sha256:
        raise StoreError(
            f"{file}: expected {avatar.card.prior_sha256}, the prior that the avatar was made from, found {digest}."
        )
    photo = released_photo(release, origin.subject_id, origin.frame, origin.camera_id, model)
    nothing = avatar.card.settings.model_copy(update={"steps": 0})
    return personalise(Prior.load(file, model), [photo], nothing, prior_sha256=digest)


def _region(sample: Sample, camera_id: CameraId, views: TrueViews) -> ViewRegion:
    view = sample.view(camera_id)
    return ViewRegion.of(view, views[ViewName(sample.subject_id, sample.gesture, sample.frame, view.camera)])


def _score(avatar: Avatar, plain: Avatar, region: ViewRegion, found: Figures, kind: str) -> list[ndarray]:
    """Take a view's figures; returns both pictures."""
    shown = []
    for end, one in (("", avatar), ("_unpersonalised", plain)):
        view = one.view(region.view.camera, one.posed(one.photographed.row(0)))
        pictures = {"psnr_fg": view.rgb}
        if view.pbr_rgb is not None and one is avatar:
            pictures["psnr_fg_pbr"] = view.pbr_rgb
        for name, picture in pictures.items():
            value = region.picture(PICTURE_SCORES.psnr, picture)
            for scored in {f"{name}{end}", f"{name}{kind}{end}"}:
                found.add(scored, value)
        shown.append(view.rgb)
    return shown


def _cropped(rgb: Float[ndarray, "height width 3"], region: ViewRegion) -> UInt8[ndarray, "rows columns 3"]:
    rows, columns = np.nonzero(region.view.training_mask)
    return as_uint8(rgb[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
