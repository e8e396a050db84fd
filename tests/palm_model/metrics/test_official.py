"""The published script's arithmetic, and what each of its defects does."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from palm_model.metrics.official import official_perceptual, official_psnr, official_ssim, rewrapped
from palm_model.metrics.perceptual import perceptual_distance
from palm_model.metrics.psnr import psnr
from palm_model.metrics.ssim import ssim
from palm_model.prior.perceptual import PerceptualNetwork, perceptual_network
from schemas.errors import BadInputError
from tests.palm_model.pictures import ellipse, waves


@pytest.fixture(scope="module")
def network() -> PerceptualNetwork:
    return perceptual_network("st-lpips-alex")


def pictures(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """A prediction on white, as the script renders it, with a wrong texture in the mask."""
    mask = ellipse(height, width)
    noise = torch.rand((height, width, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.where(mask[..., None], waves(height, width, 0.0, torch.float64), 1.0)
    return torch.where(mask[..., None], 0.7 * target + 0.3 * noise, 1.0), target, mask


def old_default(first: Tensor, second: Tensor, data_range: float = 2.0) -> float:
    """scikit-image 0.18's defaults for floating-point images, spelt out for a later version."""
    value: float = structural_similarity(
        first.numpy(), second.numpy(), channel_axis=-1, win_size=7, data_range=data_range
    )
    return value


def box(mask: Tensor) -> tuple[slice, slice]:
    rows, columns = np.nonzero(mask.numpy())
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (64, 40), (40, 64)])
def test_it_is_the_scripts_arithmetic(height: int, width: int, network: PerceptualNetwork) -> None:
    predicted, target, mask = pictures(height, width)
    # Width and height exchanged before the reshape, as PIL gives an image's size.
    wrong = [torch.from_numpy(image.numpy().reshape(-1).reshape(width, height, -1)) for image in (predicted, target)]
    crop = box(torch.from_numpy(mask.numpy().reshape(-1).reshape(width, height)))
    first, second = (image[crop] for image in wrong)
    assert official_psnr(predicted, target, mask) == pytest.approx(psnr(predicted, target, mask, region="mask"))
    assert official_ssim(predicted, target, mask) == pytest.approx(old_default(first, second), abs=1e-9)
    # In [−1, 1] already, and scaled as if it were in [0, 1] once more.
    seen = [(2 * (2 * image - 1) - 1).permute(2, 0, 1)[None].float() for image in (first, second)]
    assert min(image.min().item() for image in seen) < -1.5
    as_unit = [(image + 1) / 2 for image in seen]
    assert official_perceptual(network, predicted, target, mask) == pytest.approx(network(*as_unit).item(), rel=1e-4)


def test_double_scaling_is_the_published_networks(network: PerceptualNetwork) -> None:
    """stlpips_pytorch 0.0.2, given images in [−1, 1] and normalize=True all the same."""
    first, second = waves(48, 48, 0.0), waves(48, 48, 0.8)
    everywhere = torch.ones(48, 48, dtype=torch.bool)
    assert official_perceptual(network, first, second, everywhere) == pytest.approx(0.48575520515441895, abs=2e-5)


def test_the_background_of_the_truth_is_white() -> None:
    predicted, target, mask = pictures(48, 48)
    torn = torch.where(mask[..., None], target, 0.3)
    assert official_ssim(predicted, torn, mask) == official_ssim(predicted, target, mask)


def test_a_range_of_two_flatters() -> None:
    """Most where a picture has little contrast, as skin has."""
    predicted, target, mask = pictures(48, 48)
    everywhere = torch.ones_like(mask)
    predicted, target = (torch.where(mask[..., None], 0.45 + 0.1 * image, 0.5) for image in (predicted, target))
    assert 1 - official_ssim(predicted, target, everywhere) < 0.5 * (1 - old_default(predicted, target, 1.0))


def test_exchanged_sides_scramble_portrait_pictures_only() -> None:
    """A bar that stands: the script sees slanted shreds of it, unless the picture is square."""
    square, portrait = torch.zeros(24, 24), torch.zeros(24, 16)
    square[:, 5] = portrait[:, 5] = 1.0
    assert torch.equal(rewrapped(square), square)
    assert rewrapped(portrait).shape == (16, 24)
    assert (rewrapped(portrait).sum(dim=0) > 0).sum() > 1
    predicted, target, mask = pictures(64, 40)
    turned = [image.transpose(0, 1) for image in (predicted, target, mask)]
    assert abs(official_ssim(predicted, target, mask) - official_ssim(*turned)) > 0.01
    assert ssim(predicted, target, mask, region="box") == pytest.approx(ssim(*turned, region="box"))


def test_scaling_twice_is_another_distance(network: PerceptualNetwork) -> None:
    predicted, target, mask = pictures(48, 48)
    ours = perceptual_distance(network, predicted, target, mask, region="box")
    assert abs(official_perceptual(network, predicted, target, mask) - ours) > 0.02 * ours


def test_a_box_without_a_window_is_refused() -> None:
    predicted, target, _ = pictures(48, 48)
    dot = torch.zeros(48, 48, dtype=torch.bool)
    dot[5:11, 5:20] = True
    with pytest.raises(BadInputError, match="7 px or more"):
        official_ssim(predicted, target, dot)
