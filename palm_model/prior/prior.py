"""A trained prior, as its users see it: loaded from a file, asked for views of posed hands."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_data.maps.predicted import PredictedView
from palm_model.prior.batches import pixel_rays
from palm_model.prior.checkpoint import load_checkpoint
from palm_model.prior.colour import srgb
from palm_model.prior.hands import ReleasedHands, released_hands
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.network import PalmNet
from palm_model.prior.parts import Skinning
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.poses import Poses
from palm_model.prior.relight import relit
from palm_model.prior.rendered import Rendered
from palm_model.prior.sampling import Sampler, sampler_for
from palm_model.prior.volume import Rays
from schemas.camera import Camera
from schemas.prior import PriorSettings
from schemas.prior_card import PriorCard

_MARGIN_M = 0.02
"""Room about the registered surface within which rays are cast."""
_LEAST_OPACITY = 0.05
"""Below it a pixel has no depth and no material."""


@dataclass(frozen=True, eq=False)
class Prior:
    """A trained prior."""

    network: PalmNet
    card: PriorCard
    model: HandModel

    @classmethod
    def load(cls, path: Path, model: HandModel) -> "Prior":
        """From its file, or the folder it lies in.

        Raises:
            IntegrityError: as `load_checkpoint` does.
        """
        network, card, _ = load_checkpoint(path, model)
        return cls(network, card, model)

    @property
    def settings(self) -> PriorSettings:
        """What it was trained with."""
        return self.card.settings

    @cached_property
    def sampler(self) -> Sampler:
        """Where its rays are asked."""
        return sampler_for(self.settings.volume.sampling, self.model.v_template, self.model.faces)

    def hands(self, release: Release) -> ReleasedHands:
        """The released hands of the people that it knows, of whom the release must hold some.

        Raises:
            StoreError: as `released_hands` does.
        """
        return released_hands(release, self.model, self.settings.skinning, subject_ids=self.card.subjects)

    def view(
        self, camera: Camera, poses: Poses, skinning: Skinning, *, light: EnvironmentLight | None = None, seed: int = 0
    ) -> PredictedView:
        """What a camera sees of one hand, on black.

        Args:
            poses: one row.
            skinning: with the grid of that hand.
            light: what the shaded picture is lit by, in the rig's world; None: the learned light.
            seed: of the shaded picture's noise.
        """
        rays, pixels = camera_rays(camera, poses.vertices[0])
        device = poses.bones.device
        seen = self.network.render(rays.to(device), poses, skinning=skinning, sampler=self.sampler)
        branch = branch_of(self.network)
        if branch is None:
            return predicted_view(camera, seen, rays, pixels)
        random = torch.Generator(device).manual_seed(seed)
        shaded = relit(
            branch, self.network, seen, rays.to(device), poses, skinning=skinning, random=random, light=light
        )
        return predicted_view(camera, seen, rays, pixels, shaded)


def camera_rays(camera: Camera, vertices: Float[Tensor, "v 3"]) -> tuple[Rays, ndarray]:
    """Rays through the pixels about a hand, and which pixels they are, counted row by row.

    None where all of the hand is behind the camera; through all pixels where some of it is, or nearly.
    """
    world_to_camera = camera.world_to_camera()
    left, top, right, bottom = _window(camera, vertices.detach().cpu().numpy().astype(np.float64))
    y, x = np.mgrid[top:bottom, left:right]
    pixels = (y * camera.width + x).ravel()
    whole = pixel_rays(
        torch.tensor(camera.intrinsics(), dtype=torch.float32),
        torch.tensor(world_to_camera, dtype=torch.float32),
        (camera.height, camera.width),
    )
    chosen = torch.from_numpy(pixels)
    return Rays(whole.origins[chosen], whole.directions[chosen], whole.pose[chosen]), pixels


def _window(camera: Camera, points: Float[ndarray, "v 3"]) -> tuple[int, int, int, int]:
    """The pixels about a hand: left, top, right, bottom."""
    world_to_camera, size = camera.world_to_camera(), np.array([camera.width, camera.height])
    found = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    nearest, farthest = found[:, 2].min() - _MARGIN_M, found[:, 2].max() + _MARGIN_M
    if farthest <= 0:
        return 0, 0, 0, 0
    if nearest <= 0:
        return 0, 0, camera.width, camera.height
    at = found[:, :2] / found[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    # A point moved by the margin m goes at most m (f + |at − c|) / (z − m) pixels.
    slanted = np.abs(at - (camera.cx, camera.cy)) + np.array([camera.fx, camera.fy])
    reach = _MARGIN_M * slanted.max() / nearest
    low, high = np.floor(at.min(axis=0) - reach), np.ceil(at.max(axis=0) + reach)
    left, top = (int(one) for one in np.clip(low, 0, size))
    right, bottom = (int(one) for one in np.clip(high, 0, size))
    return left, top, right, bottom


def predicted_view(
    camera: Camera, seen: Rendered, rays: Rays, pixels: ndarray, shaded: Float[Tensor, "n 3"] | None = None
) -> PredictedView:
    """Pictures of what rays through pixels saw; the other pixels are empty.

    Args:
        shaded: linear colours of the physically based branch, if there is one.
    """
    opacity = seen.opacity.cpu()
    there = opacity > _LEAST_OPACITY
    forward = torch.tensor(camera.world_to_camera()[2, :3], dtype=torch.float32)
    depth = torch.where(there, seen.depth.cpu() * (rays.directions.cpu() @ forward), 0.0)

    def picture(values: Tensor) -> ndarray:
        shown = values.cpu().numpy()
        image = np.zeros((camera.height * camera.width, *shown.shape[1:]), dtype=np.float32)
        image[pixels] = shown
        return image.reshape(camera.height, camera.width, *shown.shape[1:])

    def material(values: Tensor | None) -> ndarray | None:
        if values is None:
            return None
        rows = (-1,) + (1,) * (values.dim() - 1)
        whole = values.cpu() / opacity.clamp(min=_LEAST_OPACITY).view(rows)
        return picture(torch.where(there.view(rows), whole, 0.0))

    return PredictedView(
        rgb=picture(srgb(seen.colour)),
        opacity=picture(opacity.clamp(0.0, 1.0)),
        normal=picture(seen.normal),
        depth=picture(depth),
        albedo=material(seen.albedo),
        roughness=material(seen.alpha),
        pbr_rgb=None if shaded is None else picture(srgb(shaded)),
    )
