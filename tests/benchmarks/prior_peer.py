"""A training step of the prior as one writes it plainly: eager torch, normals by two rounds of autograd, all bone starts.

The same release, batch, sizes, samples and losses as ours, through the same code wherever that does nothing for speed.
What differs: the hash grids in torch, the SDF's gradient by autograd (its loss differentiates it again), eq. 3 by
Broyden's method in torch from all sixteen bones, a point's codes written out beside it, and Adam as torch makes it.
"""

from dataclasses import fields
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from palm_data.loader.release import Release
from palm_model.prior import broyden
from palm_model.prior.build import build_palm_net
from palm_model.prior.encoding import HashEncoding
from palm_model.prior.fields import GeometryField, GeometryOut, RadianceField
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.inverse_skinning import InverseSkinning, Roots
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses
from palm_model.prior.sampling import GuidedSampler
from palm_model.prior.shell import plain_shell_along
from palm_model.prior.skinning import Skinned, skin_with_jacobian
from palm_model.prior.train import PriorTraining
from schemas.prior import PriorSettings
from schemas.prior_skinning import SkinningSettings


class PlainSkinning(InverseSkinning):
    """Eq. 3 and its inverse in torch."""

    @torch.no_grad()
    def find(self, points: Float[Tensor, "n 3"], pose: Int[Tensor, "n"], poses: Poses) -> Roots:
        """As the compiled search."""
        found, away = broyden.search(points, pose, poses.bones, self.grids, self.settings)
        return Roots(found, away.isfinite(), away)

    def skinned(self, canonical: Float[Tensor, "m 3"], pose: Int[Tensor, "m"], poses: Poses) -> Skinned:
        """As the compiled loops."""
        return skin_with_jacobian(self.grids, poses.bones, canonical, pose)


class PlainHands(ReleasedHands):
    """Released hands that are skinned so."""

    def select(self, rows: tuple[int, ...]) -> tuple[Poses, InverseSkinning]:  # type: ignore[override]
        """Some of the hands, and their skinning, in that order."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        return self.poses.select(chosen), PlainSkinning(self.grids.for_poses(chosen), self.skinning_settings)


class PlainGeometry(nn.Module):
    """f_g, with what it is told written out for each point."""

    def __init__(self, field: GeometryField) -> None:
        super().__init__()
        self.field = field

    def forward(
        self,
        unit: Tensor,
        pose_code: Tensor,
        shape_code: Tensor,
        betas: Tensor,
        open_levels: float | None,
        row: Tensor,
    ) -> GeometryOut:
        """As the field."""
        out: GeometryOut = self.field(unit, pose_code[row], shape_code[row], betas[row], open_levels)
        return out


class PlainRadiance(nn.Module):
    """f_rf, likewise."""

    def __init__(self, field: RadianceField) -> None:
        super().__init__()
        self.field = field

    def grid(self, unit: Tensor, open_levels: float | None) -> Tensor:
        """As the field's."""
        return self.field.grid(unit, open_levels)

    def forward(
        self,
        grid: Tensor,
        feature: Tensor,
        reflected: Tensor,
        normal: Tensor,
        pose_code: Tensor,
        appearance_code: Tensor,
        open_bands: float | None,
        row: Tensor,
    ) -> Tensor:
        """As the field."""
        shown: Tensor = self.field(grid, feature, reflected, normal, pose_code[row], appearance_code[row], open_bands)
        return shown


class PlainSampler(GuidedSampler):
    """Samples about the registered surface, by torch."""

    along = staticmethod(plain_shell_along)


class PlainTraining(PriorTraining):
    """A training that takes its steps so."""

    def __init__(self, release: Release, hands: ReleasedHands, settings: PriorSettings, start: PalmNet) -> None:
        """Take what ours takes.

        Args:
            settings: ours; they are made plain here.
            start: the network that ours starts from, which stays as it is.
        """
        plain = plain_settings(settings)
        own = {one.name: getattr(hands, one.name) for one in fields(ReleasedHands)}
        super().__init__(
            release,
            PlainHands(**{**own, "skinning_settings": plain.skinning}),
            plain,
            plain_network(start, plain, hands),
            state_file=Path("never-written.safetensors"),
            device=torch.device("cpu"),
        )
        sampling, model = plain.volume.sampling, hands.model
        if sampling.kind == "guided":
            self.sampler = PlainSampler(model.v_template, model.faces, sampling)
        groups = [{**group, "fused": None} for group in self._optimizer.param_groups]
        self._optimizer = torch.optim.Adam(groups, lr=1.0)


def plain_settings(settings: PriorSettings) -> PriorSettings:
    """The same with the SDF's gradient by autograd, and the published search."""
    volume = settings.volume.model_copy(update={"normals": "autograd"})
    return settings.model_copy(update={"volume": volume, "skinning": SkinningSettings()})


def plain_network(start: PalmNet, settings: PriorSettings, hands: ReleasedHands) -> PalmNet:
    """A network with the same weights, whose parts do nothing for speed."""
    network = build_palm_net(settings, hands.model, len(hands.subject_ids))
    network.load_state_dict(start.state_dict())
    for part in network.modules():
        if isinstance(part, HashEncoding):
            part.implementation = "reference"
    if not isinstance(network.geometry, GeometryField) or not isinstance(network.radiance, RadianceField):
        raise TypeError("expected the fields that a training builds")
    network.geometry, network.radiance = PlainGeometry(network.geometry), PlainRadiance(network.radiance)
    return network
