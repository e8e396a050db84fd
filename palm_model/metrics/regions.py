"""Where a metric looks: the whole image, the mask's pixels, or the mask's bounding box."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from schemas.errors import BadInputError

Region = Literal["image", "mask", "box"]
REGIONS: tuple[Region, ...] = get_args(Region)


@dataclass(frozen=True)
class Box:
    """Rows from top to bottom and columns from left to right, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, image: Tensor) -> Tensor:
        """The part of an image, rows first, that lies in the box."""
        return image[self.top : self.bottom, self.left : self.right]


def mask_box(mask: Bool[Tensor, "height width"]) -> Box:
    """The smallest box with every pixel of the mask.

    Raises:
        BadInputError: if the mask is empty.
    """
    rows = mask.any(dim=1).nonzero()[:, 0].tolist()
    columns = mask.any(dim=0).nonzero()[:, 0].tolist()
    if not rows:
        raise BadInputError("metrics", field="mask", expected="at least one pixel", found="none")
    return Box(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)


def checked_pair(
    predicted: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
) -> tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 3"]]:
    """Both images in double precision.

    Raises:
        BadInputError: if they differ in shape, or hold values that are not numbers or not in [0, 1].
    """
    if predicted.shape != target.shape or predicted.ndim != 3 or predicted.shape[-1] != 3:
        raise BadInputError(
            "metrics",
            field="images",
            expected="two of one shape, (height, width, 3)",
            found=f"{tuple(predicted.shape)} and {tuple(target.shape)}",
        )
    for name, image in (("predicted", predicted), ("target", target)):
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise BadInputError(
                "metrics",
                field=name,
                expected="colours in [0, 1]",
                found=f"{image.min().item():.6g} to {image.max().item():.6g}",
                hint="Clip the picture to what can be shown before it is scored.",
            )
    return predicted.to(torch.float64), target.to(torch.float64)


def checked_mask(
    mask: Bool[Tensor, "height width"] | None, image: Float[Tensor, "height width 3"]
) -> Bool[Tensor, "height width"]:
    """The mask of an image.

    Raises:
        BadInputError: if it is missing, empty, not of truth values, or of another size.
    """
    if mask is None or mask.dtype != torch.bool or mask.shape != image.shape[:2] or not bool(mask.any()):
        found = (
            "none" if mask is None else f"{mask.dtype} {tuple(mask.shape)}, {int((mask != 0).sum())} pixels of it set"
        )
        raise BadInputError(
            "metrics", field="mask", expected=f"truth values {tuple(image.shape[:2])}, some set", found=found
        )
    return mask
