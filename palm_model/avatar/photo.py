"""A photograph of a hand with all that a fit needs: mask, camera and the hand's parameters, from files or a release."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy import ndarray
from pydantic import BaseModel, ValidationError

from palm_data.capture.images import read_image
from palm_data.capture.raw_files import read_bounded
from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_model.prior.bones import rotation_matrices
from palm_model.prior.canonical import canonical_joints
from schemas.avatar import AvatarPhoto, HandFit, PhotoCamera, PhotoOrigin
from schemas.camera import Camera
from schemas.errors import BadInputError, StoreError
from schemas.ids import CameraId, SubjectId
from schemas.prior import Region

_MAX_PIXELS = 40_000_000
_MAX_JSON_BYTES = 1 << 20
_HALF = 127
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph; the world is +z up."""

    rgb: UInt8[ndarray, "height width 3"]
    """sRGB, undistorted."""
    mask: Bool[ndarray, "height width"]
    """Where the hand is; the forearm may be part of it."""
    camera: Camera
    fit: HandFit
    """In the camera's world, hand_pose as an offset from the model's mean pose."""
    origin: PhotoOrigin | None = None

    def describe(self) -> AvatarPhoto:
        """What an avatar's card says of it."""
        return AvatarPhoto(
            image_sha256=_digest(self.rgb),
            mask_sha256=_digest(self.mask),
            camera=self.camera,
            fit=self.fit,
            origin=self.origin,
        )


@dataclass(frozen=True)
class PhotoFiles:
    """The files of one photograph."""

    photo: Path
    mask: Path
    hand: Path
    camera: Path


def read_photo(files: PhotoFiles, model: HandModel) -> Photo:
    """A user's own photograph; grey ones count as colour.

    Raises:
        BadInputError: if a file is not what it should be, or they do not belong together; says which and what.
    """
    stated = _read_json(files.camera, PhotoCamera)
    camera = stated.camera()
    rgb = read_image(files.photo, max_pixels=_MAX_PIXELS)
    mask = read_image(files.mask, max_pixels=_MAX_PIXELS)
    rgb = np.repeat(rgb[..., None], 3, axis=2) if rgb.ndim == 2 else rgb
    mask = mask if mask.ndim == 2 else mask.max(axis=2)
    for path, image in ((files.photo, rgb), (files.mask, mask)):
        _check_size(path, image, camera, files.camera)
    if not (mask > _HALF).any():
        raise BadInputError(files.mask, field="pixels", expected="some of the hand, above 127", found="none")
    fit = _read_json(files.hand, HandFit)
    if fit.model_sha256 not in (None, model.sha256):
        raise BadInputError(
            files.hand,
            field="model_sha256",
            expected=f"{model.sha256}, the prior's hand model",
            found=fit.model_sha256,
            hint="Fit the prior's hand model to the photograph.",
        )
    fit = from_mean_pose(fit, model)
    if not stated.placed:
        fit = in_world(fit, camera, model)
    return _checked(Photo(rgb, mask > _HALF, camera, fit), model, str(files.hand))


def read_camera(path: Path) -> Camera:
    """The camera that a PhotoCamera's JSON file tells of.

    Raises:
        BadInputError: if the file is none.
    """
    return _read_json(path, PhotoCamera).camera()


def released_photo(
    release: Release,
    subject_id: SubjectId,
    frame: int,
    camera_id: CameraId,
    model: HandModel,
    *,
    region: Region = "training_mask",
) -> Photo:
    """A release's view as a photograph, with the capture's fitted hand.

    Raises:
        StoreError: if the release has no such view, no image of it, no fitted hand, or one of another hand model.
    """
    sample = release.capture(subject_id, frame)
    view, hand = sample.view(camera_id), sample.hand
    if hand is None or not view.present:
        expected = "a fitted hand" if hand is None else f"an image of {camera_id}"
        raise StoreError(f"{sample}: expected {expected}, found none.")
    convention = release.hand_convention
    if convention.model_sha256 != model.sha256:
        raise StoreError(
            f"{release}: hand model: expected {model.sha256}, the prior's, found {convention.model_sha256}."
        )
    names = ("global_orient", "hand_pose", "betas", "transl")
    fit = HandFit(
        **{name: tuple(np.asarray(getattr(hand, name), dtype=float).tolist()) for name in names},
        flat_hand_mean=convention.flat_hand_mean,
        model_sha256=model.sha256,
    )
    mask = getattr(view, region)
    if not mask.any():
        raise StoreError(f"{sample}: {camera_id}: {region}: expected some of the hand, found none.")
    origin = PhotoOrigin(
        release_version=release.version,
        merkle_root=release.manifest.merkle_root,
        subject_id=subject_id,
        frame=frame,
        camera_id=camera_id,
    )
    photo = Photo(view.rgb, mask, view.camera, from_mean_pose(fit, model), origin)
    return _checked(photo, model, f"{sample} {camera_id}")


