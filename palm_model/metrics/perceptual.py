"""Perceptual distance of pictures on a region."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palm_model.metrics.regions import Region, checked_mask, checked_pair, mask_box
from palm_model.prior.perceptual import PerceptualNetwork


@torch.no_grad()
def perceptual_distance(
    network: PerceptualNetwork,
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None = None,
    *,
    region: Region = "image",
) -> float:
    """ST-LPIPS or LPIPS, as the network is; 0 for equal images.

    In the region `box` the network sees the crop alone; in the region `mask` it sees everything, and the distance at
    each pixel is averaged over the mask.

    Raises:
        BadInputError: if the images or the mask are not what they must be, or the region has a side below the network's
            `MIN_SIDE_PX`.
    """
    predicted, target = checked_pair(predicted, target)
    if region != "image":
        mask = checked_mask(mask, target)
    if region == "box" and mask is not None:
        box = mask_box(mask)
        predicted, target = box.crop(predicted), box.crop(target)
    first, second = (image.permute(2, 0, 1)[None].to(network.shift) for image in (predicted, target))
    if region == "mask" and mask is not None:
        return network.spatial(first, second)[0][mask.to(network.shift.device)].mean().item()
    return network(first, second).item()
