import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr
from torchmetrics.functional.image import structural_similarity_index_measure

from palm_model.metrics.perceptual import perceptual_distance
from palm_model.metrics.psnr import psnr
from palm_model.metrics.regions import REGIONS, Box, Region, mask_box
from palm_model.metrics.scores import mean_scores, official_score, score
from palm_model.metrics.ssim import ssim
from palm_model.prior.perceptual import PerceptualNetwork, perceptual_network
from schemas.errors import BadInputError
from tests.palm_model.pictures import ellipse, waves

SIZES = [(40, 56), (61, 35)]
"""Landscape and portrait."""


@pytest.fixture(scope="module")
def network() -> PerceptualNetwork:
    return perceptual_network("st-lpips-alex")


def pictures(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    noise = torch.rand((height, width, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = waves(height, width, 0.0, torch.float64)
    return 0.8 * target + 0.2 * noise, target, ellipse(height, width)


def wang(first: np.ndarray, second: np.ndarray, **options: object) -> object:
    """The similarity of Wang and others, as scikit-image has it."""
    return structural_similarity(
        first, second, channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_psnr_is_that_of_scikit_image_and_torchmetrics(height: int, width: int) -> None:
    predicted, target, mask = pictures(height, width)
    assert psnr(predicted, target) == pytest.approx(
        peak_signal_noise_ratio(target.numpy(), predicted.numpy(), data_range=1.0)
    )
    assert psnr(predicted, target) == pytest.approx(torchmetrics_psnr(predicted, target, data_range=1.0).item())
    inside = mask.numpy()
    assert psnr(predicted, target, mask, region="mask") == pytest.approx(
        peak_signal_noise_ratio(target.numpy()[inside], predicted.numpy()[inside], data_range=1.0)
    )


def test_psnr_of_a_known_error_is_its_closed_form() -> None:
    grey = torch.full((4, 4, 3), 0.5)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 2] = mask[2, 1] = True
    wrong = grey.clone()
    wrong[1, 2] = 0.6
    assert psnr(grey, grey) == math.inf
    assert psnr(wrong, grey) == pytest.approx(20 + 10 * math.log10(16), abs=1e-5)
    assert psnr(wrong, grey, mask, region="mask") == pytest.approx(20 + 10 * math.log10(2), abs=1e-5)
    assert psnr(wrong, grey, mask, region="box") == pytest.approx(20 + 10 * math.log10(4), abs=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_ssim_is_that_of_scikit_image_and_torchmetrics(height: int, width: int) -> None:
    predicted, target, mask = pictures(height, width)
    mean, values = wang(predicted.numpy(), target.numpy(), full=True)  # type: ignore[misc]
    assert ssim(predicted, target) == pytest.approx(mean, abs=1e-9)
    batch = [image.permute(2, 0, 1)[None] for image in (predicted, target)]
    _, padded = structural_similarity_index_measure(*batch, data_range=1.0, return_full_image=True)
    assert ssim(predicted, target) == pytest.approx(padded[..., 5:-5, 5:-5].mean().item(), abs=1e-9)
    assert ssim(predicted, target, mask, region="mask") == pytest.approx(values[mask.numpy()].mean(), abs=1e-9)
    rows, columns = np.nonzero(mask.numpy())
    crop = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert ssim(predicted, target, mask, region="box") == pytest.approx(
        wang(predicted.numpy()[crop], target.numpy()[crop]), abs=1e-9
    )


def test_equal_pictures_are_as_similar_as_can_be(network: PerceptualNetwork) -> None:
    _, target, mask = pictures(40, 56)
    for region in REGIONS:
        assert ssim(target, target, mask, region=region) == pytest.approx(1.0)
        assert perceptual_distance(network, target, target, mask, region=region) == 0.0


@pytest.mark.parametrize("region", REGIONS)
def test_a_portrait_image_scores_as_the_same_image_lying_on_its_side(region: Region) -> None:
    """The published script exchanged width and height: there, only PSNR passes this."""
    predicted, target, mask = pictures(61, 35)
    lying = [image.transpose(0, 1) for image in (predicted, target, mask)]
    assert psnr(predicted, target, mask, region=region) == pytest.approx(psnr(*lying, region=region))
    assert ssim(predicted, target, mask, region=region) == pytest.approx(ssim(*lying, region=region))


@pytest.mark.parametrize("height", [48, 80])
def test_the_perceptual_distance_sees_the_crop_upright(height: int, network: PerceptualNetwork) -> None:
    predicted, target, mask = pictures(height, 60)
    box = mask_box(mask)
    found = perceptual_distance(network, predicted, target, mask, region="box")
    crops = [box.crop(image).permute(2, 0, 1)[None].float() for image in (predicted, target)]
    assert found == pytest.approx(network(*crops).item(), rel=1e-5)


def test_only_what_happens_in_the_region_counts(network: PerceptualNetwork) -> None:
    _, target, mask = pictures(64, 64)
    outside = target.clone()
    outside[:3] = 0.0
    assert psnr(outside, target, mask, region="mask") == psnr(outside, target, mask, region="box") == math.inf
    assert psnr(outside, target) < 30
    assert ssim(outside, target, mask, region="box") == pytest.approx(1.0)
    everywhere = perceptual_distance(network, outside, target)
    assert perceptual_distance(network, outside, target, mask, region="box") == 0.0
    assert perceptual_distance(network, outside, target, mask, region="mask") < 0.8 * everywhere


def test_the_box_of_a_mask_is_tight() -> None:
    mask = torch.zeros(9, 7, dtype=torch.bool)
    mask[2, 3] = mask[5, 6] = True
    assert mask_box(mask) == Box(2, 6, 3, 7)
    with pytest.raises(BadInputError, match="at least one pixel"):
        mask_box(torch.zeros(3, 3, dtype=torch.bool))


def test_pictures_that_cannot_be_scored_are_refused(network: PerceptualNetwork) -> None:
    _, target, mask = pictures(40, 56)
    with pytest.raises(BadInputError, match="two of one shape"):
        psnr(target[1:], target)
    for wrong in (math.nan, 1.01, -0.01):
        spoiled = target.clone()
        spoiled[3, 4, 0] = wrong
        with pytest.raises(BadInputError, match=r"predicted: expected colours in \[0, 1\]"):
            psnr(spoiled, target)
    with pytest.raises(BadInputError, match="mask: expected truth values"):
        psnr(target, target, None, region="mask")
    with pytest.raises(BadInputError, match="mask: expected truth values"):
        ssim(target, target, 255 * mask.byte(), region="box")
    with pytest.raises(BadInputError, match="11 px or more"):
        ssim(target[:10], target[:10])
    rim = torch.zeros_like(mask)
    rim[0] = True
    with pytest.raises(BadInputError, match="only some at the rim"):
        ssim(target, target, rim, region="mask")


def test_scores_say_how_they_were_measured_and_do_not_mix(network: PerceptualNetwork) -> None:
    predicted, target, mask = pictures(64, 48)
    ours, others = score(predicted, target, mask, network=network), score(target, target, mask, network=network)
    mean = mean_scores([ours, ours, others, others][:2])
    assert mean == ours
    assert ours.psnr == psnr(predicted, target, mask, region="box")
    published = official_score(predicted, target, mask, network=network)
    assert published.measured.protocol == "official"
    with pytest.raises(BadInputError, match="all measured alike"):
        mean_scores([ours, published])
    with pytest.raises(BadInputError, match="all measured alike"):
        mean_scores([ours, score(predicted, target, mask, network=network, region="image")])
    with pytest.raises(BadInputError, match="found none"):
        mean_scores([])
