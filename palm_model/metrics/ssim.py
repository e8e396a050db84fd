"""Structural similarity (Wang and others, 2004): a Gaussian window of 11 pixels, colours from 0 to 1."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from palm_model.metrics.regions import Region, checked_mask, checked_pair, mask_box
from schemas.errors import BadInputError

WINDOW_PX = 11
_SIGMA_PX = 1.5
_K1, _K2 = 0.01, 0.03


def ssim(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None = None,
    *,
    region: Region = "image",
) -> float:
    """Mean similarity over the region and the channels, at most 1.

    Only pixels with a whole window count, as in scikit-image (torchmetrics counts windows that the mirrored image fills
    too). In the region `box` the windows end at the box, as if the image did; in the
    region `mask` they see the mask's surroundings.

    Raises:
        BadInputError: if the images or the mask are not what they must be, or the region has no whole window.
    """
    predicted, target = checked_pair(predicted, target)
    if region == "box":
        box = mask_box(checked_mask(mask, target))
        predicted, target = box.crop(predicted), box.crop(target)
    side = min(target.shape[:2])
    if side < WINDOW_PX:
        raise BadInputError("ssim", field=region, expected=f"{WINDOW_PX} px or more on a side", found=f"{side} px")
    values = similarity(predicted, target, gaussian_window(), data_range=1.0)
    if region != "mask":
        return values.mean().item()
    rim = WINDOW_PX // 2
    inside = checked_mask(mask, target)[rim:-rim, rim:-rim]
    if not bool(inside.any()):
        raise BadInputError("ssim", field="mask", expected="a pixel with a whole window", found="only some at the rim")
    return values[inside].mean().item()


def gaussian_window() -> Float[Tensor, " side"]:
    """One axis of the window; it adds up to 1."""
    places = torch.arange(WINDOW_PX, dtype=torch.float64) - WINDOW_PX // 2
    line = torch.exp(-0.5 * (places / _SIGMA_PX) ** 2)
    return line / line.sum()


def similarity(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    window: Float[Tensor, " side"],
    *,
    data_range: float,
    sample: float = 1.0,
) -> Float[Tensor, "rows columns 3"]:
    """The similarity at every pixel with a whole window.

    Args:
        window: one axis; the window is its product with itself.
        data_range: largest value minus smallest, which the two constants scale with.
        sample: what variances are multiplied by: n/(n−1) makes them those of a sample of n.
    """
    line = window.to(target)
    images = torch.stack([predicted, target]).permute(0, 3, 1, 2)
    first, second = images
    mean_first, mean_second, square_first, square_second, product = _blurred(
        torch.stack([first, second, first.square(), second.square(), first * second]), line
    )
    variances = sample * (square_first - mean_first.square() + square_second - mean_second.square())
    covariance = sample * (product - mean_first * mean_second)
    small, smaller = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    above = (2 * mean_first * mean_second + small) * (2 * covariance + smaller)
    below = (mean_first.square() + mean_second.square() + small) * (variances + smaller)
    return (above / below).permute(1, 2, 0)


def _blurred(images: Float[Tensor, "n c h w"], line: Float[Tensor, " side"]) -> Float[Tensor, "n c rows columns"]:
    flat = images.flatten(0, 1)[:, None]
    flat = functional.conv2d(functional.conv2d(flat, line[None, None, :, None]), line[None, None, None, :])
    return flat[:, 0].unflatten(0, images.shape[:2])
