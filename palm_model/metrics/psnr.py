"""Peak signal-to-noise ratio."""

import math

from jaxtyping import Bool, Float
from torch import Tensor

from palm_model.metrics.regions import Region, checked_mask, checked_pair, mask_box


def psnr(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None = None,
    *,
    region: Region = "image",
) -> float:
    """−10 log₁₀ of the mean squared error, dB, of sRGB in [0, 1]; infinite for equal images.

    Raises:
        BadInputError: if the images or the mask are not what they must be.
    """
    predicted, target = checked_pair(predicted, target)
    squared = (predicted - target).square()
    if region != "image":
        mask = checked_mask(mask, target)
        squared = squared[mask] if region == "mask" else mask_box(mask).crop(squared)
    error = squared.mean().item()
    return math.inf if error == 0.0 else -10.0 * math.log10(error)
