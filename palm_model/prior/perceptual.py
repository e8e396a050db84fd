"""Perceptual distance of images: LPIPS (Zhang and others, 2018) and its shift-tolerant kin (Ghildyal and Liu, 2022).

Both compare an image network's features, scaled to unit length at every place, with a weight for each channel. The
shift-tolerant one blurs before it takes every second value. Its weights come with the package `stlpips-pytorch`
(BSD-2), of which nothing is imported; LPIPS takes the torchvision backbone and the heads that the user has.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from palm_model.prior.perceptual_weights import read_tensors, shift_tolerant_weights
from schemas.errors import BadInputError, IntegrityError
from schemas.prior_losses import PerceptualName

MIN_SIDE_PX: Mapping[PerceptualName, int] = {
    "st-lpips-alex": 21,
    "st-lpips-vgg": 18,
    "lpips-alex": 31,
    "lpips-vgg": 16,
}
"""Smaller images leave the network's deepest layer without features."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's colours in [−1, 1], as LPIPS has them."""
_VGG = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
"""Channels through VGG-16's stages."""
_ALEX = ((64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
"""Channels and kernel of AlexNet's convolutions after the first."""
_ALEX_POOLED = 2
"""How many of those follow a pooling."""
_LEAST_LENGTH = {"st-lpips": 1e-20, "lpips": 1e-8}
"""Added to the squared length of features, as each method's authors do (but under the root, where it is smooth)."""


class Blur(nn.Module):
    """The binomial filter (1, 2, 1), then every second value; the border is mirrored by two."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", line[:, None] * line[None, :], persistent=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Half as high and wide, rounded up, plus one."""
        channels = features.shape[1]
        kernel = self.kernel.to(features.dtype).expand(channels, 1, 3, 3)
        return functional.conv2d(
            functional.pad(features, (2, 2, 2, 2), mode="reflect"), kernel, None, 2, 0, 1, channels
        )


class PerceptualNetwork(nn.Module):
    """A perceptual distance with fixed weights; gradients reach the images alone."""

    shift: Tensor
    scale: Tensor

    def __init__(self, name: PerceptualName) -> None:
        """Random weights: take `perceptual_network` or `lpips_network` to get trained ones."""
        super().__init__()
        self.name: PerceptualName = name
        blurred, backbone = name.startswith("st-"), name.rpartition("-")[2]
        self.stages = nn.ModuleList(_vgg(blurred) if backbone == "vgg" else _alex(blurred))
        widths = [stage[-1].out_channels for stage in self._convolutions()]
        self.heads = nn.ParameterList(torch.rand(1, width, 1, 1) / width for width in widths)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    def forward(
        self, first: Float[Tensor, "images 3 height width"], second: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, " images"]:
        """The distance of each pair; sRGB in [0, 1] (the network's own range of [−1, 1] is made here, once).

        Raises:
            BadInputError: if the images differ in shape or have a side below `MIN_SIDE_PX`.
        """
        return torch.stack([layer.mean(dim=(1, 2)) for layer in self._layers(first, second)]).sum(dim=0)

    def spatial(
        self, first: Float[Tensor, "images 3 height width"], second: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images height width"]:
        """The same, at every pixel: the layers enlarged bilinearly.

        Raises:
            BadInputError: if the images differ in shape or have a side below `MIN_SIDE_PX`.
        """
        size = first.shape[-2:]
        layers = [
            functional.interpolate(layer[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            for layer in self._layers(first, second)
        ]
        return torch.stack(layers).sum(dim=0)

    def fill(self, convolutions: Iterable[tuple[Tensor, Tensor]], heads: Iterable[Tensor], source: str) -> None:
        """Take weights, in the order of the layers.

        Raises:
            IntegrityError: if their shapes are not this network's.
        """
        own = [layer for stage in self._convolutions() for layer in stage]
        wanted = [*(tensor for layer in own for tensor in (layer.weight, layer.bias)), *self.heads]
        given = [tensor for pair in convolutions for tensor in pair] + list(heads)
        if [tensor.shape for tensor in given] != [tensor.shape for tensor in wanted]:
            raise IntegrityError(
                f"{source}: expected the {len(wanted)} weights of {self.name}, found {len(given)} of other shapes."
            )
        for mine, theirs in zip(wanted, given, strict=True):
            mine.data.copy_(theirs)

    def _convolutions(self) -> list[list[nn.Conv2d]]:
        return [[layer for layer in stage.children() if isinstance(layer, nn.Conv2d)] for stage in self.stages]

    def _layers(self, first: Tensor, second: Tensor) -> list[Float[Tensor, "images h w"]]:
        """The weighted squared difference at each stage."""
        least_side = MIN_SIDE_PX[self.name]
        if first.shape != second.shape or min(first.shape[-2:]) < least_side:
            raise BadInputError(
                f"perceptual distance ({self.name})",
                field="images",
                expected=f"two of one shape, {least_side} px or more on a side",
                found=f"{tuple(first.shape)} and {tuple(second.shape)}",
            )
        least = _LEAST_LENGTH[self.name.rpartition("-")[0]]
        one, other = ((2.0 * image - 1.0 - self.shift) / self.scale for image in (first, second))
        layers = []
        # Apart and not as one batch: a target without gradient then costs no way back.
        for stage, head in zip(self.stages, self.heads, strict=True):
            one, other = stage(one), stage(other)
            apart = unit_features(one, least) - unit_features(other, least)
            layers.append((apart.square() * head).sum(dim=1))
        return layers


def unit_features(features: Float[Tensor, "b c h w"], least: float) -> Float[Tensor, "b c h w"]:
    """Features of length one at each place; a place without any stays at zero, and its gradient is finite.

    In single precision at least: halves know no square of a large feature, and no `least`.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features / (features.square().sum(dim=1, keepdim=True) + least).sqrt()


def perceptual_network(name: PerceptualName) -> PerceptualNetwork:
    """A shift-tolerant network with its trained weights, on the CPU.

    Raises:
        BadInputError: if the package with its weights is not installed, or the name is LPIPS's (whose weights are the
            user's: take `lpips_network`).
        IntegrityError: if its file is not the published one.
    """
    path = shift_tolerant_weights(name)
    state = read_tensors(path)
    network = PerceptualNetwork(name)
    network.fill(_pairs(state, r"net\.slice\d\.(\d+)"), _heads(state), str(path))
    return network


def lpips_network(name: PerceptualName, backbone: Path, heads: Path) -> PerceptualNetwork:
    """LPIPS with the user's weights.

    Args:
        name: lpips-alex or lpips-vgg.
        backbone: torchvision's weights of AlexNet or VGG-16, `.pth` or `.safetensors`.
        heads: version 0.1 of LPIPS's own weights, as its authors and torchmetrics ship them.

    Raises:
        BadInputError: if the name is another's, or a file cannot be read.
        IntegrityError: if the tensors are not those of the network.
    """
    if name.startswith("st-"):
        raise BadInputError("lpips_network", field="name", expected="lpips-alex or lpips-vgg", found=name)
    network = PerceptualNetwork(name)
    convolutions = _pairs(read_tensors(backbone), r"features\.(\d+)")
    network.fill(convolutions, _heads(read_tensors(heads)), f"{backbone}, {heads}")
    return network


def _pairs(state: Mapping[str, Tensor], layer: str) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of the layers that match, by their number."""
    found = {int(match[1]): match[0] for name in state if (match := re.match(layer + r"(?=\.weight$)", name))}
    return [(state[f"{found[index]}.weight"], state[f"{found[index]}.bias"]) for index in sorted(found)]


def _heads(state: Mapping[str, Tensor]) -> list[Tensor]:
    return [state[name] for name in sorted(state) if re.fullmatch(r"lin\d\.model\.1\.weight", name)]


def _vgg(blurred: bool) -> list[nn.Sequential]:
    stages = []
    for index, channels in enumerate(_VGG):
        layers = _pooling(2, blurred) if index else []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        stages.append(nn.Sequential(*layers))
    return stages


def _alex(blurred: bool) -> list[nn.Sequential]:
    first = nn.Conv2d(3, 64, 11, stride=1 if blurred else 4, padding=2)
    stages = [nn.Sequential(first, Blur(), nn.ReLU()) if blurred else nn.Sequential(first, nn.ReLU())]
    for index, (before, after, kernel) in enumerate(_ALEX):
        layers = _pooling(3, blurred) if index < _ALEX_POOLED else []
        stages.append(nn.Sequential(*layers, nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()))
    return stages


def _pooling(window: int, blurred: bool) -> list[nn.Module]:
    return [nn.MaxPool2d(window, 1), Blur()] if blurred else [nn.MaxPool2d(window, 2)]
