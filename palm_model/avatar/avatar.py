"""An avatar: one person's hand in any pose, as any camera sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import HandModel
from palm_data.maps.predicted import PredictedView
from palm_model.avatar.fit import CODE_VERSION, AvatarFit, FitReport, Fitted
from palm_model.avatar.person import person_network, trained_conditioning
from palm_model.avatar.photo import Photo
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses, posed_hands
from palm_model.prior.prior import Prior
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.avatar import AvatarCard, AvatarSettings
from schemas.camera import Camera
from schemas.errors import SettingsError
from schemas.ids import Sha256

_BOOK, _LIGHT = ".book.", "light."


@dataclass(frozen=True, eq=False)
class HandPoses:
    """Poses of a hand without its shape, which is always the avatar's own; world, metres and radians."""

    global_orient: Float[Tensor, "p 3"]
    hand_pose: Float[Tensor, "p 45"]
    """Offsets from the model's mean pose."""
    transl: Float[Tensor, "p 3"]

    def __len__(self) -> int:
        return len(self.transl)

    def row(self, number: int) -> "HandPoses":
        """One of them."""
        at = slice(number, number + 1)
        return HandPoses(self.global_orient[at], self.hand_pose[at], self.transl[at])


@dataclass(frozen=True, eq=False)
class Avatar:
    """One person's hand; holds the prior's networks, and the codes of nobody else."""

    network: PalmNet
    betas: Float[Tensor, "1 10"]
    photographed: HandPoses
    """The photographs' hands, corrected."""
    card: AvatarCard
    model: HandModel

    @cached_property
    def skinning(self) -> InverseSkinning:
        """For one hand of this shape."""
        settings = self.card.prior.settings.skinning
        return InverseSkinning(SkinningGrids.build(self.model, self.betas, settings), settings)

    def with_figures(self, figures: Mapping[str, float | int]) -> "Avatar":
        """The same with other figures on its card."""
        return replace(self, card=self.card.model_copy(update={"figures": dict(figures)}))

    @torch.no_grad()
    def posed(self, poses: HandPoses) -> Poses:
        """The person's hand in these poses: whoever they were taken from, the shape is the person's."""
        layer = HandLayer(self.model).to(self.betas.device)
        subject = torch.zeros(len(poses), dtype=torch.int64, device=self.betas.device)
        return posed_hands(
            layer,
            self.betas.expand(len(poses), -1),
            poses.global_orient,
            poses.hand_pose,
            poses.transl,
            subject=subject,
        )

    def view(
        self, camera: Camera, poses: Poses, *, light: EnvironmentLight | None = None, seed: int = 0
    ) -> PredictedView:
        """What a camera sees of one hand, on black.

        `rgb` is the radiance branch's, in the light of the prior's studio; `pbr_rgb` is shaded, where there is a light.

        Args:
            poses: one row, made by `posed`.
            light: what shades, in the rig's world (+z up); None: the photographs' own.
            seed: of the shaded picture's noise.

        Raises:
            SettingsError: if another light is asked for, and the prior was trained without the branch that shades.
        """
        if light is not None and not self.card.light:
            raise SettingsError(
                "avatar: expected a prior that was trained with the PBR branch, found one that was trained without it: "
                "its material means nothing, and it cannot be relit. Train a prior with settings of `pbr`, and personalise again."
            )
        prior = Prior(self.network, self.card.prior, self.model)
        return prior.view(camera, poses, self.skinning, light=light, seed=seed)


def personalise(
    prior: Prior,
    photos: Sequence[Photo],
    settings: AvatarSettings,
    *,
    prior_sha256: Sha256,
    state_file: Path | None = None,
    device: torch.device | None = None,
    report: Callable[[FitReport], None] = lambda report: None,
) -> Avatar:
    """An avatar of the person in the photographs (eq. 16).

    Args:
        prior_sha256: digest of the prior's file, for the card.
        state_file: what a killed fit goes on from; it is the caller's to remove once the avatar is written.

    Raises:
        BadInputError: if there is no photograph, or a hand and its mask have nothing in common.
        GeometryError: if the hand's shape does not fit into the canonical cube.
        TrainingError: if the numbers are not finite, many steps in a row.
    """
    fit = AvatarFit(prior, photos, settings, state_file=state_file, device=device)
    return _avatar(prior, photos, settings, fit.run(report), prior_sha256)


def _avatar(
    prior: Prior, photos: Sequence[Photo], settings: AvatarSettings, fitted: Fitted, prior_sha256: Sha256
) -> Avatar:
    hands, device = fitted.hands, fitted.hands.betas.device
    orient, pose, transl = (one.detach() for one in hands.corrected())
    parts = fitted.codes.parts()
    names = ("shape", "appearance")[: len(parts)]
    away = {f"{name}_distance": part.distance() for name, part in zip(names, parts, strict=True)}
    figures: dict[str, float | int] = {
        "steps": settings.steps,
        "steps_refused": fitted.refused,
        "photos": len(photos),
        "pose_correction_deg_max": _rounded(torch.rad2deg(torch.cat([hands.turn, hands.bend], dim=1).abs().max())),
        "place_correction_mm_max": _rounded(1000.0 * hands.shift.norm(dim=1).max()),
        **{name: _rounded(value) for name, value in away.items()},
    }
    card = AvatarCard(
        name="PALM avatar",
        code_version=CODE_VERSION,
        settings=settings,
        prior_sha256=prior_sha256,
        prior=prior.card,
        hand_model=prior.model.sha256,
        photos=tuple(photo.describe() for photo in photos),
        light=fitted.light is not None,
        figures=figures,
    )
    network = _own_network(prior, fitted).to(device)
    return Avatar(network, hands.betas, HandPoses(orient, pose, transl), card, prior.model)


def _own_network(prior: Prior, fitted: Fitted) -> PalmNet:
    """The prior's networks with a code book of the one person."""
    network = person_network(prior.settings, prior.model)
    network.open = prior.network.open
    own = trained_conditioning(network)
    theirs = {name: one for name, one in prior.network.state_dict().items() if _shared(name)}
    if fitted.light is not None:
        theirs |= {_LIGHT + name: one for name, one in fitted.light.state_dict().items()}
    missing, unknown = network.load_state_dict(theirs, strict=False)
    assert not unknown and all(_BOOK in name for name in missing)  # noqa: S101, PT018 - ours to keep true
    fitted.codes.book_rows(own.book)
    return network


def _shared(name: str) -> bool:
    """Whether a tensor of the prior's is the avatar's too: not others' codes, nor the studio's light."""
    return _BOOK not in name and not name.startswith(_LIGHT)


def _rounded(value: Tensor) -> float:
    return round(float(value.detach()), 5)
