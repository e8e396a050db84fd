"""A small prior of three people that nobody trained, and photographs of a fourth that it took itself."""

import functools
import math

import numpy as np
import torch

from palm_data.hand.layer import HandLayer
from palm_model.avatar.photo import Photo
from palm_model.prior.build import build_palm_net
from palm_model.prior.codes import Conditioning
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.poses import Poses, posed_hands
from palm_model.prior.presets import preset, with_pbr
from palm_model.prior.prior import Prior
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.avatar import LEVEL_CAMERA, AvatarLosses, AvatarSettings, HandFit
from schemas.camera import Camera
from schemas.prior import PriorSettings
from schemas.prior_card import PriorCard
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings
from schemas.prior_skinning import FAST_SKINNING
from schemas.prior_volume import GuidedSampling
from tests.palm_model.prior.hands import MODEL

BETAS = tuple(np.linspace(-0.8, 0.8, 10).tolist())
FIT = HandFit(
    global_orient=(0.3, -0.2, 0.5),
    hand_pose=tuple(np.linspace(-0.2, 0.2, 45).tolist()),
    betas=BETAS,
    transl=(0.045, 0.45, 0.02),
    model_sha256=MODEL.sha256,
)
"""In front of a level camera at the origin."""
PORTRAIT = Camera(
    camera_id="MCU_01",
    calibration_id="photo",
    width=36,
    height=48,
    fx=80.0,
    fy=80.0,
    cx=18.0,
    cy=24.0,
    rotation=LEVEL_CAMERA,
    translation=(0.0, 0.0, 0.0),
)
FEW_STEPS = AvatarSettings(steps=20, rays=64, free_from=10, pose_from=40, warm_up=2, save_every=5, code_rate=0.3)
ONLY_COLOUR = AvatarLosses(segmentation=0.0, latent=0.0, pose=0.0)


def prior_settings(*, lit: bool = False, **fields: object) -> PriorSettings:
    tiny = with_pbr(preset("tiny")) if lit else preset("tiny")
    encoding = EncodingSettings(levels=4, log2_table_size=10)
    sizes = {"width": 16, "pose_code": 4, "shape_code": 6, "appearance_code": 6, "code_std": 1.0, **fields}
    return tiny.model_copy(
        update={
            "fields": FieldSettings.model_validate(sizes),
            "geometry_encoding": encoding,
            "radiance_encoding": encoding,
            "skinning": FAST_SKINNING.model_copy(update={"resolution": 24}),
            "volume": tiny.volume.model_copy(update={"sampling": GuidedSampling(samples=8)}),
        }
    )


def small_prior(people: int = 3, *, lit: bool = False, **fields: object) -> Prior:
    settings = prior_settings(lit=lit, **fields)
    subjects = tuple(f"{number:04d}" for number in range(1, people + 1))
    card = PriorCard(
        name="PALM-Net prior",
        code_version="1",
        settings=settings,
        release_version="0.1.0",
        merkle_root="0" * 64,
        data_digest="0" * 64,
        subjects=subjects,
        hand_model=MODEL.sha256,
        views=9,
        figures={},
    )
    return Prior(build_palm_net(settings, MODEL, people).eval(), card, MODEL)


def posed(fit: HandFit) -> Poses:
    rows = (torch.tensor([getattr(fit, name)]) for name in ("betas", "global_orient", "hand_pose", "transl"))
    return posed_hands(HandLayer(MODEL), *rows, subject=torch.zeros(1, dtype=torch.int64))


@functools.cache
def skinning(betas: tuple[float, ...] = BETAS) -> InverseSkinning:
    settings = prior_settings().skinning
    return InverseSkinning(SkinningGrids.build(MODEL, torch.tensor([betas]), settings), settings)


@functools.cache
def photographed(camera: Camera = PORTRAIT, fit: HandFit = FIT) -> Photo:
    """Somebody between the prior's people, seen by its radiance branch."""
    prior = small_prior()
    assert isinstance(prior.network.conditioning, Conditioning)
    book = prior.network.conditioning.book
    mix = torch.tensor([1.6, -0.9, 0.3])
    with torch.no_grad():
        book.shape[0] = mix @ book.shape
        book.own_appearance[0] = mix @ book.own_appearance
    view = prior.view(camera, posed(fit), skinning(fit.betas))
    rgb = np.rint(255.0 * view.rgb).astype(np.uint8)
    return Photo(rgb, view.opacity > 0.5, camera, fit)


def psnr(found: np.ndarray, photo: Photo) -> float:
    """Inside the mask, dB."""
    error = (found - photo.rgb / 255.0)[photo.mask]
    return -10.0 * math.log10(max(float((error**2).mean()), 1e-12))
