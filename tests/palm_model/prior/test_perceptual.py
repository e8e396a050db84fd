import importlib.util
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.autograd import gradcheck

from palm_model.prior import losses, perceptual_weights
from palm_model.prior.perceptual import MIN_SIDE_PX, PerceptualNetwork, lpips_network, perceptual_network, unit_features
from schemas.errors import BadInputError, IntegrityError
from schemas.prior_losses import PerceptualName
from tests.palm_model.pictures import waves


@pytest.fixture(scope="module")
def alex() -> PerceptualNetwork:
    return perceptual_network("st-lpips-alex")


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    first, second = (waves(height, width, phase).permute(2, 0, 1)[None] for phase in (0.0, 0.8))
    return first, second


@pytest.mark.parametrize(
    ("name", "height", "width", "published"),
    [
        ("st-lpips-alex", 48, 64, 0.6074855327606201),
        ("st-lpips-alex", 37, 41, 0.6073517799377441),
        ("st-lpips-vgg", 48, 64, 0.4564860463142395),
        ("st-lpips-vgg", 37, 41, 0.4756626486778259),
    ],
)
def test_distances_are_those_of_the_published_implementation(
    name: PerceptualName, height: int, width: int, published: float
) -> None:
    """The numbers are stlpips_pytorch 0.0.2's own, of these pictures, with normalize=True."""
    assert perceptual_network(name)(*pair(height, width)).item() == pytest.approx(published, abs=2e-5)


def test_a_picture_is_no_distance_from_itself_and_order_does_not_matter(alex: PerceptualNetwork) -> None:
    first, second = pair(32, 40)
    assert alex(first, first).item() == 0.0
    assert alex(first, second).item() == pytest.approx(alex(second, first).item(), rel=1e-5)


def test_pairs_of_a_batch_do_not_know_of_each_other(alex: PerceptualNetwork) -> None:
    first, second = pair(32, 32)
    both = alex(torch.cat([first, second]), torch.cat([second, second]))
    assert both.tolist() == pytest.approx([alex(first, second).item(), 0.0], rel=1e-5)


def test_the_mean_of_the_spatial_distance_is_near_the_distance_and_it_is_local(alex: PerceptualNetwork) -> None:
    first, second = pair(64, 64)
    spatial = alex.spatial(first, second)
    assert spatial.shape == (1, 64, 64)
    assert spatial.mean().item() == pytest.approx(alex(first, second).item(), rel=0.1)
    half = torch.cat([second[..., :32], first[..., 32:]], dim=-1)
    there = alex.spatial(first, half)[0]
    assert there[:, :16].mean() > 20 * there[:, 56:].mean()


def test_gradients_reach_the_picture_and_not_the_weights(alex: PerceptualNetwork) -> None:
    first, second = pair(32, 32)
    first.requires_grad_()
    alex(first, second).sum().backward()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
    assert (first.grad != 0).any()
    assert all(weight.grad is None and not weight.requires_grad for weight in alex.parameters())
    assert not alex.training


def test_the_gradient_is_the_slope() -> None:
    network = perceptual_network("st-lpips-alex").double()
    first, second = (image.double() for image in pair(32, 32))
    along = torch.randn(first.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first.requires_grad_()
    network(first, second).sum().backward()
    assert first.grad is not None
    with torch.no_grad():
        ahead, behind = (network(first + sign * 1e-8 * along, second).item() for sign in (1, -1))
    assert (first.grad * along).sum().item() == pytest.approx((ahead - behind) / 2e-8, rel=1e-4)


def test_places_without_features_have_a_finite_gradient() -> None:
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    unit_features(torch.relu(features), 1e-20).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert gradcheck(lambda x: unit_features(x, 1e-20), torch.rand(1, 3, 2, 2, dtype=torch.float64).requires_grad_())
    large = unit_features(torch.full((1, 4, 1, 1), 6e4, dtype=torch.float16), 1e-20)
    assert torch.allclose(large, torch.full_like(large, 0.5))


def test_every_patch_of_a_batch_counts(alex: PerceptualNetwork) -> None:
    """The authors' code compared the patch of a batch's last image only."""
    targets = torch.stack([waves(16, 16, phase) for phase in (0.0, 0.8, 1.7)])
    predicted = targets.clone().requires_grad_()
    spoiled = predicted + torch.tensor([0.2, 0.0, 0.0])[:, None, None, None] * waves(16, 16, 2.0)
    loss = losses.perceptual(alex, spoiled, targets)
    loss.backward()
    assert loss.item() > 1e-3
    assert predicted.grad is not None
    assert predicted.grad[0].abs().sum() > 0


def test_patches_are_enlarged_bilinearly_before_they_are_compared(alex: PerceptualNetwork) -> None:
    first, second = pair(16, 16)
    enlarged = [
        torch.nn.functional.interpolate(image, (32, 32), mode="bilinear", align_corners=False)
        for image in (first, second)
    ]
    found = losses.perceptual(alex, first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1), scale=2)
    assert found.item() == pytest.approx(alex(*enlarged).item(), rel=1e-5)


