"""What a fit sees in a step: pixels of the photographs, by the step's number alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from palm_model.avatar.photo import Photo
from palm_model.prior.prior import camera_rays
from palm_model.prior.volume import Rays
from schemas.errors import BadInputError

_BAND = 0.15
"""Pixels outside of the mask are drawn from a band about it, this share of the mask's extent wide."""


class PhotoRays(NamedTuple):
    """Rays through some pixels and what the photographs show there; a ray's pose is its photograph."""

    rays: Rays
    colour: Float[Tensor, "n 3"]
    """sRGB in [0, 1], black outside of the mask."""
    mask: Bool[Tensor, "n"]
    uniform: Float[Tensor, "n numbers"]
    """For the sampler."""

    def to(self, device: torch.device) -> "PhotoRays":
        """The same on a device."""
        rays, colour, mask, uniform = self
        return PhotoRays(rays.to(device), colour.to(device), mask.to(device), uniform.to(device))


class _Table(NamedTuple):
    """The pixels of one photograph that may be drawn."""

    rays: Rays
    colour: Tensor
    mask: Tensor
    inside: Tensor
    around: Tensor


class PhotoPixels:
    """The pixels of photographs about their hands."""

    def __init__(self, photos: Sequence[Photo], vertices: Float[Tensor, "photos v 3"]) -> None:
        """Take them.

        Args:
            vertices: of each photograph's hand, world; pixels far from it are never drawn.

        Raises:
            BadInputError: if a mask and the hand that was fitted have no pixel in common.
        """
        self._tables = [
            _table(photo, number, surface) for number, (photo, surface) in enumerate(zip(photos, vertices, strict=True))
        ]

    def draw(self, step: int, *, rays: int, outside_share: float, numbers: int, seed: int) -> PhotoRays:
        """The rays of a step, the same for the same seed, in equal shares from the photographs.

        Args:
            numbers: that the sampler takes of each ray.
        """
        random = torch.Generator().manual_seed((seed << 24) + step)
        own = math.ceil(rays / len(self._tables))
        parts = []
        for number, table in enumerate(self._tables):
            outside = round(own * outside_share) if len(table.around) else 0
            chosen = torch.cat(
                [
                    among[torch.randint(len(among), (count,), generator=random)]
                    for among, count in ((table.inside, own - outside), (table.around, outside))
                    if count
                ]
            )
            pose = torch.full_like(chosen, number)
            at = Rays(table.rays.origins[chosen], table.rays.directions[chosen], pose)
            parts.append((at, table.colour[chosen], table.mask[chosen]))
        joined = Rays(
            *(torch.cat([getattr(at, name) for at, _, _ in parts]) for name in ("origins", "directions", "pose"))
        )
        colour, mask = torch.cat([one for _, one, _ in parts]), torch.cat([one for _, _, one in parts])
        return PhotoRays(joined, colour, mask, torch.rand(len(joined), numbers, generator=random))


def _table(photo: Photo, number: int, vertices: Float[Tensor, "v 3"]) -> _Table:
    rays, pixels = camera_rays(photo.camera, vertices)
    mask = photo.mask.ravel()[pixels]
    if not mask.any():
        raise BadInputError(
            f"photo {number + 1}",
            field="hand",
            expected="a fitted hand that lies over the mask",
            found="none of the mask's pixels near it",
            hint="Is the fit in the axes that camera.json says?",
        )
    colour = photo.rgb.reshape(-1, 3)[pixels].astype(np.float32) / 255.0 * mask[:, None]
    around = _band(photo.mask).ravel()[pixels] & ~mask
    return _Table(
        rays,
        torch.from_numpy(colour),
        torch.from_numpy(mask),
        torch.from_numpy(mask.nonzero()[0]),
        torch.from_numpy(around.nonzero()[0]),
    )


def _band(mask: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"]:
    """The mask, grown."""
    rows, columns = np.nonzero(mask)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    reach = max(int(_BAND * extent), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0