def from_mean_pose(fit: HandFit, model: HandModel) -> HandFit:
    """The same hand with its pose as an offset from the model's mean pose."""
    if not fit.flat_hand_mean:
        return fit
    offset = np.asarray(fit.hand_pose) - model.hands_mean
    return fit.model_copy(update={"hand_pose": tuple(offset.tolist()), "flat_hand_mean": False})


def in_world(fit: HandFit, camera: Camera, model: HandModel) -> HandFit:
    """A hand that is given in a camera's axes, in the camera's world.

    The rotation acts about the rest wrist joint J, so x = R (p − J) + J + t becomes RᵀC R p …, with
    transl' = Rcᵀ (J + t − tc) − J.
    """
    turn = np.asarray(camera.rotation, dtype=float).T
    joint = canonical_joints(model, torch.tensor([fit.betas], dtype=torch.float64))[0, 0].numpy()
    orient = rotation_matrices(torch.tensor(fit.global_orient, dtype=torch.float64)).numpy()
    place = turn @ (joint + np.asarray(fit.transl) - np.asarray(camera.translation)) - joint
    return fit.model_copy(update={"global_orient": _axis_angle(turn @ orient), "transl": tuple(place.tolist())})


def _axis_angle(rotation: ndarray) -> tuple[float, ...]:
    from scipy.spatial.transform import Rotation

    return tuple(Rotation.from_matrix(rotation).as_rotvec().tolist())


def _checked(photo: Photo, model: HandModel, source: str) -> Photo:
    """The photograph, if its hand stands before its camera and its wrist or middle is near the image."""
    camera = photo.camera
    joints = canonical_joints(model, torch.tensor([photo.fit.betas], dtype=torch.float64))[0].numpy()
    place = joints[0] + np.asarray(photo.fit.transl)
    x, y, depth = camera.intrinsics() @ (camera.world_to_camera()[:3] @ np.append(place, 1.0))
    if depth <= 0:
        raise BadInputError(
            source,
            field="transl",
            expected="a hand in front of the camera",
            found=f"its wrist {depth:.3f} m along the camera's z",
            hint="Metres, in the camera's axes or, where camera.json has rotation and translation, in the world.",
        )
    reach = max(camera.width, camera.height)
    if not (-reach < x / depth < camera.width + reach and -reach < y / depth < camera.height + reach):
        raise BadInputError(
            source,
            field="transl",
            expected=f"a wrist near the image of {camera.width}×{camera.height}",
            found=f"it at ({x / depth:.0f}, {y / depth:.0f}) px",
        )
    return photo


def _check_size(path: Path, image: ndarray, camera: Camera, stated: Path) -> None:
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise BadInputError(
            path,
            field="size",
            expected=f"{camera.width}×{camera.height}, as {stated} says",
            found=f"{width}×{height}",
            hint="Pixels are taken as stored: a photograph that is turned by its EXIF orientation must be turned for good.",
        )


def _read_json(path: Path, kind: type[_Model]) -> _Model:
    content = read_bounded(path, max_bytes=_MAX_JSON_BYTES)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise BadInputError(
            path,
            field=field,
            expected=f"a {kind.__name__} ({first['msg'].lower()})",
            found=str(first.get("input"))[:80],
            hint=f"An example: {kind.model_json_schema()['examples'][0]}",
        ) from None


def _digest(pixels: ndarray) -> str:
    return hashlib.sha256(
        f"{pixels.dtype.str}{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()
    ).hexdigest()
