"""Avatars: what a photograph comes with, how a prior is fitted to it, and what an avatar says of itself.

`hand.json` is a `HandFit`, `camera.json` a `PhotoCamera`; `palm personalize --formats` shows both.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from schemas.camera import Camera, Matrix3, Row3
from schemas.ids import CameraId, Sha256, SubjectId, VersionId
from schemas.prior_card import PriorCard

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)

LEVEL_CAMERA: Matrix3 = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""World to camera of one that is held level and looks along the world's +y; +z is up, where light maps have their zenith."""

_EXAMPLE_HAND: JsonDict = {
    "global_orient": [0.1, -0.2, 1.3],
    "hand_pose": [0.0] * 45,
    "betas": [0.4, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    "transl": [0.02, -0.01, 0.45],
}
_EXAMPLE_CAMERA: JsonDict = {"width": 1080, "height": 1920, "fx": 1500.0, "fy": 1500.0, "cx": 540.0, "cy": 960.0}


def _numbers(count: int, description: str) -> object:
    return Field(min_length=count, max_length=count, description=description)


class HandFit(BaseModel):
    """Where the hand in a photograph is, in MANO's parameters, metres and radians, in the world of the photograph's camera."""

    model_config = ConfigDict(**_FROZEN, json_schema_extra={"examples": [_EXAMPLE_HAND]})

    global_orient: Annotated[tuple[float, ...], _numbers(3, "Axis-angle about the rest wrist joint, radians.")]
    hand_pose: Annotated[
        tuple[float, ...],
        _numbers(45, "Axis-angle of joints 1–15, radians; an offset from the model's mean pose unless flat_hand_mean."),
    ]
    betas: Annotated[tuple[float, ...], _numbers(10, "Shape coefficients, in standard deviations.")]
    transl: Annotated[tuple[float, ...], _numbers(3, "Added after posing, metres.")]
    flat_hand_mean: Annotated[bool, Field(description="True: hand_pose is counted from the flat hand.")] = False
    model_sha256: Annotated[
        Sha256 | None, Field(description="Digest of the hand model that was fitted; None: the prior's, unchecked.")
    ] = None


class PhotoCamera(BaseModel):
    """The pinhole camera of an undistorted photograph; pixel corners are at integers.

    Without rotation and translation the hand's fit is in the camera's own axes (x right, y down, z forward), and the
    camera is taken to have been held level.
    """

    model_config = ConfigDict(**_FROZEN, json_schema_extra={"examples": [_EXAMPLE_CAMERA]})

    width: Annotated[int, Field(gt=0, description="Width of the photograph as stored, px.")]
    height: Annotated[int, Field(gt=0, description="Its height, px.")]
    fx: Annotated[float, Field(gt=0, description="Focal length along x, px.")]
    fy: Annotated[float, Field(gt=0, description="Focal length along y, px.")]
    cx: Annotated[float, Field(description="Principal point x, px.")]
    cy: Annotated[float, Field(description="Principal point y, px.")]
    rotation: Annotated[
        Matrix3 | None, Field(description="World (+z up) to camera, rows; None: the fit is in camera axes.")
    ] = None
    translation: Annotated[Row3 | None, Field(description="World to camera, metres; given with rotation.")] = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.rotation is None) != (self.translation is None):
            raise ValueError("expected rotation and translation, or neither, found one of them")
        return self

    @property
    def placed(self) -> bool:
        """Whether the camera's place in the world is known."""
        return self.rotation is not None

    def camera(self) -> Camera:
        """As our code has cameras; one whose place is not known is level, at the origin."""
        return Camera(
            camera_id="MCU_01",
            calibration_id="photo",
            **self.model_dump(include={"width", "height", "fx", "fy", "cx", "cy"}),
            rotation=self.rotation or LEVEL_CAMERA,
            translation=self.translation or (0.0, 0.0, 0.0),
        )


