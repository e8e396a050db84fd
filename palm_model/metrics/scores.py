"""All metrics of a picture, with what they were measured by; means over pictures that were measured alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from palm_model.metrics.official import official_perceptual, official_psnr, official_ssim
from palm_model.metrics.perceptual import perceptual_distance
from palm_model.metrics.psnr import psnr
from palm_model.metrics.regions import Region
from palm_model.metrics.ssim import ssim
from palm_model.prior.perceptual import PerceptualNetwork
from schemas.errors import BadInputError
from schemas.prior_losses import PerceptualName

Protocol = Literal["standard", "official"]


@dataclass(frozen=True)
class Measured:
    """How scores were measured: scores that differ in any of these cannot be compared."""

    protocol: Protocol
    region: Region | Literal["as published"]
    network: PerceptualName


@dataclass(frozen=True)
class Scores:
    """PSNR in dB, SSIM, perceptual distance, and how they were measured."""

    psnr: float
    ssim: float
    perceptual: float
    measured: Measured


def score(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"] | None,
    *,
    network: PerceptualNetwork,
    region: Region = "box",
) -> Scores:
    """The three metrics of a picture on one region.

    Raises:
        BadInputError: if the images or the mask are not what they must be.
    """
    return Scores(
        psnr=psnr(predicted, target, mask, region=region),
        ssim=ssim(predicted, target, mask, region=region),
        perceptual=perceptual_distance(network, predicted, target, mask, region=region),
        measured=Measured("standard", region, network.name),
    )


def official_score(
    predicted: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
    *,
    network: PerceptualNetwork,
) -> Scores:
    """The same three as the published script computes them, defects included.

    Raises:
        BadInputError: if the images or the mask are not what they must be.
    """
    return Scores(
        psnr=official_psnr(predicted, target, mask),
        ssim=official_ssim(predicted, target, mask),
        perceptual=official_perceptual(network, predicted, target, mask),
        measured=Measured("official", "as published", network.name),
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """The mean of each metric.

    Raises:
        BadInputError: if there are none, or they were not all measured alike.
    """
    ways = {one.measured for one in scores}
    if len(ways) != 1:
        raise BadInputError(
            "metrics",
            field="scores",
            expected="some, all measured alike",
            found="; ".join(sorted(map(str, ways))) or "none",
            hint="Make one table for each way of measuring.",
        )
    count = len(scores)
    return Scores(
        psnr=sum(one.psnr for one in scores) / count,
        ssim=sum(one.ssim for one in scores) / count,
        perceptual=sum(one.perceptual for one in scores) / count,
        measured=ways.pop(),
    )