def test_images_too_small_or_unlike_are_refused(alex: PerceptualNetwork) -> None:
    with pytest.raises(BadInputError, match="two of one shape"):
        alex(pair(32, 32)[0], pair(32, 33)[0])


@pytest.mark.parametrize("name", get_args(PerceptualName))
def test_the_least_side_is_the_least_that_works(name: PerceptualName) -> None:
    network, side = PerceptualNetwork(name), MIN_SIDE_PX[name]
    assert torch.isfinite(network(*pair(side, side))).all()
    with pytest.raises(BadInputError, match=f"{side} px or more on a side"):
        network(*pair(side - 1, side + 9))
    with pytest.raises(RuntimeError, match="size"):
        network.stages[4](
            network.stages[3](network.stages[2](network.stages[1](network.stages[0](pair(side - 1, side)[0]))))
        )


@pytest.mark.parametrize(("name", "backbone"), [("lpips-alex", "alex"), ("lpips-vgg", "vgg")])
def test_lpips_with_the_users_weights_is_that_of_torchmetrics(
    name: PerceptualName, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchmetrics.functional.image import lpips

    class NoClassifier(torch.nn.Module):
        def __init__(self, *_: int) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))

    monkeypatch.setattr(torch.nn, "Linear", NoClassifier)  # 120 million numbers that nobody looks at
    torch.manual_seed(0)
    peer = lpips._LPIPS(pretrained=True, net=backbone, pnet_rand=True)
    stages = [getattr(peer.net, f"slice{index}") for index in range(1, 6)]
    weights = {
        f"features.{place}.{kind}": getattr(layer, kind).detach().contiguous()
        for stage in stages
        for place, layer in stage.named_children()
        if isinstance(layer, torch.nn.Conv2d)
        for kind in ("weight", "bias")
    }
    save_file({**weights, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "backbone.safetensors")
    heads = Path(lpips.__file__).parent / "lpips_models" / f"{backbone}.pth"
    network = lpips_network(name, tmp_path / "backbone.safetensors", heads)
    first, second = pair(64, 48)
    with torch.no_grad():
        expected = peer(first, second, normalize=True).item()
    assert network(first, second).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(IntegrityError, match="of other shapes"):
        lpips_network("lpips-alex" if backbone == "vgg" else "lpips-vgg", tmp_path / "backbone.safetensors", heads)


def test_weights_that_are_not_there_or_not_the_published_ones_are_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInputError, match="give your own to lpips_network"):
        perceptual_network("lpips-vgg")
    with pytest.raises(BadInputError, match="expected lpips-alex or lpips-vgg"):
        lpips_network("st-lpips-vgg", tmp_path / "a", tmp_path / "b")
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"not weights")
    with pytest.raises(IntegrityError, match="expected sha256 b356"):
        perceptual_weights._checked(damaged, perceptual_weights._SHIFT_TOLERANT["st-lpips-alex"][1])
    for path in (damaged, tmp_path / "none.pth", tmp_path / "none.safetensors"):
        with pytest.raises(BadInputError, match="tensors by name"):
            perceptual_weights.read_tensors(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match="pip install --no-deps stlpips-pytorch"):
        perceptual_network("st-lpips-alex")


def test_code_in_a_weights_file_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(BadInputError, match="tensors by name"):
        perceptual_weights.read_tensors(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