class AvatarLosses(BaseModel):
    """What a fit weighs (eq. 16); every term is a mean."""

    model_config = _FROZEN

    colour: Annotated[float, Field(ge=0, description="L1 of the radiance branch's colours, sRGB.")] = 1.0
    pbr_colour: Annotated[float, Field(ge=0, description="L1 of the shaded colours, sRGB.")] = 0.2
    segmentation: Annotated[float, Field(ge=0, description="Cross-entropy of opacity and mask.")] = 0.02
    latent: Annotated[
        float,
        Field(ge=0, description="Squared distance of the codes from the trained people's mean, in their spread."),
    ] = 1e-2
    pose: Annotated[
        float, Field(ge=0, description="Squared corrections of joints, radians, and place, centimetres.")
    ] = 1.0


class AvatarSettings(BaseModel):
    """How a prior is fitted to photographs: its networks stay as they are."""

    model_config = _FROZEN

    seed: Annotated[int, Field(ge=0, description="Everything random follows from it.")] = 0
    steps: Annotated[int, Field(ge=0, description="Optimiser steps; 0: the trained people's mean.")] = 300
    rays: Annotated[int, Field(ge=1, description="Rays of a step, of all photographs together.")] = 512
    outside_share: Annotated[
        float, Field(ge=0, lt=1, description="Share of them that miss the mask, about the hand.")
    ] = 0.2
    components: Annotated[
        int, Field(ge=0, description="Directions in which the trained people's codes differ most; fewer people, fewer.")
    ] = 5
    free_from: Annotated[int, Field(ge=0, description="Step from which the codes may leave that subspace.")] = 150
    pose_from: Annotated[int, Field(ge=0, description="Step from which poses are corrected.")] = 50
    pbr_from: Annotated[int, Field(ge=0, description="Step from which the light and the shaded colours count.")] = 100
    code_rate: Annotated[float, Field(gt=0, description="Learning rate of codes, in the trained people's spread.")] = (
        0.05
    )
    pose_rate: Annotated[float, Field(gt=0, description="Learning rate of joint angles, radians.")] = 1e-3
    place_rate: Annotated[float, Field(gt=0, description="Learning rate of the hand's place, metres.")] = 1e-4
    light_rate: Annotated[float, Field(gt=0, description="Learning rate of the environment's numbers.")] = 1e-2
    warm_up: Annotated[int, Field(ge=0, description="Steps over which the rates rise.")] = 10
    last_rate: Annotated[float, Field(gt=0, le=1, description="What a cosine brings them down to, as a share.")] = 0.1
    clip_norm: Annotated[float, Field(gt=0, description="Gradients are scaled to at most this norm.")] = 1.0
    save_every: Annotated[int, Field(ge=1, description="Steps between two states to go on from.")] = 50
    losses: AvatarLosses = AvatarLosses()


class PhotoOrigin(BaseModel):
    """The view of a release that a photograph is."""

    model_config = _FROZEN

    release_version: VersionId
    merkle_root: Sha256
    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId


class AvatarPhoto(BaseModel):
    """A photograph that an avatar was fitted to, without its pixels."""

    model_config = _FROZEN

    image_sha256: Annotated[Sha256, Field(description="Digest of the photograph's pixels (sRGB, rows from the top).")]
    mask_sha256: Annotated[Sha256, Field(description="Digest of the mask's pixels.")]
    camera: Annotated[Camera, Field(description="The camera, in the avatar's world.")]
    fit: Annotated[HandFit, Field(description="The hand as it was given, in that world.")]
    origin: Annotated[PhotoOrigin | None, Field(description="The release's view; None: a user's own.")] = None


class AvatarCard(BaseModel):
    """What an avatar was made of, how, and how well it shows the photographs that it was fitted to."""

    model_config = _FROZEN

    name: str
    code_version: str
    settings: Annotated[AvatarSettings, Field(description="How the prior was fitted.")]
    prior_sha256: Annotated[Sha256, Field(description="Digest of the prior's file.")]
    prior: Annotated[PriorCard, Field(description="The prior's own card; its networks are the avatar's.")]
    hand_model: Annotated[Sha256, Field(description="Digest of the hand model.")]
    photos: tuple[AvatarPhoto, ...]
    light: Annotated[bool, Field(description="Whether a light was fitted, so that the avatar can be relit.")]
    figures: Annotated[dict[str, float | int], Field(description="Steps, and how well the photographs are shown.")]
