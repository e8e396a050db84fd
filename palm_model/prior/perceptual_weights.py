"""Weights of perceptual networks on disk: tensors only, no code runs from them."""

import hashlib
import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import BadInputError, IntegrityError
from schemas.prior_losses import PerceptualName

_PACKAGE, _MODULE = "stlpips-pytorch==0.0.2", "stlpips_pytorch"
_SHIFT_TOLERANT: Mapping[PerceptualName, tuple[str, str]] = {
    "st-lpips-alex": (
        "alex_shift_tolerant.pth",
        "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    ),
    "st-lpips-vgg": (
        "vgg_shift_tolerant.pth",
        "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250",
    ),
}
"""File name and sha256 of the weights that the package carries."""


def shift_tolerant_weights(name: PerceptualName) -> Path:
    """The published file of a shift-tolerant network, in the package that carries it, which is not imported.

    Raises:
        BadInputError: if the package is not installed, or carries no such network.
        IntegrityError: if the file is not the published one.
    """
    if name not in _SHIFT_TOLERANT:
        raise BadInputError(
            _PACKAGE,
            field="network",
            expected=" or ".join(_SHIFT_TOLERANT),
            found=name,
            hint="The weights of LPIPS are not shipped: give your own to lpips_network.",
        )
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise BadInputError(
            _PACKAGE, field="package", expected="it installed", found="none", hint=f"pip install --no-deps {_PACKAGE}"
        )
    file, digest = _SHIFT_TOLERANT[name]
    return _checked(Path(found.origin).parent / "weights" / "vST0.0" / file, digest)


def _checked(path: Path, digest: str) -> Path:
    try:
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path}: expected weights, found {error.strerror}. Install {_PACKAGE} again.") from error
    if actual != digest:
        raise IntegrityError(f"{path}: expected sha256 {digest}, found {actual}. Install {_PACKAGE} again.")
    return path


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a `.safetensors` or `.pth` file, by name, on the CPU.

    Raises:
        BadInputError: if the file cannot be read as tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BadInputError(
            path, field="file", expected="tensors by name, .safetensors or .pth", found=str(error).splitlines()[0]
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise BadInputError(path, field="file", expected="tensors by name", found=type(state).__name__)
    return state
