"""The arithmetic of the published evaluation script, defects included, to compare with numbers made by it.

Its similarity takes colours to span 2, with a uniform window of 7; its perceptual distance gets images in [−1, 1] and
scales them once more, to [−3, 1]; and before both it takes an image's rows for its columns, so that unless the image is
square they see its pixels in rows of the wrong length. The truth's background is white. Never mix these numbers with
the others in one table.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palm_model.metrics.regions import Box, checked_mask, checked_pair, mask_box
from palm_model.metrics.ssim import similarity
from palm_model.prior.perceptual import PerceptualNetwork
from schemas.errors import BadInputError

WINDOW_PX = 7
_RANGE = 2.0


def official_psnr(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> float:
    """PSNR over the mask's pixels, dB: the one of the three that is as it should be.

    Raises:
        BadInputError: if the images or the mask are not what they must be.
    """
    predicted, target = checked_pair(predicted, target)
    inside = checked_mask(mask, target)
    error = (predicted - target)[inside].square().mean().item()
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def official_ssim(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> float:
    """scikit-image 0.18's default similarity on the box of the rewrapped mask.

    Raises:
        BadInputError: if the images or the mask are not what they must be, or the box is smaller than the window.
    """
    predicted, target, box = _seen(predicted, target, mask)
    predicted, target = box.crop(predicted), box.crop(target)
    if min(target.shape[:2]) < WINDOW_PX:
        raise BadInputError(
            "official_ssim", field="mask", expected=f"a box of {WINDOW_PX} px or more", found=tuple(target.shape[:2])
        )
    window = torch.full((WINDOW_PX,), 1.0 / WINDOW_PX, dtype=torch.float64)
    pixels = WINDOW_PX**2
    return similarity(predicted, target, window, data_range=_RANGE, sample=pixels / (pixels - 1)).mean().item()


@torch.no_grad()
def official_perceptual(
    network: PerceptualNetwork,
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
) -> float:
    """The network's distance on the box of the rewrapped mask, of images scaled twice. The script's network is LPIPS-VGG.

    Raises:
        BadInputError: if the images or the mask are not what they must be, or the box has a side below the
            network's `MIN_SIDE_PX`.
    """
    predicted, target, box = _seen(predicted, target, mask)
    twice = (2.0 * box.crop(image) - 1.0 for image in (predicted, target))
    first, second = (image.permute(2, 0, 1)[None].to(network.shift) for image in twice)
    return network(first, second).item()


def rewrapped(image: Tensor) -> Tensor:
    """An image's values in their order, in rows as long as the image is high."""
    height, width = image.shape[:2]
    return image.contiguous().view(width, height, *image.shape[2:])


def _seen(predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Box]:
    """What the script's last two metrics look at."""
    predicted, target = checked_pair(predicted, target)
    inside = checked_mask(mask, target)
    white = torch.where(inside[..., None], target, 1.0)
    return rewrapped(predicted), rewrapped(white), mask_box(rewrapped(inside))
